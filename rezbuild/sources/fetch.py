"""Gets a source archive, verified, into the cache.

Routes in order: the cache, the mirrors, upstream's addresses, the distribution's source archive.
The cache and a mirror are laid out alike, ``<base>/<package>/<file>``. No byte is handed on before
its pinned sum has been checked.
"""

from __future__ import annotations

import contextlib
import functools
import glob
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, urlsplit, urlunsplit

from rich.console import Console
from rich.filesize import decimal

from rezbuild.catalogue.sources_toml import Archive, DistributionFile, Release
from rezbuild.errors import ChecksumError, FetchError, MachineError
from rezbuild.files import locks, ownership, safe_files
from rezbuild.reporter import NOTICE, Event, Reporter
from rezbuild.settings import Settings
from rezbuild.sources import local_sources
from rezbuild.sources.debian_archive import SourceArchive, one_at_a_time
from rezbuild.sources.http_client import HttpClient, PartialFile
from rezbuild.sources.http_errors import DownloadError, host, public_address
from rezbuild.util.terminal import printable

_DAY = 24 * 3600  # seconds
_CACHE_ADVICE = "set REZBUILD_CACHE to a folder that can be written and has space"
_ALTERED = (
    "do not use these bytes: upstream, a mirror or a proxy on the way has changed them",
    "compare with the sum that upstream publishes; where a mirror holds a wrong file, replace it",
    "where upstream replaced the file on purpose, review it and change sha256 in sources.toml",
)


@dataclass(frozen=True)
class Fetched:
    """A verified archive.

    Attributes:
        location: ``cache``, the mirror or URL (without credentials), or the distribution's archive.
    """

    path: Path
    archive: Archive
    location: str


@dataclass(frozen=True)
class _Route:
    """A way to an archive; ``get`` fills a part and names the exact place the bytes came from."""

    name: str
    archive: Archive
    get: Callable[[PartialFile], str]
    local: bool = False
    url: str = ""


