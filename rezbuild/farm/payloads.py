"""The payloads that jobs are built against, unpacked on a worker: one folder each, by its digest.

They are kept for a while, as the next job is often built against the same; each was held to its
digest when it was unpacked.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from rezbuild import locks
from rezbuild.store import Entry

# Seconds.
_KEPT = 7 * 24 * 3600

# Puts the payload of an entry into a folder that is not there yet, or raises a StoreError.
Take = Callable[[Entry, Path], None]


def folder(cache: Path) -> Path:
    """Where they are, in REZBUILD_CACHE."""
    return cache / "farm" / "payloads"


def own_store(cache: Path) -> Path:
    """The store of a worker that has none in common with others; a folder in REZBUILD_CACHE."""
    return cache / "farm" / "store"


def at(entry: Entry, cache: Path, take: Take) -> Path:
    """The unpacked payload of an entry; it is taken where it is not there.

    Raises:
        StoreError: It cannot be had.
    """
    here = folder(cache)
    here.mkdir(parents=True, exist_ok=True)
    place = here / entry.payload
    with locks.at(here / f"{entry.payload}.lock", print):
        if not place.is_dir():
            partial = here / f"{entry.payload}.partial"
            _gone(partial)
            take(entry, partial)
            partial.rename(place)
        os.utime(place)
    return place


def prune(cache: Path) -> None:
    """Removes what no job has used for a week."""
    for path in folder(cache).glob("*"):
        if path.is_dir() and time.time() - path.stat().st_mtime > _KEPT:
            with locks.at(path.with_name(f"{path.name}.lock"), print):
                _gone(path)


def _gone(path: Path) -> None:
    if path.exists():
        for inner, _, _ in os.walk(path):
            os.chmod(inner, 0o700)
        shutil.rmtree(path)
