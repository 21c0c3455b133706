"""Make tests inside of packages importable, such as distutils.tests.

The packages are in the python payload; modules that they contain take precedence. Each package of
tests runs this file, since any of them may be imported first: some tests are started alone and
without PYTHONPATH.
"""

import os
import sys
from importlib.machinery import PathFinder

_TOP = os.path.dirname(os.path.abspath(__file__))


class _Finder:
    """A finder for folders of tests beside this file."""

    top = _TOP

    @staticmethod
    def find_spec(name, *_):
        """Return the spec of a folder of tests; importlib asks this finder last."""
        package, _, last = name.rpartition(".")
        if last in ("test", "tests", "idle_test"):
            return PathFinder.find_spec(name, [os.path.join(_TOP, *package.split("."))])
        return None


if not any(getattr(finder, "top", None) == _TOP for finder in sys.meta_path):
    sys.meta_path.append(_Finder)
