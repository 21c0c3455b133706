"""How to install the libraries that only some commands need: the extras of `pyproject.toml`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

# The name on a package index. The module and the command are called rezbuild.
DISTRIBUTION = "rez-python-builder"


_CLONE = Path(__file__).resolve().parents[2]


def install_command(extra: str, clone: Path = _CLONE) -> str:
    """Return the command that installs an extra into the Python that runs this.

    Args:
        extra: e.g. ``farm``.
        clone: Where rezbuild was installed from, if that is a clone.
    """
    what = [f"{DISTRIBUTION}[{extra}]"]
    if (clone / "pyproject.toml").is_file():
        what = ["-e", f"{clone}[{extra}]"]
    return shlex.join([sys.executable, "-m", "pip", "install", *what])
