"""The commands that install the extras of `pyproject.toml`, which only some commands need."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

# The name on a package index; the module and the command are called rezbuild.
DISTRIBUTION = "rez-python-builder"
_CLONE = Path(__file__).resolve().parents[2]


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
