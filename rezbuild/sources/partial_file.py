"""A file that is being downloaded or copied, with the size and checksum of its bytes so far."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from rich.console import Console
from rich.control import Control
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.segment import ControlType
from rich.table import Column

from rezbuild.catalogue.model import Archive
from rezbuild.errors import ChecksumError
from rezbuild.files import locks, safe_files
from rezbuild.sources.http_errors import DownloadError

_BLOCK = 1 << 16
_DAY = 24 * 3600  # seconds


class PartialFile:
    """The bytes that have arrived so far, with their number and checksum.

    Attributes:
        file: Open for reading and appending; may hold bytes of an earlier, killed process.
        archive: The pinned size and checksum.
        size: The number of bytes.
        validator: The server's name for this state of the file (RFC 9110, If-Range), or "".
        resumed: Some bytes came from an earlier response than the last one.
    """

    def __init__(self, file: BinaryIO, archive: Archive) -> None:
        self.file, self.archive = file, archive
        self.validator = ""
        self.resumed = False
        self.size, self._sum = 0, hashlib.sha256()
        self._on_progress: Callable[[int], object] = lambda _size: None
        self._on_first: Callable[[], object] = lambda: None
        file.seek(0)
        for block in iter(lambda: file.read(_BLOCK), b""):
            self._count(block)

    def _count(self, block: bytes) -> None:
        self.size += len(block)
        self._sum.update(block)

    @property
    def sha256(self) -> str:
        return self._sum.hexdigest()

    @property
    def too_long(self) -> bool:
        """Whether there are more bytes than pinned, so that the rest need not be read."""
        return self.archive.size is not None and self.size > self.archive.size

    def is_complete(self) -> bool:
        """Whether the bytes have the pinned checksum and size."""
        return self.sha256 == self.archive.sha256 and self.archive.size in (None, self.size)

    def restart(self) -> None:
        """Discard all bytes."""
        self.file.truncate(0)
        self.size, self._sum = 0, hashlib.sha256()
        self.resumed = False

    def on_first(self, call: Callable[[], object]) -> None:
        """Call a function once, when the first bytes arrive."""
        self._on_first = call

    def add(self, block: bytes) -> None:
        """Append bytes."""
        first, self._on_first = self._on_first, lambda: None
        first()
        self.file.write(block)
        self._count(block)
        self._on_progress(self.size)

    def copy(self, path: Path) -> None:
        """Replace all bytes by those of a local file.

        Raises:
            DownloadError: The local file cannot be read.
        """
        self.restart()
        for block in _blocks(path):
            self.add(block)
            if self.too_long:
                return

    @contextlib.contextmanager
    def progress_bar(self, console: Console) -> Iterator[None]:
        """Draw a progress bar with the rate and the time left if ``console`` is a terminal."""
        columns = (
            TextColumn("  "),
            # On a narrow terminal, the bar shrinks, and the numbers do not.
            BarColumn(None, table_column=Column(max_width=40)),
            DownloadColumn(table_column=Column(no_wrap=True)),
            TransferSpeedColumn(table_column=Column(no_wrap=True)),
            TimeRemainingColumn(compact=True, table_column=Column(no_wrap=True)),
        )
        if not console.is_interactive:
            yield
            return
        # The bar replaces a line without a line feed, e.g. about planning.
        console.control(Control((ControlType.ERASE_IN_LINE, 2)))
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("", total=self.archive.size)
            self._on_progress = lambda size: bar.update(task, completed=size)
            yield


def is_complete(path: Path, archive: Archive) -> bool:
    """Whether a file exists and has the pinned bytes; reads the whole file."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return PartialFile(file, archive).is_complete()


@contextlib.contextmanager
def resume(target: Path, archive: Archive) -> Iterator[PartialFile]:
    """Give a partial file that becomes ``target`` at the end of the block.

    The bytes of a failed download are kept for the next attempt, unless they are known to be
    wrong.
    """
    path = target.with_name(f"{target.name}{owner_suffix(target.parent)}.part")
    try:
        with safe_files.resume(path) as file:
            part = PartialFile(file, archive)
            if archive.size is not None and part.size >= archive.size and not part.is_complete():
                part.restart()
            yield part
            _flush(file)
        path.replace(target)
    except ChecksumError:
        path.unlink()
        raise
    except DownloadError:
        if not path.stat().st_size:
            path.unlink()
        raise


def copy(source: Path, target: Path) -> None:
    """Copy a file, so that ``target`` is complete or absent even after a crash."""
    target.parent.mkdir(parents=True, exist_ok=True)
    _delete_stale_parts(target)
    path = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with safe_files.create(path) as file, source.open("rb") as original:
            shutil.copyfileobj(original, file)
            _flush(file)
        path.replace(target)
    finally:
        path.unlink(missing_ok=True)


def owner_suffix(folder: Path) -> str:
    """Return a suffix for file names where hosts cannot lock each other out, else ""."""
    return f".{platform.node()}-{os.getuid()}" if locks.missing_support(folder) else ""


def _delete_stale_parts(target: Path) -> None:
    """Delete the parts of copies that were killed a day ago or earlier."""
    for part in target.parent.glob(f".{glob.escape(target.name)}.*.part"):
        with contextlib.suppress(OSError):
            if abs(time.time() - part.stat().st_mtime) > _DAY:
                part.unlink()


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _blocks(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            yield from iter(lambda: file.read(_BLOCK), b"")
    except OSError as error:
        raise DownloadError(f"{path} cannot be read: {error.strerror}") from None
