"""The debug data of a payload, as another tree in the store: see `rezbuild.payload.debug_data`.

A package that holds such data can be built only where it is; with it, a payload from a store is as
good as one that was built here.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from rezbuild.errors import StoreError
from rezbuild.payload import debug_data, manifest

_BUILD_ID = re.compile(r"[0-9a-f]{8,128}")


class Kept:
    """The debug data that this machine keeps.

    Args:
        folder: Where; None where it keeps none.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def lacks(self, payload: Path) -> bool:
        """Whether some of a payload's data could be kept here, and is not."""
        folder = self._folder
        return folder is not None and not all((folder / f).is_file() for f in _files(payload))

    def collect(self, payload: Path, target: Path) -> bool:
        """Copies a payload's data to a folder, which is made; False where it is not all here.

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
        """Keeps a payload's data from now on, file by file, each whole.

        Raises:
            StoreError: The tree holds anything else than that.
            OSError: The folder cannot be written.
        """
        wanted, folder = _files(payload), self._folder
        there = {path.relative_to(tree) for path in tree.rglob("*") if not path.is_dir()}
        if there != wanted:
            raise StoreError("the debug data is that of another payload")
        if folder is None:
            return
        for place in wanted:
            target = folder / place
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".part-", dir=target.parent) as scratch:
                copy = Path(scratch, "copy")
                shutil.copyfile(tree / place, copy)
                copy.chmod(0o644)
                copy.replace(target)


def _files(payload: Path) -> set[Path]:
    """What a payload's record says that it has, below a folder of debug data."""
    ids = (manifest.read(payload) or {}).get("build_ids")
    found = ids.values() if isinstance(ids, dict) else ()
    return {debug_data.place(i) for i in found if isinstance(i, str) and _BUILD_ID.fullmatch(i)}
