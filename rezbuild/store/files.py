"""The files of a store: in a folder, on a file system of fsspec, or behind a web server."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, TypeVar
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

import fsspec

from rezbuild.catalogue.model import Archive
from rezbuild.errors import MachineError, UsageError
from rezbuild.repository import staging
from rezbuild.settings import Settings, scheme
from rezbuild.sources.http_client import HttpClient
from rezbuild.sources.http_errors import public_address
from rezbuild.sources.locations import join_url
from rezbuild.sources.partial_file import PartialFile
from rezbuild.store.timeouts import StoreFileError, check_file, run_with_timeout, time_limit

T = TypeVar("T")
_CHUNK = 1 << 20
# The prefix of a file that is being written.
PART = ".part-"
_LINK = re.compile(r"""href\s*=\s*["']?([^"'\s>]+)""", re.IGNORECASE)


class Files(Protocol):
    """The files of a store. A place is a relative path with slashes."""

    @property
    def display_url(self) -> str:
        """The address without a password."""
        ...

    def read(self, place: str, most: int) -> bytes:
        """Return a small file; raise StoreFileError if it has more than ``most`` bytes."""
        ...

    def fetch(self, place: str, target: Path, sha256: str, size: int) -> None:
        """Copy a file to ``target``; raise StoreFileError unless size and checksum are right."""
        ...

    def write(self, place: str, source: Path) -> None:
        """Write a local file to a place in one step; replace a file that is there."""
        ...

    def list_names(self, folder: str) -> list[str]:
        """Return the sorted names in a folder; no names if there is no such folder."""
        ...

    def age(self, place: str) -> float:
        """Return the seconds since a file was written."""
        ...

    def remove(self, place: str) -> None:
        """Remove a file, if it is there."""
        ...


def open_files(url: str, settings: Settings, say: Callable[[str], None]) -> Files:
    """Open the files at an address, or in a folder.

    Raises:
        UsageError: The address is invalid.
        MachineError: The library for such an address is not installed.
    """
    kind = scheme(url)
    if not kind:
        return FolderFiles(Path(url), settings)
    if kind == "file":
        # Decode %20 as in REZBUILD_MIRRORS; fsspec would not.
        return FolderFiles(Path(url2pathname(urlsplit(url).path)), settings)
    if kind in ("http", "https"):
        return WebFiles(url, settings, say)
    try:
        # Without the cache of listings, files of other hosts appear at once.
        system, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
    except ImportError:
        raise _not_installed(kind, public_address(url)) from None
    except Exception as error:  # noqa: BLE001 (each library raises other exceptions)
        raise UsageError(
            f"REZBUILD_STORE={public_address(url)} cannot be used ({type(error).__name__})",
            advice=["set it to a folder, or an address with file://, s3://, gs:// or https://"],
        ) from None
    return FsspecFiles(url, system, root, settings)


def _not_installed(kind: str, shown: str) -> MachineError:
    library = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs"}.get(kind)
    advice = f"pip install {library}, with the Python that runs Rez" if library else ""
    return MachineError(
        f"the store {shown} cannot be reached: "
        f"{library or 'the library for ' + kind + '://'} is not installed",
        advice=[advice or f"install the library that fsspec's documentation names for {kind}://"],
    )


class FsspecFiles:
    """The files on a file system of fsspec.

    Args:
        url: The address.
        system: fsspec's file system.
        root: The store's folder on it.
        settings: The timeouts.
    """

    def __init__(self, url: str, system: Any, root: str, settings: Settings) -> None:
        self.display_url = public_address(url)
        self._system, self._root = system, root.rstrip("/")
        self._limit = time_limit(settings)

    def read(self, place: str, most: int) -> bytes:
        def work() -> bytes:
            with self._system.open(self._at(place), "rb") as file:
                return bytes(file.read(most + 1))

        found = self._run(work)
        if len(found) > most:
            raise StoreFileError(f"it has more than {most} bytes", damaged=True)
        return found

    def fetch(self, place: str, target: Path, sha256: str, size: int) -> None:
        def work() -> tuple[int, str]:
            copied, total = 0, hashlib.sha256()
            with self._system.open(self._at(place), "rb") as file, target.open("wb") as copy:
                # Stop after ``size`` bytes: a longer file is the wrong one anyway.
                while copied <= size and (block := file.read(_CHUNK)):
                    copy.write(block)
                    total.update(block)
                    copied += len(block)
            return copied, total.hexdigest()

        check_file(self._run(work, size), sha256, size)

    def write(self, place: str, source: Path) -> None:
        """Write a file; see `Files`. An object appears when it is complete."""

        def work() -> None:
            self._system.put_file(str(source), self._at(place))
            there = self._system.info(self._at(place)).get("size")
            if there != size:
                raise StoreFileError(f"{there} of {size} bytes have arrived")

        size = source.stat().st_size
        self._run(work, size)

    def list_names(self, folder: str) -> list[str]:
        def work() -> list[str]:
            found = self._system.ls(self._at(folder), detail=False)
            return sorted({PurePosixPath(path).name for path in found})

        try:
            return self._run(work)
        except StoreFileError as error:
            if error.missing:
                return []
            raise

    def age(self, place: str) -> float:
        written = self._run(lambda: self._system.modified(self._at(place)))
        return time.time() - float(written.timestamp())

    def remove(self, place: str) -> None:
        try:
            self._run(lambda: self._system.rm_file(self._at(place)))
        except StoreFileError as error:
            if not error.missing:
                raise

    def _at(self, place: str) -> str:
        return f"{self._root}/{place}" if place else self._root

    def _run(self, work: Callable[[], T], size: int = 0) -> T:
        return run_with_timeout(work, self._limit(size))


class FolderFiles(FsspecFiles):
    """The files in a folder, which several hosts may share."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        super().__init__(str(folder), fsspec.filesystem("file"), str(folder), settings)
        self.display_url = str(folder)
        self._folder = folder

    def write(self, place: str, source: Path) -> None:
        """Write a file, and rename it when it is complete; see `Files`."""

        def work() -> None:
            target = self._folder / place
            staging.share(target.parent, self._folder)
            number, name = tempfile.mkstemp(prefix=PART, dir=target.parent)
            try:
                with os.fdopen(number, "wb") as file, source.open("rb") as original:
                    shutil.copyfileobj(original, file, _CHUNK)
                    os.fchmod(file.fileno(), 0o644)
                    file.flush()
                    os.fsync(file.fileno())
                Path(name).replace(target)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise

        self._run(work, source.stat().st_size)


class WebFiles:
    """The files behind a web server, which are read-only.

    Args:
        url: The address; it may hold a user's name and password, and a token as a query.
        settings: Timeouts and retries, as for sources.
        say: Prints retries.
    """

    def __init__(self, url: str, settings: Settings, say: Callable[[str], None]) -> None:
        self.display_url = public_address(url)
        self._url = url
        self._web = HttpClient(settings, say, 0.5)
        self._lists = HttpClient(settings, say, 0.5, pages=True)
        self._limit = time_limit(settings)

    def read(self, place: str, most: int) -> bytes:
        return self._small(self._web, place, most)

    def fetch(self, place: str, target: Path, sha256: str, size: int) -> None:
        with target.open("w+b") as file:
            part = PartialFile(file, Archive(place, sha256, size, ()))
            self._get(self._web, place, part, size)
            check_file((part.size, part.sha256), sha256, size)

    def write(self, place: str, source: Path) -> None:  # noqa: ARG002
        """Raise StoreFileError: a web server is read-only."""
        raise StoreFileError("a web server is read-only")

    def list_names(self, folder: str) -> list[str]:
        """List a folder; see `Files`. The list is empty if the server lists no folders."""
        try:
            page = self._small(self._lists, f"{folder}/" if folder else "", _CHUNK)
        except StoreFileError as error:
            if error.missing or error.damaged:
                return []
            raise
        links = _LINK.findall(page.decode("utf-8", "replace"))
        found = {unquote(urlsplit(link).path).rstrip("/") for link in links}
        return sorted(name for name in found if name and "/" not in name and name[0] != ".")

    def age(self, place: str) -> float:  # noqa: ARG002
        """Return 0: the age is unknown, and nothing can be pruned here."""
        return 0.0

    def remove(self, place: str) -> None:  # noqa: ARG002
        """Raise StoreFileError: a web server is read-only."""
        raise StoreFileError("a web server is read-only")

    def _small(self, web: HttpClient, place: str, most: int) -> bytes:
        with tempfile.TemporaryFile() as file:
            part = PartialFile(file, Archive(place, "", most, ()))
            self._get(web, place, part, 0)
            if part.too_long:
                raise StoreFileError(f"it has more than {most} bytes", damaged=True)
            file.seek(0)
            return file.read()

    def _get(self, web: HttpClient, place: str, part: PartialFile, size: int) -> None:
        run_with_timeout(
            lambda: web.get(join_url(self._url, *place.split("/")), part), self._limit(size)
        )
