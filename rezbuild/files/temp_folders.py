"""Temporary folders that outlive no run: what killed ones have left is removed by the next.

The owner of a folder holds a lock in it, which ends with him: one whose lock is free is nobody's.
That of a whole run is TMPDIR meanwhile, so that what Rez and the compilers leave is in it as well.
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
    """A private folder, gone afterwards, in which everything temporary is made meanwhile.

    Raises:
        OSError: It cannot be made.
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
    """A private folder in ``parent``, gone afterwards; those of killed processes go before.

    Args:
        parent: Where.
        prefix: What their names begin with.

    Raises:
        OSError: It cannot be made.
    """
    _sweep(parent, prefix)
    place = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        with (place / _LOCK).open("wb") as lock:
            _held(lock)
            yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _use(place: str | None) -> None:
    if place is None:
        os.environ.pop(_VARIABLE, None)
    else:
        os.environ[_VARIABLE] = place
    tempfile.tempdir = None  # Python remembers it


def _held(lock: BinaryIO) -> bool:
    """Takes the lock; whether nobody else has it, as far as the file system knows."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _sweep(parent: Path, prefix: str) -> None:
    for left in parent.glob(f"{glob.escape(prefix)}*"):
        # One without a lock file is being made at this moment, or is something else.
        with contextlib.suppress(OSError), _own(left).open("rb") as lock:
            if _held(lock):
                shutil.rmtree(left, ignore_errors=True)


def _own(left: Path) -> Path:
    """The lock file of a folder of ours.

    Raises:
        PermissionError: It is somebody else's.
    """
    if left.lstat().st_uid != os.getuid():
        raise PermissionError(left)
    return left / _LOCK
