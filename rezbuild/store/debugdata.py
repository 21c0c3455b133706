"""The debug data of a payload, as another tree in the store: see `rezbuild.debug`.

A package that holds such data can be built only where it is; with it, a payload from a store is as
good as one that was built here.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rezbuild import debug
from rezbuild.errors import StoreError

_BUILD_ID = re.compile(r"[0-9a-f]{8,128}")


def files(record: Mapping[str, Any]) -> set[Path]:
    """Which files of debug data a payload has, below a folder of such data.

    Args:
        record: Its ``rezbuild.json``.
    """
    ids = record.get("build_ids")
    found = ids.values() if isinstance(ids, dict) else ()
    return {debug.place(i) for i in found if isinstance(i, str) and _BUILD_ID.fullmatch(i)}


def all_in(folder: Path, wanted: set[Path]) -> bool:
    """Whether there are files, and all of them are in a folder."""
    return bool(wanted) and all((folder / place).is_file() for place in wanted)


def collect(folder: Path, wanted: set[Path], target: Path) -> None:
    """Copies files to a folder, which is made.

    Raises:
        OSError: One cannot be read.
    """
    for place in wanted:
        (target / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / place, target / place)


def restore(tree: Path, wanted: set[Path], folder: Path) -> None:
    """Moves files to where debug data is kept, each whole.

    Raises:
        StoreError: The tree holds anything else than what is wanted.
        OSError: The folder cannot be written.
    """
    there = {path.relative_to(tree) for path in tree.rglob("*") if not path.is_dir()}
    if there != wanted:
        raise StoreError("the debug data is that of another payload")
    for place in wanted:
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".part-", dir=target.parent) as scratch:
            copy = Path(scratch, "copy")
            shutil.copyfile(tree / place, copy)
            copy.chmod(0o644)
            copy.replace(target)
