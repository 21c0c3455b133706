"""Put the verified archive of a release into the cache.

The cache is looked at first, then the mirrors, upstream's addresses and the distribution's source
archive. The cache and mirrors have the same layout: ``<base>/<package>/<file>``. Bytes are used
only after their pinned checksum was compared.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, NoReturn, TypeVar, cast

from rich.console import Console
from rich.filesize import decimal

from rezbuild.catalogue.model import Archive, Release
from rezbuild.errors import ChecksumError, FetchError, MachineError
from rezbuild.files import locks, ownership, safe_files
from rezbuild.reporter import NOTICE, Event, Reporter
from rezbuild.settings import Settings
from rezbuild.sources import local_sources, locations, partial_file
from rezbuild.sources.debian_archive import SourceArchive
from rezbuild.sources.http_client import HttpClient
from rezbuild.sources.http_errors import DownloadError, host, public_address
from rezbuild.sources.locations import Location
from rezbuild.sources.partial_file import PartialFile
from rezbuild.util import tables
from rezbuild.util.terminal import printable

_T = TypeVar("_T")
_CACHE_ADVICE = "set REZBUILD_CACHE to a writable folder with enough space"
_ALTERED = (
    "do not use these bytes: upstream, a mirror or a proxy has changed the file",
    "compare the file with the checksum that upstream publishes; replace a wrong file in a mirror",
    "if upstream replaced the file on purpose, review it and change sha256 in sources.toml",
)


@dataclass(frozen=True)
class Fetched:
    """A verified archive.

    Attributes:
        path: The file.
        archive: Its pinned name, size and checksum.
        location: ``cache``, a mirror or URL without credentials, or the distribution's archive.
    """

    path: Path
    archive: Archive
    location: str


class Fetcher:
    """Fetch releases into the cache; do not ask again a host that did not answer.

    Args:
        settings: The cache, the mirrors and the limits.
        console: The destination of progress; default: standard error.
        reporter: Whether progress is shown; also gets an event while another process fetches.
        backoff: Seconds before the first retry; the wait doubles with each further retry.
    """

    def __init__(
        self,
        settings: Settings,
        console: Console | None = None,
        *,
        reporter: Reporter | None = None,
        backoff: float = 0.5,
    ) -> None:
        self._settings = settings
        self._reporter = reporter or Reporter()
        self._console = console or tables.console(stderr=True, quiet=self._reporter.quiet)
        self._base = settings.cache / "sources"
        self._http = HttpClient(settings, self._say, backoff)
        # Signatures have a few hundred bytes.
        self._small = HttpClient(replace(settings, max_size=1), self._say, backoff)
        self._distribution = SourceArchive(settings, self._say)

    def available(self, release: Release) -> bool:
        """Fetch a source, and return True.

        Raises:
            FetchError: No location has it; another version may be available.
            ChecksumError: The bytes are not the pinned ones; another version must not hide this.
        """
        self.fetch(release)
        return True

    def probe(self, release: Release) -> None:
        """Find a location that has a source, as `fetch` would; download no archive.

        Raises:
            FetchError: No location has it.
        """
        if local_sources.is_available(release, self._settings):
            return

        def ask(location: Location) -> bool:
            with tempfile.TemporaryFile() as file:
                part = PartialFile(cast(BinaryIO, file), location.archive)
                part.on_first(_stop)
                with contextlib.suppress(_FirstBytesError):
                    location.probe(part)
            return True

        tried: list[str] = []
        if not self._first(self._locations(release, self._http), tried, ask):
            raise self._not_found(release, tried)

    def offered(self, releases: Iterable[Release]) -> list[Release]:
        """Return those that are in the cache, a mirror folder, or the lists of the distribution.

        No archive is read or fetched.
        """
        return [
            release
            for release in releases
            if local_sources.is_available(release, self._settings) or self._is_listed(release)
        ]

    def _is_listed(self, release: Release) -> bool:
        if self._settings.offline:
            return False
        return any(
            archive.debian and self._distribution.lists(archive.debian, archive.sha256)
            for archive in release.archives
        )

    def fetch(self, release: Release) -> Fetched:
        """Return any archive of ``release``, from the cache or from the first working location.

        Raises:
            FetchError: No location has it.
            ChecksumError: A location gave other bytes than the pinned ones.
            MachineError: The cache cannot be read or written, or belongs to another user.
        """
        with _as_machine_error(f"the cache {self._settings.cache}", _CACHE_ADVICE):
            paths = [self._path(release, archive) for archive in release.archives]
            folders = {path.parent for path in paths}
            ownership.check(
                self._settings, [self._settings.cache, self._base, *sorted(folders), *paths]
            )
            found = self._cached(release)
            if found is None:
                with self._locked(release):
                    found = self._cached(release) or self._fetch(release)
        return found

    def mirror(self, release: Release, folder: Path) -> Fetched:
        """Fetch a release, and copy it to ``folder/<package>/<file>``, the layout of a mirror.

        Raises:
            FetchError: No location has it.
            ChecksumError: A location gave other bytes than the pinned ones.
            MachineError: The cache or ``folder`` cannot be written.
        """
        fetched = self.fetch(release)
        target = folder / release.home / fetched.archive.file
        advice = "name a writable folder with enough space"
        with _as_machine_error(f"the folder {folder}", advice):
            if not partial_file.is_complete(target, fetched.archive):
                partial_file.copy(fetched.path, target)
        self._say(f"  in {target}")
        return Fetched(target, fetched.archive, fetched.location)

    def unpinned(self, release: Release, suffix: str, folder: Path) -> Fetched:
        """Download upstream's archive before its checksum is known, or the archive's signature.

        Args:
            release: The release; its checksums are ignored.
            suffix: The suffix of the signature's file name, e.g. ``.asc``; "" for the archive.
            folder: The destination.

        Returns:
            The unverified file with its checksum and size.

        Raises:
            FetchError: No mirror and no address of upstream has it.
            MachineError: ``folder`` cannot be written.
        """
        archive = release.archives[0]
        file, urls = archive.file + suffix, tuple(url + suffix for url in archive.urls)
        wanted = replace(release, archives=(Archive(file, "", None, urls),))
        target = folder / file

        def take(location: Location) -> Fetched:
            self._say(f"fetch {file} from {location.name}")
            # Do not continue another server's download: no checksum tells whether the parts fit.
            target.unlink(missing_ok=True)
            with safe_files.resume(target) as opened:
                part = PartialFile(opened, location.archive)
                with part.progress_bar(self._console):
                    origin = location.get(part)
                found = replace(archive, file=file, sha256=part.sha256, size=part.size)
            return Fetched(target, found, origin)

        tried: list[str] = []
        with _as_machine_error(f"the folder {folder}", _CACHE_ADVICE):
            http = self._small if suffix else self._http
            found = self._first(self._locations(wanted, http), tried, take)
        if found is None:
            raise FetchError(f"{file} could not be downloaded", tried=tried)
        return found

    def keep(self, release: Release, path: Path) -> None:
        """Move a verified archive into the cache.

        Raises:
            MachineError: The cache cannot be written.
        """
        target = self._path(release, release.archives[0])
        place = f"the cache {self._settings.cache}"
        with _as_machine_error(place, _CACHE_ADVICE), self._locked(release):
            path.replace(target)

    def _say(self, text: str) -> None:
        self._console.print(
            printable(text), markup=False, highlight=False, emoji=False, soft_wrap=True
        )

    def _say_waiting(self, text: str) -> None:
        self._say(text)
        self._reporter.event(Event(NOTICE, text.strip()))

    def _path(self, release: Release, archive: Archive) -> Path:
        return self._base / release.home / archive.file

    def _locations(self, release: Release, http: HttpClient) -> Iterator[Location]:
        return locations.find(release, self._settings, http, self._distribution)

    def _cached(self, release: Release) -> Fetched | None:
        for archive in release.archives:
            path = self._path(release, archive)
            if partial_file.is_complete(path, archive):
                self._say(f"fetch {archive.file}: in the cache")
                return Fetched(path, archive, "cache")
        return None

    def _delete_damaged(self, release: Release) -> list[str]:
        """Delete files of the cache with wrong bytes; return a `tried` line for each archive."""
        tried = []
        for archive in release.archives:
            path = self._path(release, archive)
            if path.is_file():
                path.unlink()
                tried.append(f"cache: {path} was damaged; it is removed")
                self._say(f"  {tried[-1]}")
            else:
                tried.append(f"cache: no {path}")
        return tried

    @contextlib.contextmanager
    def _locked(self, release: Release) -> Iterator[None]:
        """Lock each archive of a release, in one order, so that no two processes deadlock."""
        with contextlib.ExitStack() as stack:
            for path in sorted({self._path(release, archive) for archive in release.archives}):
                path.parent.mkdir(parents=True, exist_ok=True)
                lock = path.with_name(f".{path.name}.lock")
                stack.enter_context(locks.open_lock(lock, self._say_waiting))
            yield

    def _fetch(self, release: Release) -> Fetched:
        tried = self._delete_damaged(release)
        candidates = self._locations(release, self._http)
        found = self._first(candidates, tried, lambda one: self._fetch_from(one, release))
        if found is None:
            raise self._not_found(release, tried)
        return found

    def _not_found(self, release: Release, tried: Sequence[str]) -> FetchError:
        return FetchError(
            f"the source archive of {release.name} {release.version} could not be downloaded",
            tried=tried,
            advice=tuple(self._advice(release)),
        )

    def _first(
        self, candidates: Iterable[Location], tried: list[str], take: Callable[[Location], _T]
    ) -> _T | None:
        """Return the result of the first working location; add the failures to ``tried``."""
        for location in candidates:
            if self._settings.offline and not location.local:
                tried.append(f"{location.name}: skipped: REZBUILD_OFFLINE is set")
                continue
            if location.url and self._http.is_unreachable(location.url):
                tried.append(f"{host(public_address(location.url))} did not answer before")
                continue
            try:
                return take(location)
            except DownloadError as error:
                tried.append(f"{location.name}: {error}")
                skipped = location.url and self._http.is_unreachable(location.url)
                where = host(public_address(location.url)) if skipped else location.name
                self._say(f"  {where}: {error}{'; it is not asked again' * bool(skipped)}")
        return None

    def _advice(self, release: Release) -> Iterator[str]:
        for archive in release.archives:
            yield (
                f"put {archive.file} with sha256 {archive.sha256} into a folder and set "
                f"REZBUILD_MIRRORS to it, or put it at {self._path(release, archive)}"
            )
        yield (
            "or run 'rezbuild fetch --to DIR' on a connected machine, "
            "copy DIR to this machine and set REZBUILD_MIRRORS=DIR"
        )
        if self._settings.offline:
            yield "or unset REZBUILD_OFFLINE"

    def _fetch_from(self, location: Location, release: Release) -> Fetched:
        archive = location.archive
        target = self._path(release, archive)
        size = "" if archive.size is None else f" ({decimal(archive.size)})"
        line = f"fetch {archive.file} from {location.name}{size}"
        if not location.url:
            self._say(line)
        started = time.monotonic()
        with partial_file.resume(target, archive) as part:
            if location.url:
                part.on_first(lambda: self._say(line))
            with part.progress_bar(self._console):
                origin = location.get(part)
            if not part.is_complete():
                raise _checksum_error(part, origin)
        self._say(f"  ok, {decimal(part.size)} in {time.monotonic() - started:.1f} s")
        return Fetched(target, archive, location.name)


class _FirstBytesError(Exception):
    """A location has sent bytes: not an error, but the end of a probe."""


def _stop() -> NoReturn:
    raise _FirstBytesError


def _checksum_error(part: PartialFile, origin: str) -> ChecksumError:
    archive = part.archive
    expected = f"sha256 {archive.sha256}"
    if archive.size is not None:
        expected += f", {archive.size} bytes"
    actual = f"sha256 {part.sha256}, {part.size} bytes"
    if part.too_long:
        actual = f"more than {archive.size} bytes"
    return ChecksumError(
        f"{archive.file} from {origin} is not the pinned file: expected {expected}; got {actual}",
        advice=_ALTERED,
    )


@contextlib.contextmanager
def _as_machine_error(place: str, advice: str) -> Iterator[None]:
    """Turn an OSError into a MachineError that names the place and has advice."""
    try:
        yield
    except OSError as error:
        at = f" ({error.filename})" if error.filename else ""
        raise MachineError(
            f"{place} cannot be used: {error.strerror or error}{at}", advice=[advice]
        ) from None
