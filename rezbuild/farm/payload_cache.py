"""The unpacked dependencies of jobs on a worker: one folder each, named by its digest.

They are kept for a while, since the next job often has the same dependencies. Each is compared with
its digest before it is used again, since a job runs its programs.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from rezbuild.errors import RezbuildError, StoreError, as_error
from rezbuild.files import locks, pack, safe_files
from rezbuild.settings import Settings
from rezbuild.store import Entry, Store, maintain

# Days that unused dependencies stay, and payloads in the worker's private store.
_KEPT = 7.0
# Seconds.
_DAY = 24 * 3600.0


def folder(cache: Path) -> Path:
    """Return the folder of the dependencies, in REZBUILD_CACHE."""
    return cache / "farm" / "payloads"


def private_store(cache: Path) -> Path:
    """Return the folder of the worker's store if it shares none with others; in REZBUILD_CACHE."""
    return cache / "farm" / "store"


def get_payload(entry: Entry, cache: Path, store: Store) -> Path:
    """Return the unpacked payload of an entry, with its debug data if this machine keeps some.

    A missing or changed payload is restored from the store.

    Raises:
        StoreError: It cannot be read from the store.
        OSError: The cache cannot be written.
    """
    here = folder(cache)
    here.mkdir(parents=True, exist_ok=True)
    place = here / entry.payload
    with locks.open_lock(here / f"{entry.payload}.lock", print):
        if _is_whole(place, entry.payload):
            store.restore_debug(entry.name, entry.version, entry.payload, place)
        else:
            partial = here / f"{entry.payload}.partial"
            safe_files.remove(partial)
            store.restore(entry, partial)
            safe_files.remove(place)
            partial.rename(place)
        os.utime(place)
    return place


def start_daily_cleanup(
    settings: Settings, say: Callable[[str], None], every: float = _DAY
) -> threading.Event:
    """Remove payloads that no job has used for a week: now, and then once a day.

    Args:
        settings: The worker's settings.
        say: Prints errors.
        every: Seconds between two clean-ups.

    Returns:
        An event that ends the clean-ups; they also end with the process.
    """
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(every):
            _clean_up(settings, say)

    _clean_up(settings, say)
    threading.Thread(target=work, name="tidy", daemon=True).start()
    return ended


def _clean_up(settings: Settings, say: Callable[[str], None]) -> None:
    try:
        _prune(settings.cache)
        own = private_store(settings.cache)
        if own.is_dir():
            store = Store(str(own), say=say, settings=settings)
            for _ in maintain.prune(store, days=_KEPT, unused=True):
                pass
    except (RezbuildError, OSError) as error:
        say(f"notice: {settings.cache / 'farm'} cannot be cleared: {as_error(error).message}")


def _prune(cache: Path) -> None:
    for path in folder(cache).glob("*"):
        if path.is_dir() and _is_old(path):
            with locks.open_lock(path.with_name(f"{path.name}.lock"), print):
                # A job may have begun to use it before the lock was free.
                if path.is_dir() and _is_old(path):
                    safe_files.remove(path)


def _is_old(path: Path) -> bool:
    return time.time() - path.stat().st_mtime > _KEPT * _DAY


def _is_whole(place: Path, digest: str) -> bool:
    try:
        return place.is_dir() and pack.digest(place) == digest
    except (StoreError, OSError):
        return False
