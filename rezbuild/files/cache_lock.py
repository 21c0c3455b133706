"""The lock of the cache: builds share it; ``rezbuild cache clean`` holds it alone.

A marker in the cache says that rezbuild has created the folder, and may remove files there.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from rezbuild.errors import MachineError
from rezbuild.files import locks

FILE = "in-use.lock"
MARKER = ".rezbuild-cache"
_TEXT = "A cache of rezbuild. The command rezbuild cache clean may remove files here.\n"


def create(cache: Path) -> None:
    """Create the cache if it can be written; mark it, unless the folder has other files already."""
    with contextlib.suppress(OSError):
        cache.mkdir(parents=True, exist_ok=True)
        if not os.listdir(cache):
            (cache / MARKER).write_text(_TEXT, encoding="utf-8")


@contextlib.contextmanager
def shared(cache: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Keep ``rezbuild cache clean`` from removing files during the block.

    A cache that cannot be written is not locked.
    """
    create(cache)
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            lock = locks.open_lock(cache / FILE, say, shared=True)
            lock.acquire("  waiting for rezbuild cache clean")
            stack.callback(lock.release)
        yield


@contextlib.contextmanager
def alone(cache: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of an existing cache during the block.

    Raises:
        MachineError: A build uses the cache.
        OSError: The cache cannot be written.
    """
    lock = locks.open_lock(cache / FILE, say)
    if not lock.take():
        raise MachineError(
            f"the cache {cache} is in use by {lock.holder()}",
            advice=["run the command again when that build has ended"],
        )
    try:
        yield
    finally:
        lock.release()
