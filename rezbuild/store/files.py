"""The files of a store: in a folder, in what fsspec reaches, or behind a web server.

fsspec is slow to import: whoever has no store does without this module.
"""

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

from rezbuild.catalogue.sources_toml import Archive
from rezbuild.errors import MachineError, UsageError
from rezbuild.repository import staging
from rezbuild.settings import Settings, scheme
from rezbuild.sources.fetch import below
from rezbuild.sources.http_client import HttpClient, PartialFile
from rezbuild.sources.http_errors import public_address
from rezbuild.store.timeouts import PlaceError, check, limit, patiently

T = TypeVar("T")
_CHUNK = 1 << 20
# What a file is called while it is written.
PART = ".part-"
_LINK = re.compile(r"""href\s*=\s*["']?([^"'\s>]+)""", re.IGNORECASE)


class Files(Protocol):
    """What a store is made of. A place is relative to it, with slashes."""

    @property
    def shown(self) -> str:
        """Its address, fit to be shown."""
        ...

    def read(self, place: str, most: int) -> bytes:
        """A small file; PlaceError where it has more than ``most`` bytes."""
        ...

    def fetch(self, place: str, target: Path, sha256: str, size: int) -> None:
        """Copies a file, and sees that it is the right one; of what is not, nothing is used."""
        ...

    def write(self, place: str, source: Path) -> None:
        """Puts a local file there, whole or not at all; what stood there is replaced."""
        ...

    def names(self, folder: str) -> list[str]:
        """What is in a folder, in order; nothing where that is not there."""
        ...

    def seconds(self, place: str) -> float:
        """Since a file was written."""
        ...

    def remove(self, place: str) -> None:
        """Removes a file; it may be gone already."""
        ...


def open_files(url: str, settings: Settings, say: Callable[[str], None]) -> Files:
    """The files at an address or in a folder.

    Raises:
        UsageError: The address makes no sense.
        MachineError: What reaches such an address is not installed.
    """
    kind = scheme(url)
    if not kind:
        return Folder(Path(url), settings)
    if kind == "file":
        # As of REZBUILD_MIRRORS; fsspec would take a %20 for itself.
        return Folder(Path(url2pathname(urlsplit(url).path)), settings)
    if kind in ("http", "https"):
        return Pages(url, settings, say)
    try:
        # What others have put there meanwhile is to be seen.
        system, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
    except ImportError:
        raise _not_installed(kind, public_address(url)) from None
    except Exception as error:  # noqa: BLE001 (each of the libraries has its own)
        raise UsageError(
            f"REZBUILD_STORE={public_address(url)} cannot be used ({type(error).__name__})",
            advice=["name a folder, or an address with file://, s3://, gs:// or https://"],
        ) from None
    return Shared(url, system, root, settings)


def _not_installed(kind: str, shown: str) -> MachineError:
    library = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs"}.get(kind)
    advice = f"pip install {library}, into the Python that Rez runs in" if library else ""
    return MachineError(
        f"the store {shown} cannot be reached: "
        f"{library or 'what fsspec needs for ' + kind + '://'} is not installed",
        advice=[advice or f"fsspec's documentation says what {kind}:// needs"],
    )