class Fetcher:
    """Fetches releases into the cache of ``settings``; remembers hosts that do not answer.

    Args:
        console: Where progress goes; standard error by default.
        reporter: Says whether progress is shown, and is told when another process is waited for.
        backoff: Seconds before the first retry; each further one waits twice as long.
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
        self._console = console or Console(stderr=True, quiet=self._reporter.quiet)
        self._base = settings.cache / "sources"
        self._web = HttpClient(settings, self._say, backoff)
        # For signatures, which have a few hundred bytes.
        self._small = HttpClient(replace(settings, max_size=1), self._say, backoff)
        self._distribution = SourceArchive(settings, self._say)

    def available(self, release: Release) -> bool:
        """Fetch a source, and return True.

        Raises:
            FetchError: No route gives it; another version may do.
            ChecksumError: It is not the pinned one; no other version makes up for that.
        """
        self.fetch(release)
        return True

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
        """Any of the archives of ``release``, from the cache or else by the first route that works.

        Raises:
            FetchError: No route gave it.
            ChecksumError: A route gave other bytes than the pinned ones.
            MachineError: The cache cannot be read or written, or is another user's.
        """
        with _disk(f"the cache {self._settings.cache}", _CACHE_ADVICE):
            places = [self._place(release, archive) for archive in release.archives]
            folders = {place.parent for place in places}
            ownership.check(
                self._settings, [self._settings.cache, self._base, *sorted(folders), *places]
            )
            found = self._good_hit(release)
            if found is None:
                with self._locked(release):
                    found = self._good_hit(release) or self._by_any_route(release)
        return found

    def mirror(self, release: Release, folder: Path) -> Fetched:
        """Fetches, then copies to ``folder/<package>/<file>``, as a machine's mirror has it.

        Raises:
            FetchError: No route gave it.
            ChecksumError: A route gave other bytes than the pinned ones.
            MachineError: The cache or ``folder`` cannot be written.
        """
        fetched = self.fetch(release)
        target = folder / release.home / fetched.archive.file
        with _disk(f"the folder {folder}", "name a folder that can be written and has space"):
            if not _is_right(target, fetched.archive):
                _copy(fetched.path, target)
        self._say(f"  in {target}")
        return Fetched(target, fetched.archive, fetched.location)

    def unpinned(self, release: Release, suffix: str, folder: Path) -> Fetched:
        """Upstream's archive of a release whose sum is not known yet, or its signature.

        Args:
            release: Says where; its sums are not looked at.
            suffix: What the signature's name has after the archive's; empty for the archive.
            folder: Where the file is put.

        Returns:
            The file with its sum and size: nothing has been verified.

        Raises:
            FetchError: No mirror and no address of upstream's gave it.
            MachineError: ``folder`` cannot be written.
        """
        archive = release.archives[0]
        file, urls = archive.file + suffix, tuple(url + suffix for url in archive.urls)
        wanted = replace(release, archives=(Archive(file, "", None, urls),))
        target = folder / file

        def take(route: _Route) -> Fetched:
            self._say(f"fetch {file} from {route.name}")
            # What another server has left is of no use: no sum says whether it fits.
            target.unlink(missing_ok=True)
            with safe_files.resume(target) as opened:
                part = PartialFile(opened, route.archive)
                with part.shown(self._console):
                    source = route.get(part)
                found = replace(archive, file=file, sha256=part.sha256, size=part.size)
            return Fetched(target, found, source)

        tried: list[str] = []
        with _disk(f"the folder {folder}", _CACHE_ADVICE):
            web = self._small if suffix else self._web
            found = self._first(self._routes(wanted, web), tried, take)
        if found is None:
            raise FetchError(f"no route gives {file}", tried=tried)
        return found

    def keep(self, release: Release, path: Path) -> None:
        """Moves an archive that is verified to its place in the cache.

        Raises:
            MachineError: The cache cannot be written.
        """
        place = self._place(release, release.archives[0])
        with _disk(f"the cache {self._settings.cache}", _CACHE_ADVICE), self._locked(release):
            path.replace(place)

    def _say(self, text: str) -> None:
        self._console.print(
            printable(text), markup=False, highlight=False, emoji=False, soft_wrap=True
        )

    def _wait(self, text: str) -> None:
        self._say(text)
        self._reporter.event(Event(NOTICE, text.strip()))

    def _place(self, release: Release, archive: Archive) -> Path:
        return self._base / release.home / archive.file

    def _good_hit(self, release: Release) -> Fetched | None:
        for archive in release.archives:
            path = self._place(release, archive)
            if _is_right(path, archive):
                self._say(f"fetch {archive.file}: in the cache")
                return Fetched(path, archive, "cache")
        return None

    def _drop_damaged(self, release: Release) -> list[str]:
        """Removes what is there though it is no good hit; says of each place what was wrong."""
        found = []
        for archive in release.archives:
            path = self._place(release, archive)
            if path.is_file():
                path.unlink()
                found.append(f"cache: {path} was damaged; it is removed")
                self._say(f"  {found[-1]}")
            else:
                found.append(f"cache: no {path}")
        return found

    @contextlib.contextmanager
    def _locked(self, release: Release) -> Iterator[None]:
        """One process at a time for each file, in one order so that none waits for the other."""
        with contextlib.ExitStack() as stack:
            for path in sorted({self._place(release, archive) for archive in release.archives}):
                path.parent.mkdir(parents=True, exist_ok=True)
                lock = path.with_name(f".{path.name}.lock")
                stack.enter_context(one_at_a_time(lock, self._wait))
            yield

    def _by_any_route(self, release: Release) -> Fetched:
        tried = self._drop_damaged(release)
        routes = self._routes(release, self._web)
        found = self._first(routes, tried, lambda route: self._by(route, release))
        if found is not None:
            return found
        raise FetchError(
            f"no route gives the source archive of {release.name} {release.version}",
            tried=tried,
            advice=tuple(self._advice(release)),
        )

    def _first(
        self, routes: Iterable[_Route], tried: list[str], take: Callable[[_Route], Fetched]
    ) -> Fetched | None:
        """What the first route gives that works; ``tried`` gets why the others do not."""
        for route in routes:
            if self._settings.offline and not route.local:
                tried.append(f"{route.name}: skipped: REZBUILD_OFFLINE is set")
                continue
            if route.url and self._web.is_dead(route.url):
                tried.append(f"{host(public_address(route.url))} did not answer before")
                continue
            try:
                return take(route)
            except DownloadError as error:
                tried.append(f"{route.name}: {error}")
                dead = route.url and self._web.is_dead(route.url)
                where = host(public_address(route.url)) if dead else route.name
                self._say(f"  {where}: {error}{'; it is not asked again' * bool(dead)}")
        return None

    def _advice(self, release: Release) -> Iterator[str]:
        for archive in release.archives:
            yield (
                f"put {archive.file} with sha256 {archive.sha256} into a folder and set "
                f"REZBUILD_MIRRORS to it, or put it at {self._place(release, archive)}"
            )
        yield (
            "or run 'rezbuild fetch --to DIR' on a connected machine, "
            "carry DIR here and set REZBUILD_MIRRORS=DIR"
        )
        if self._settings.offline:
            yield "or unset REZBUILD_OFFLINE"

    def _routes(self, release: Release, web: HttpClient) -> Iterator[_Route]:
        for mirror in self._settings.mirrors:
            for archive in release.archives:
                yield self._mirror_route(mirror, release.home, archive, web)
        for archive in release.archives:
            for url in archive.urls:
                get = functools.partial(web.get, url)
                yield _Route(public_address(url), archive, get, url=url)
        for archive in release.archives:
            if archive.debian is not None:
                get = functools.partial(self._from_distribution, archive.debian)
                yield _Route("Debian source archive", archive, get)

    def _mirror_route(self, mirror: str, package: str, archive: Archive, web: HttpClient) -> _Route:
        folder = local_sources.mirror_folder(mirror)
        if folder is None:
            get = functools.partial(_from_mirror, web, mirror, package)
            return _Route(public_address(mirror), archive, get, url=mirror)
        get = functools.partial(_from_folder, folder, package)
        return _Route(str(folder), archive, get, local=True)

    def _by(self, route: _Route, release: Release) -> Fetched:
        archive = route.archive
        target = self._place(release, archive)
        size = "" if archive.size is None else f" ({decimal(archive.size)})"
        line = f"fetch {archive.file} from {route.name}{size}"
        if not route.url:
            self._say(line)
        begin = time.monotonic()
        with _part(target, archive) as part:
            if route.url:
                part.at_first(lambda: self._say(line))
            with part.shown(self._console):
                source = route.get(part)
            if not part.is_right():
                raise _wrong(part, source)
        self._say(f"  ok, {decimal(part.size)} in {time.monotonic() - begin:.1f} s")
        return Fetched(target, archive, route.name)

    def _from_distribution(self, wanted: DistributionFile, part: PartialFile) -> str:
        # One name, under the archive's lock: what a killed process left is removed here.
        folder = self._settings.cache / f"apt-{part.archive.sha256[:16]}{_owner(self._base)}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        try:
            path = self._distribution.fetch(wanted, part.archive.sha256, folder)
            part.copy(path)
        except FetchError as error:
            raise DownloadError(error.message) from None
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return f"the Debian source archive ({wanted.source})"


def _from_mirror(web: HttpClient, mirror: str, package: str, part: PartialFile) -> str:
    file = part.archive.file
    try:
        return web.get(below(mirror, package, file), part)
    except DownloadError as error:
        if not error.missing:
            raise
    return web.get(below(mirror, file), part)


def _from_folder(folder: Path, package: str, part: PartialFile) -> str:
    file = part.archive.file
    for path in (folder / package / file, folder / file):
        try:
            there = path.is_file()
        except OSError as error:
            raise DownloadError(f"{path} cannot be read: {error.strerror}") from None
        if there:
            part.copy(path)
            return str(path)
    raise DownloadError(f"it has no {file}")


@contextlib.contextmanager
def _part(target: Path, archive: Archive) -> Iterator[PartialFile]:
    """Bytes that become ``target`` at the end of the block.

    What a failed transfer leaves is kept for the next one, except bytes that are known to be wrong.
    """
    path = target.with_name(f"{target.name}{_owner(target.parent)}.part")
    try:
        with safe_files.resume(path) as file:
            part = PartialFile(file, archive)
            if archive.size is not None and part.size >= archive.size and not part.is_right():
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


def _owner(folder: Path) -> str:
    """What keeps the parts of hosts apart that cannot wait for each other; mostly ""."""
    return f".{platform.node()}-{os.getuid()}" if locks.without(folder) else ""


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    _sweep(target)
    path = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with safe_files.create(path) as file, source.open("rb") as original:
            shutil.copyfileobj(original, file)
            _flush(file)
        path.replace(target)
    finally:
        path.unlink(missing_ok=True)


def _sweep(target: Path) -> None:
    """Removes what copies have left that were killed a day ago, or earlier."""
    for left in target.parent.glob(f".{glob.escape(target.name)}.*.part"):
        with contextlib.suppress(OSError):
            if abs(time.time() - left.stat().st_mtime) > _DAY:
                left.unlink()


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _is_right(path: Path, archive: Archive) -> bool:
    """Whether the file is there and holds the pinned bytes; they are read each time."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return PartialFile(file, archive).is_right()


