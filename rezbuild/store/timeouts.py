"""What a store is allowed: it may fail, and it may take its time, but not for ever.

Whatever goes wrong is a `PlaceError` in words of our own: those of libraries may hold an address
with its password.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from typing import TypeVar

from rezbuild.errors import RezbuildError, StoreError
from rezbuild.settings import Settings
from rezbuild.sources.http_errors import DownloadError
from rezbuild.util.timed_iterator import TimedIterator

T = TypeVar("T")
# Bytes a second: what comes slower than that is built sooner.
_SLOWEST = 100_000


class PlaceError(Exception):
    """A file cannot be had or written; its text says why.

    Args:
        reason: For the user.
        missing: The store is well and has no such file.
        damaged: The store is well, and the file is not the one that was meant.
    """

    def __init__(self, reason: str, *, missing: bool = False, damaged: bool = False) -> None:
        super().__init__(reason)
        self.missing, self.damaged = missing, damaged


def reason(error: PlaceError | StoreError) -> str:
    """What is wrong, in one sentence without a full stop."""
    return error.message if isinstance(error, StoreError) else str(error)


def limit(settings: Settings) -> Callable[[int], float]:
    """How many seconds something may take, by the bytes that it is about."""
    return lambda size: settings.connect_timeout + settings.read_timeout + size / _SLOWEST


def check(found: tuple[int, str], sha256: str, size: int) -> None:
    """Sees that a file is the one that was meant, by its size in bytes and its sum.

    Raises:
        PlaceError: It is another one.
    """
    if found[0] != size:
        had = f"{found[0]}" if found[0] < size else "more"
        raise PlaceError(f"it has {had} bytes, not {size}", damaged=True)
    if found[1] != sha256:
        raise PlaceError(f"its sha256 is {found[1]}, not {sha256}", damaged=True)


def patiently(work: Callable[[], T], seconds: float) -> T:
    """Does something that may hang; a disk on the network does, too.

    Raises:
        PlaceError: It failed, or has not ended after so many seconds.
    """

    def items() -> Generator[T]:
        yield work()

    try:
        with TimedIterator(items()) as once:
            return once.next(seconds)  # type: ignore[return-value]  # None is what work returns
    except PlaceError:
        raise
    except TimeoutError:
        raise PlaceError(f"it has not answered within {seconds:.0f} s") from None
    except DownloadError as error:
        raise PlaceError(str(error), missing=error.missing) from None
    except RezbuildError as error:
        raise PlaceError(error.message) from None
    except (FileNotFoundError, NotADirectoryError):
        raise PlaceError("it is not there", missing=True) from None
    except Exception as error:  # noqa: BLE001 (each of the libraries has its own)
        raise PlaceError(_words(error)) from None


def _words(error: Exception) -> str:
    """What the system says of it, or else the error's kind."""
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return type(error).__name__
