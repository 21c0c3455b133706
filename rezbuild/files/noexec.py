"""Folders in which programs cannot run: mount(8), option noexec."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from rezbuild.errors import MachineError


def is_noexec(folder: Path) -> bool:
    """Return whether a folder, or the nearest existing one above, is mounted with noexec."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return bool(os.statvfs(there).f_flag & os.ST_NOEXEC)


def refuse(*folders: Path) -> None:
    """Check that programs can run in folders.

    Raises:
        MachineError: One is mounted with noexec.
    """
    for folder in folders:
        if not is_noexec(folder):
            continue
        temporary = folder.is_relative_to(tempfile.gettempdir())
        raise MachineError(
            f"programs cannot run in {folder}: its file system is mounted with noexec",
            advice=[
                "set TMPDIR to a folder where programs can run"
                if temporary
                else "use another folder, or mount it without noexec"
            ],
        )