def _wrong(part: PartialFile, source: str) -> ChecksumError:
    archive = part.archive
    expected = f"sha256 {archive.sha256}"
    if archive.size is not None:
        expected += f", {archive.size} bytes"
    actual = f"sha256 {part.sha256}, {part.size} bytes"
    if part.overlong:
        actual = f"more than {archive.size} bytes"
    return ChecksumError(
        f"{archive.file} from {source} is not the pinned file: expected {expected}; got {actual}",
        advice=_ALTERED,
    )


@contextlib.contextmanager
def _disk(what: str, advice: str) -> Iterator[None]:
    """Turns a failure of the file system into an error that says what to do."""
    try:
        yield
    except OSError as error:
        at = f" ({error.filename})" if error.filename else ""
        raise MachineError(
            f"{what} cannot be used: {error.strerror or error}{at}", advice=[advice]
        ) from None


def below(base: str, *names: str) -> str:
    """The address of a file below ``base``, whose query is kept: it may be a token.

    Raises:
        DownloadError: ``base`` is no address.
    """
    try:
        parts = urlsplit(base)
    except ValueError:
        raise DownloadError("this is no valid address") from None
    path = "/".join([parts.path.rstrip("/"), *map(quote, names)])
    return urlunsplit(parts._replace(path=path, fragment=""))
