"""How much room is left where a build writes: for errors that speak of a full disk."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from rich.filesize import decimal

from rezbuild.errors import RezbuildError, as_error

# Bytes. With less, not even a log or an error can be written.
_LITTLE = 1 << 16
_ROOM = "room in "
_FULL = tuple(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT))


def explained(error: RezbuildError | OSError, places: Iterable[Path]) -> RezbuildError:
    """An error; where a disk is full, with the room that is left in each place.

    Args:
        error: Of us or of the system.
        places: Folders, which need not be there.
    """
    ours = as_error(error)
    places = tuple(dict.fromkeys(places))
    if any(words in str(ours) for words in _FULL) or any(_free(p) < _LITTLE for p in places):
        ours.tried += tuple(f"{_ROOM}{place}: {_room(place)}" for place in places)
        ours.advice += ("make room there, then run it again: nothing that was installed is lost",)
    return ours


def is_full(error: RezbuildError) -> bool:
    """Whether `explained` has found a full disk behind an error, here or on another machine."""
    return any(line.startswith(_ROOM) for line in error.tried)


def _room(place: Path) -> str:
    free = decimal(_free(place))
    facts = os.statvfs(_there(place))
    return f"{free}, no more files" if facts.f_files and not facts.f_favail else free


def _free(place: Path) -> int:
    return shutil.disk_usage(_there(place)).free


def _there(place: Path) -> Path:
    return next(path for path in (place, *place.parents) if path.exists())
