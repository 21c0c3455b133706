"""Makes tests importable that belong inside of packages, such as distutils.tests.

The packages are elsewhere, with the python. What they have themselves goes first. Each package of
tests runs this, since any may be imported first: some tests are started by themselves, and without
PYTHONPATH.
"""

import os
import sys
from importlib.machinery import PathFinder

_TOP = os.path.dirname(os.path.abspath(__file__))


class _Finder:
    """Looks beside this file for what is a folder of tests."""

    top = _TOP

    @staticmethod
    def find_spec(name, *_):
        """What importlib asks for, when no other finder knows the module."""
        package, _, last = name.rpartition(".")
        if last in ("test", "tests", "idle_test"):
            return PathFinder.find_spec(name, [os.path.join(_TOP, *package.split("."))])
        return None


if not any(getattr(finder, "top", None) == _TOP for finder in sys.meta_path):
    sys.meta_path.append(_Finder)
