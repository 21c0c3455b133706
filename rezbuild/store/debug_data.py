"""The debug data of payloads, stored as a second tree: see `rezbuild.payload.debug_data`.

A package that contains the debug data of its dependencies can be built only where that data is. A
payload from a store therefore brings its debug data along.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from rezbuild.errors import StoreError
from rezbuild.files import safe_files
from rezbuild.payload import debug_data, manifest

_BUILD_ID = re.compile(r"[0-9a-f]{8,128}")


class DebugCache:
    """The debug data on this machine.

    Args:
        folder: The folder of debug data; None if this machine keeps none.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def lacks(self, payload: Path) -> bool:
        """Return whether this machine could keep debug data of a payload, and lacks some."""
        folder = self._folder
        return folder is not None and not all((folder / f).is_file() for f in _files(payload))

    def collect(self, payload: Path, target: Path) -> bool:
        """Copy the debug data of a payload to a new folder; return False if some of it is missing.

        Raises:
            OSError: Some of it cannot be read.
        """
        wanted = _files(payload)
        if self._folder is None or not wanted or self.lacks(payload):
            return False
        for place in wanted:
            (target / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self._folder / place, target / place)
        return True

    def add(self, payload: Path, tree: Path) -> None:
        """Keep the debug data of a payload, each file by a rename.

        Raises:
            StoreError: The tree is not the debug data of the payload.
            OSError: The folder cannot be written.
        """
        wanted, folder = _files(payload), self._folder
        there = {path.relative_to(tree) for path in tree.rglob("*") if not path.is_dir()}
        if there != wanted:
            raise StoreError("the debug data belongs to another payload")
        if folder is None:
            return
        for place in wanted:
            target = folder / place
            target.parent.mkdir(parents=True, exist_ok=True)
            safe_files.replace(target, (tree / place).read_bytes())


def _files(payload: Path) -> set[Path]:
    """Return the debug data files of a payload's record, relative to a folder of debug data."""
    ids = (manifest.read(payload) or {}).get("build_ids")
    found = ids.values() if isinstance(ids, dict) else ()
    return {debug_data.path_of(i) for i in found if isinstance(i, str) and _BUILD_ID.fullmatch(i)}
