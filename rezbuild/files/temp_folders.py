"""Temporary folders that are cleaned up even after a crash.

A process holds a lock in its folder. A folder whose lock is free is stale; the next run removes it.
TMPDIR is the folder of the whole run, so it also contains files of Rez and the compilers.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_PREFIX = "rezbuild-"
_LOCK = ".lock"
_VARIABLE = "TMPDIR"


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """Yield a private folder, set TMPDIR to it during the block, and remove it afterwards.

    Raises:
        OSError: The folder cannot be created.
    """
    before = os.environ.get(_VARIABLE)
    with private(Path(tempfile.gettempdir()), _PREFIX) as place:
        try:
            _use(str(place))
            yield place
        finally:
            _use(before)


@contextlib.contextmanager
def private(parent: Path, prefix: str) -> Iterator[Path]:
    """Yield a private folder, and remove it afterwards. First remove stale ones.

    Args:
        parent: The folder for the new folder.
        prefix: The first part of the folders' names.

    Raises:
        OSError: The folder cannot be created.
    """
    _remove_stale(parent, prefix)
    place = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        with (place / _LOCK).open("wb") as lock:
            _take(lock)
            yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _use(place: str | None) -> None:
    if place is None:
        os.environ.pop(_VARIABLE, None)
    else:
        os.environ[_VARIABLE] = place
    tempfile.tempdir = None  # Python caches TMPDIR


def _take(lock: BinaryIO) -> bool:
    """Take the lock; return False if another process has it, or without support for locks."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove_stale(parent: Path, prefix: str) -> None:
    for left in parent.glob(f"{glob.escape(prefix)}*"):
        # A folder without a lock file is being created now, or belongs to another program.
        with contextlib.suppress(OSError), _lock_file(left).open("rb") as lock:
            if _take(lock):
                shutil.rmtree(left, ignore_errors=True)


def _lock_file(left: Path) -> Path:
    """Return the lock file of a folder.

    Raises:
        PermissionError: The folder belongs to another user.
    """
    if left.lstat().st_uid != os.getuid():
        raise PermissionError(left)
    return left / _LOCK
