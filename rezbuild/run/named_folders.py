"""The folders that settings name. If one is missing, e.g. an NFS mount, a command must say so.

Otherwise a missing store would be made anew on the local disk, and a missing mirror ignored.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from rezbuild.errors import MachineError
from rezbuild.settings import Settings
from rezbuild.sources import local_sources


def named_folders(settings: Settings) -> Iterator[tuple[str, Path]]:
    """Yield the variable and the path of the store and of each mirror that is a folder."""
    names = [("REZBUILD_STORE", settings.store or "")]
    names += [("REZBUILD_MIRRORS", mirror) for mirror in settings.mirrors]
    for variable, name in names:
        folder = local_sources.mirror_folder(name) if name else None
        if folder is not None:
            yield variable, folder


def require(settings: Settings, created: Path | None = None) -> None:
    """Check that the folders exist.

    Args:
        settings: The settings.
        created: A folder that the command creates.

    Raises:
        MachineError: One is missing.
    """
    for variable, folder in named_folders(settings):
        if folder != created and not folder.is_dir():
            raise MachineError(
                f"{variable} names a folder that does not exist: {folder}",
                advice=[
                    "mount it, or correct the setting",
                    f"or create it, if it is new: mkdir -p {shlex.quote(str(folder))}",
                ],
            )
