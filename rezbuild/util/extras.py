"""How rezbuild was installed: the extras of `pyproject.toml`, and copies of a clone's code."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

# The name on a package index; the module and the command are called rezbuild.
DISTRIBUTION = "rez-python-builder"
_PACKAGE = Path(__file__).resolve().parents[1]
_CLONE = _PACKAGE.parent


def install_command(extra: str, clone: Path = _CLONE) -> str:
    """Return the command that installs an extra into the running Python.

    Args:
        extra: e.g. ``farm``.
        clone: The clone that rezbuild was installed from, if it was one.
    """
    what = [f"{DISTRIBUTION}[{extra}]"]
    if (clone / "pyproject.toml").is_file():
        what = ["-e", f"{clone}[{extra}]"]
    return shlex.join([sys.executable, "-m", "pip", "install", *what])


def outdated_copy(recipes: Path, package: Path = _PACKAGE) -> str:
    """Return a line if rezbuild runs from a copy that differs from the clone of the recipes, or "".

    ``pip install '.[farm]'`` in a clone replaces an editable installation by a copy, which later
    changes of the clone do not reach.

    Args:
        recipes: The folder of recipes.
        package: The folder of the running rezbuild.
    """
    clone = recipes.parent / package.name
    if not (clone / "__init__.py").is_file() or clone.samefile(package):
        return ""
    code = (path.relative_to(clone) for path in sorted(clone.rglob("*.py")))
    if all(_same(clone / path, package / path) for path in code):
        return ""
    command = shlex.join([sys.executable, "-m", "pip", "install", "-e", str(recipes.parent)])
    return f"{package} is a copy that differs from {clone}; install the clone itself: {command}"


def _same(one: Path, other: Path) -> bool:
    return other.is_file() and one.read_bytes() == other.read_bytes()
