"""One temporary folder for all of a run; what killed runs have left is removed by the next.

It is TMPDIR while the run lasts, so that what Rez and the compilers leave is in it as well. Its
owner holds a lock in it, which ends with him: a folder whose lock is free is nobody's.
"""

from __future__ import annotations

import contextlib
import fcntl
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
    _sweep(Path(tempfile.gettempdir()))
    before = os.environ.get(_VARIABLE)
    with contextlib.ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix=_PREFIX))
        lock = stack.enter_context(Path(name, _LOCK).open("wb"))
        _held(lock)
        try:
            _use(name)
            yield Path(name)
        finally:
            _use(before)


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


def _sweep(place: Path) -> None:
    for left in place.glob(f"{_PREFIX}*"):
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
