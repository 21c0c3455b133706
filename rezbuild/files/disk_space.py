"""Add the free space to errors of a full disk."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from rich.filesize import decimal

from rezbuild.errors import RezbuildError, as_error

# Bytes. With less, rezbuild cannot write a log or an error.
_LITTLE = 1 << 16
_PREFIX = "free space in "
_FULL = tuple(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT))


def explain(error: RezbuildError | OSError, places: Iterable[Path]) -> RezbuildError:
    """Return an error as a RezbuildError; if a disk is full, add the free space of each place.

    Args:
        error: A RezbuildError or an OSError.
        places: Folders; they may be missing.
    """
    ours = as_error(error)
    places = tuple(dict.fromkeys(places))
    if any(words in str(ours) for words in _FULL) or any(free_bytes(p) < _LITTLE for p in places):
        ours.tried += tuple(f"{_PREFIX}{place}: {_room(place)}" for place in places)
        ours.advice += (
            "free some space there, then run it again: installed packages have not changed",
        )
    return ours


def is_full(error: RezbuildError) -> bool:
    """Return whether `explain` has found a full disk, here or on another machine."""
    return any(line.startswith(_PREFIX) for line in error.tried)


def _room(place: Path) -> str:
    free = decimal(free_bytes(place))
    facts = os.statvfs(_there(place))
    return f"{free}, no more files" if facts.f_files and not facts.f_favail else free


def free_bytes(place: Path) -> int:
    """Return the free space of a folder's disk; the folder may be missing."""
    return shutil.disk_usage(_there(place)).free


def _there(place: Path) -> Path:
    return next(path for path in (place, *place.parents) if path.exists())
