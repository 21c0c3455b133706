"""The payloads that jobs are built against, unpacked on a worker: one folder each, by its digest.

They are kept for a while, as the next job is often built against the same; each is held to its
digest before it is used again, since a job runs what is in it.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

from rezbuild.errors import RezbuildError, StoreError, as_error
from rezbuild.files import locks, pack
from rezbuild.settings import Settings
from rezbuild.store import Entry, Store, maintain

# Days that what a job has used stays, and what it has built in a worker's own store.
_KEPT = 7.0
# Seconds.
_DAY = 24 * 3600.0


def folder(cache: Path) -> Path:
    """Where they are, in REZBUILD_CACHE."""
    return cache / "farm" / "payloads"


def own_store(cache: Path) -> Path:
    """The store of a worker that has none in common with others; a folder in REZBUILD_CACHE."""
    return cache / "farm" / "store"


def at(entry: Entry, cache: Path, store: Store) -> Path:
    """The unpacked payload of an entry, and its debug data where that is kept on this machine.

    It is taken from the store where it is not there, or is not what it was.

    Raises:
        StoreError: It cannot be had.
        OSError: The cache cannot be written.
    """
    here = folder(cache)
    here.mkdir(parents=True, exist_ok=True)
    place = here / entry.payload
    with locks.at(here / f"{entry.payload}.lock", print):
        if _is_whole(place, entry.payload):
            store.restore_debug(entry.name, entry.version, entry.payload, place)
        else:
            partial = here / f"{entry.payload}.partial"
            _gone(partial)
            store.restore(entry, partial)
            _gone(place)
            partial.rename(place)
        os.utime(place)
    return place


def tidy_daily(
    settings: Settings, say: Callable[[str], None], every: float = _DAY
) -> threading.Event:
    """Removes what no job has used, or built, for a week: now, and then as long as the worker runs.

    Args:
        settings: Of the worker.
        say: Is told of what cannot be removed.
        every: Seconds between two times.

    Returns:
        What ends it once it is set; it ends with the process, too.
    """
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(every):
            _tidy(settings, say)

    _tidy(settings, say)
    threading.Thread(target=work, name="tidy", daemon=True).start()
    return ended


def _tidy(settings: Settings, say: Callable[[str], None]) -> None:
    try:
        _prune(settings.cache)
        own = own_store(settings.cache)
        if own.is_dir():
            store = Store(str(own), say=say, settings=settings)
            for _ in maintain.prune(store, days=_KEPT, unused=True):
                pass
    except (RezbuildError, OSError) as error:
        say(f"notice: {settings.cache / 'farm'} cannot be cleared: {as_error(error).message}")


def _prune(cache: Path) -> None:
    for path in folder(cache).glob("*"):
        if path.is_dir() and _is_old(path):
            with locks.at(path.with_name(f"{path.name}.lock"), print):
                # A job may have begun to use it meanwhile.
                if path.is_dir() and _is_old(path):
                    _gone(path)


def _is_old(path: Path) -> bool:
    return time.time() - path.stat().st_mtime > _KEPT * _DAY


def _is_whole(place: Path, digest: str) -> bool:
    try:
        return place.is_dir() and pack.digest(place) == digest
    except (StoreError, OSError):
        return False


def _gone(path: Path) -> None:
    if path.exists():
        for inner, _, _ in os.walk(path):
            os.chmod(inner, 0o700)
        shutil.rmtree(path)
