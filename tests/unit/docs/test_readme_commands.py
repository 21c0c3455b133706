"""The commands of the README that copy Python to a new repository, in order."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from studio import ROOT, run_command

ACTIVATE = ". .venv/bin/activate"


def test_python_starts_and_is_copied_to_a_new_repository(tmp_path):
    """The package has the host's Python; the environment that runs the tests replaces .venv."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = next(b for b in re.findall(r"(?m)(?:^    .*\n)+", text) if "rez-cp" in b)
    version = re.search(r"rez-cp python-(\S+)", block)
    assert version
    folder = tmp_path / "packages/python" / version[1]
    (folder / "bin").mkdir(parents=True)
    (folder / "bin/python3").symlink_to(Path(sys.executable).resolve())
    (folder / "package.py").write_text(
        f'name = "python"\nversion = "{version[1]}"\nrelocatable = True\n'
        'def commands():\n    env.PATH.prepend("{root}/bin")\n'
    )
    assert ACTIVATE in block
    script = block.replace(ACTIVATE, "set -e").replace("/mnt/studio", str(tmp_path / "studio"))
    path = os.pathsep.join((str(Path(sys.executable).parent), os.defpath))
    run_command(
        ("bash", "-c", script), ok=True, env={"HOME": str(tmp_path), "PATH": path}, cwd=ROOT
    )
    assert (tmp_path / "studio/packages/python" / version[1] / "package.py").is_file()
