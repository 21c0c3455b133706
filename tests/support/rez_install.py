"""Install Rez with its own installer (install.py) into a separate environment.

The source distribution has no install.py, so this makes the same files: launchers in ``bin/rez``
that start Python with -E, and the file by which Rez recognizes a production install
(rez/system.py, ``rez_bin_path``). Only in such an install does Rez cache packages automatically and
put its tools into environments.
"""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

_LAUNCHERS = """\
import pathlib, sys
from rez.cli._entry_points import get_specifications
folder = pathlib.Path(sys.argv[1])
for name, entry in get_specifications().items():
    module, function = entry.partition("=")[2].strip().split(":")
    text = f"#!{sys.executable} -E\\nfrom {module} import {function}\\n{function}()\\n"
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)
(folder / ".rez_production_install").touch()
"""


def install(folder: Path, *requirements: str | Path) -> Path:
    """Install the running version of Rez and requirements; return the folder of commands."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin/python"
    rez = f"rez=={importlib.metadata.version('rez')}"
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, rez, *requirements], check=True)
    commands = folder / "bin/rez"
    # pip's own launcher of that name.
    commands.unlink()
    commands.mkdir()
    subprocess.run([python, "-c", _LAUNCHERS, commands], check=True)
    return commands