class Shared:
    """What fsspec reaches.

    Args:
        url: Its address.
        system: Of fsspec.
        root: What the store's folder is called there.
        settings: For the timeouts.
    """

    def __init__(self, url: str, system: Any, root: str, settings: Settings) -> None:
        self.shown = public_address(url)
        self._system, self._root = system, root.rstrip("/")
        self._limit = limit(settings)

    def read(self, place: str, most: int) -> bytes:
        """See `Files`."""

        def work() -> bytes:
            with self._system.open(self._at(place), "rb") as file:
                return bytes(file.read(most + 1))

        found = self._patiently(work)
        if len(found) > most:
            raise PlaceError(f"it has more than {most} bytes", damaged=True)
        return found

    def fetch(self, place: str, target: Path, sha256: str, size: int) -> None:
        """See `Files`."""

        def work() -> tuple[int, str]:
            copied, total = 0, hashlib.sha256()
            with self._system.open(self._at(place), "rb") as file, target.open("wb") as copy:
                # No more than that: what is longer is another file anyway.
                while copied <= size and (block := file.read(_CHUNK)):
                    copy.write(block)
                    total.update(block)
                    copied += len(block)
            return copied, total.hexdigest()

        check(self._patiently(work, size), sha256, size)

    def write(self, place: str, source: Path) -> None:
        """See `Files`; an object is there when all of it has come."""

        def work() -> None:
            self._system.put_file(str(source), self._at(place))
            there = self._system.info(self._at(place)).get("size")
            if there != size:
                raise PlaceError(f"{there} of {size} bytes have arrived")

        size = source.stat().st_size
        self._patiently(work, size)

    def names(self, folder: str) -> list[str]:
        """See `Files`."""

        def work() -> list[str]:
            found = self._system.ls(self._at(folder), detail=False)
            return sorted({PurePosixPath(path).name for path in found})

        try:
            return self._patiently(work)
        except PlaceError as trouble:
            if trouble.missing:
                return []
            raise

    def seconds(self, place: str) -> float:
        """See `Files`."""
        written = self._patiently(lambda: self._system.modified(self._at(place)))
        return time.time() - float(written.timestamp())

    def remove(self, place: str) -> None:
        """See `Files`."""
        try:
            self._patiently(lambda: self._system.rm_file(self._at(place)))
        except PlaceError as trouble:
            if not trouble.missing:
                raise

    def _at(self, place: str) -> str:
        return f"{self._root}/{place}" if place else self._root

    def _patiently(self, work: Callable[[], T], size: int = 0) -> T:
        return patiently(work, self._limit(size))


class Folder(Shared):
    """A folder, which several hosts may share."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        super().__init__(str(folder), fsspec.filesystem("file"), str(folder), settings)
        self.shown = str(folder)
        self._folder = folder

    def write(self, place: str, source: Path) -> None:
        """See `Files`; it has its name when it is whole."""

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

        self._patiently(work, source.stat().st_size)


class Pages:
    """A store behind a web server, to be read only.

    Args:
        url: Its address; it may hold a user's name and password, and a query as a token.
        settings: Timeouts and retries, as for sources.
        say: Is told of retries.
    """

    def __init__(self, url: str, settings: Settings, say: Callable[[str], None]) -> None:
        self.shown = public_address(url)
        self._url = url
        self._web = HttpClient(settings, say, 0.5)
        self._lists = HttpClient(settings, say, 0.5, pages=True)
        self._limit = limit(settings)

    def read(self, place: str, most: int) -> bytes:
        """See `Files`."""
        return self._small(self._web, place, most)

    def fetch(self, place: str, target: Path, sha256: str, size: int) -> None:
        """See `Files`."""
        with target.open("w+b") as file:
            part = PartialFile(file, Archive(place, sha256, size, ()))
            self._get(self._web, place, part, size)
            check((part.size, part.sha256), sha256, size)

    def write(self, place: str, source: Path) -> None:  # noqa: ARG002
        """Raises PlaceError."""
        raise PlaceError("what is behind a web server can be read only")

    def names(self, folder: str) -> list[str]:
        """See `Files`; where the server lists no folders there is nothing to see."""
        try:
            page = self._small(self._lists, f"{folder}/" if folder else "", _CHUNK)
        except PlaceError as trouble:
            if trouble.missing or trouble.damaged:
                return []
            raise
        links = _LINK.findall(page.decode("utf-8", "replace"))
        found = {unquote(urlsplit(link).path).rstrip("/") for link in links}
        return sorted(name for name in found if name and "/" not in name and name[0] != ".")

    def seconds(self, place: str) -> float:  # noqa: ARG002
        """Unknown: it cannot be pruned from here anyway."""
        return 0.0

    def remove(self, place: str) -> None:  # noqa: ARG002
        """Raises PlaceError."""
        raise PlaceError("what is behind a web server can be read only")

    def _small(self, web: HttpClient, place: str, most: int) -> bytes:
        with tempfile.TemporaryFile() as file:
            part = PartialFile(file, Archive(place, "", most, ()))
            self._get(web, place, part, 0)
            if part.overlong:
                raise PlaceError(f"it has more than {most} bytes", damaged=True)
            file.seek(0)
            return file.read()

    def _get(self, web: HttpClient, place: str, part: PartialFile, size: int) -> None:
        patiently(lambda: web.get(below(self._url, *place.split("/")), part), self._limit(size))
