"""Timeouts of a store, and its errors.

Each error becomes a `StoreFileError` with a text of ours: the texts of libraries may hold an
address
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
# Bytes per second. With a slower store, a build takes less time.
_SLOWEST = 100_000


class StoreFileError(Exception):
    """A file of a store that cannot be read or written; the text says why.

    Args:
        reason: The reason, for the user.
        missing: The store works, and has no such file.
        damaged: The store works, but the file is not the expected one.
    """

    def __init__(self, reason: str, *, missing: bool = False, damaged: bool = False) -> None:
        super().__init__(reason)
        self.missing, self.damaged = missing, damaged


def describe(error: StoreFileError | StoreError) -> str:
    """Return the reason of an error, without a full stop."""
    return error.message if isinstance(error, StoreError) else str(error)


def time_limit(settings: Settings) -> Callable[[int], float]:
    """Return a function that gives the allowed seconds for a number of bytes."""
    return lambda size: settings.connect_timeout + settings.read_timeout + size / _SLOWEST


def check_file(found: tuple[int, str], sha256: str, size: int) -> None:
    """Check that a file is the expected one, by its size in bytes and its checksum.

    Raises:
        StoreFileError: It is not.
    """
    if found[0] != size:
        had = f"{found[0]}" if found[0] < size else "more"
        raise StoreFileError(f"it has {had} bytes, not {size}", damaged=True)
    if found[1] != sha256:
        raise StoreFileError(f"its sha256 is {found[1]}, not {sha256}", damaged=True)


def run_with_timeout(work: Callable[[], T], seconds: float) -> T:
    """Call a function that may hang, as disks on a network do.

    Raises:
        StoreFileError: It failed, or took longer than ``seconds``.
    """

    def items() -> Generator[T]:
        yield work()

    try:
        with TimedIterator(items()) as once:
            return once.next(seconds)  # type: ignore[return-value]  # None is what work returns
    except StoreFileError:
        raise
    except TimeoutError:
        raise StoreFileError(f"it has not answered within {seconds:.0f} s") from None
    except DownloadError as error:
        raise StoreFileError(str(error), missing=error.missing) from None
    except RezbuildError as error:
        raise StoreFileError(error.message) from None
    except (FileNotFoundError, NotADirectoryError):
        raise StoreFileError("it is not there", missing=True) from None
    except Exception as error:  # noqa: BLE001 (each library raises other exceptions)
        raise StoreFileError(_words(error)) from None


def _words(error: Exception) -> str:
    """Return the system's text for an error, or else the name of its class."""
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return type(error).__name__
