"""Gets a source archive, verified, into the cache.

Routes in order: the cache, the mirrors, upstream's addresses, the distribution's source archive.
The cache and a mirror are laid out alike, ``<base>/<package>/<file>``. No byte is handed on before
its pinned sum has been checked.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import os
import re
import socket
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, urljoin, urlsplit, urlunsplit
from urllib.request import url2pathname

import requests
import urllib3
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from rezbuild.catalogue import Archive, Release
from rezbuild.debian import SourceArchive, one_at_a_time
from rezbuild.errors import ChecksumError, FetchError, MachineError
from rezbuild.settings import Settings

_BLOCK = 1 << 16
_LONGEST_WAIT = 30.0  # seconds, also where a server asks for more
_NO_LIMIT = float("inf")
_CACHE_ADVICE = "set REZBUILD_CACHE to a folder that can be written and has space"
_ALTERED = (
    "do not use these bytes: upstream, a mirror or a proxy on the way has changed them",
    "compare with the sum that upstream publishes; where a mirror holds a wrong file, replace it",
    "where upstream replaced the file on purpose, review it and change sha256 in sources.toml",
)
# A name that does not resolve rarely resolves a second later: one retry.
_NO_CONNECTION: tuple[tuple[type[Exception], str, float], ...] = (
    (requests.exceptions.ProxyError, "the proxy does not let it through", _NO_LIMIT),
    (socket.gaierror, "its host name does not resolve", 1),
    (ConnectionRefusedError, "it refuses connections", _NO_LIMIT),
    (requests.ConnectTimeout, "it does not answer", _NO_LIMIT),
    (urllib3.exceptions.NewConnectionError, "no connection to it is possible", _NO_LIMIT),
)


@dataclass(frozen=True)
class Fetched:
    """A verified archive.

    Attributes:
        route: ``cache``, the mirror or url (without credentials), or the distribution's archive.
    """

    path: Path
    archive: Archive
    route: str


@dataclass(frozen=True)
class _Route:
    """A way to an archive; ``get`` fills a part and names the exact place the bytes came from."""

    name: str
    archive: Archive
    get: Callable[[_Part], str]
    local: bool = False


class _RouteError(Exception):
    """A route does not lead there; the next one may.

    Args:
        reason: For the list of what was tried.
        missing: The server is well and has no such file.
    """

    def __init__(self, reason: str, *, missing: bool = False) -> None:
        super().__init__(reason)
        self.missing = missing


class _AgainError(Exception):
    """A failure that may pass.

    Args:
        reason: For the user.
        wait: Seconds that the server asks for.
        most: How many retries make sense at most.
        unreachable: The host itself did not answer.
    """

    def __init__(
        self,
        reason: str,
        *,
        wait: float | None = None,
        most: float = _NO_LIMIT,
        unreachable: bool = False,
    ) -> None:
        super().__init__(reason)
        self.wait, self.most, self.unreachable = wait, most, unreachable


class Fetcher:
    """Fetches releases into the cache of ``settings``; remembers hosts that do not answer.

    Args:
        console: Where progress goes; standard error by default.
        backoff: Seconds before the first retry; each further one waits twice as long.
    """

    def __init__(
        self, settings: Settings, console: Console | None = None, *, backoff: float = 0.5
    ) -> None:
        self._settings = settings
        self._console = console or Console(stderr=True)
        self._base = settings.cache / "sources"
        self._web = _Web(settings, self._say, backoff)
        self._distribution = SourceArchive(settings, self._say)

    def fetch(self, release: Release) -> Fetched:
        """Any of the archives of ``release``, from the cache or else by the first route that works.

        Raises:
            FetchError: No route gave it.
            ChecksumError: A route gave other bytes than the pinned ones.
            MachineError: The cache cannot be read or written.
        """
        tried: list[str] = []
        with _disk(f"the cache {self._settings.cache}", _CACHE_ADVICE):
            found = self._good_hit(release)
            if found is None:
                with self._locked(release):
                    self._drop_damaged(release, tried)
                    found = self._good_hit(release) or self._by_any_route(release, tried)
        return found

    def mirror(self, release: Release, folder: Path) -> Fetched:
        """Fetches, then copies to ``folder/<package>/<file>``, as a machine's mirror has it.

        Raises:
            FetchError: No route gave it.
            ChecksumError: A route gave other bytes than the pinned ones.
            MachineError: The cache or ``folder`` cannot be written.
        """
        fetched = self.fetch(release)
        target = folder / release.name / fetched.archive.file
        with _disk(f"the folder {folder}", "name a folder that can be written and has space"):
            if not _is_right(target, fetched.archive):
                _copy(fetched.path, target)
        self._say(f"  in {target}")
        return Fetched(target, fetched.archive, fetched.route)

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, emoji=False, soft_wrap=True)

    def _place(self, release: Release, archive: Archive) -> Path:
        return self._base / release.name / archive.file

    def _good_hit(self, release: Release) -> Fetched | None:
        for archive in release.archives:
            path = self._place(release, archive)
            if _is_right(path, archive):
                self._say(f"fetch {archive.file}: in the cache")
                return Fetched(path, archive, "cache")
        return None

    def _drop_damaged(self, release: Release, tried: list[str]) -> None:
        """Removes what the lock's last holder would not have left, and notes what is missing."""
        for archive in release.archives:
            path = self._place(release, archive)
            if not path.is_file():
                tried.append(f"cache: no {path}")
            elif not _is_right(path, archive):
                path.unlink()
                tried.append(f"cache: {path} was damaged; it is removed")
                self._say(f"  {tried[-1]}")

    @contextlib.contextmanager
    def _locked(self, release: Release) -> Iterator[None]:
        """One process at a time for each file, in one order so that none waits for the other."""
        with contextlib.ExitStack() as stack:
            for path in sorted({self._place(release, archive) for archive in release.archives}):
                path.parent.mkdir(parents=True, exist_ok=True)
                lock = path.with_name(f".{path.name}.lock")
                stack.enter_context(one_at_a_time(lock, self._say))
            yield

    def _by_any_route(self, release: Release, tried: list[str]) -> Fetched:
        for route in self._routes(release):
            if self._settings.offline and not route.local:
                tried.append(f"{route.name}: skipped: REZBUILD_OFFLINE is set")
                continue
            try:
                return self._by(route, release)
            except _RouteError as error:
                tried.append(f"{route.name}: {error}")
                self._say(f"  {error}")
        raise FetchError(
            f"no route gives the source archive of {release.name} {release.version}",
            tried=tried,
            advice=tuple(self._advice(release)),
        )

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

    def _routes(self, release: Release) -> Iterator[_Route]:
        for mirror in self._settings.mirrors:
            for archive in release.archives:
                yield self._mirror_route(mirror, release.name, archive)
        for archive in release.archives:
            for url in archive.urls:
                yield _Route(_public(url), archive, functools.partial(self._from_url, url))
        for archive in release.archives:
            if archive.debian is not None:
                yield _Route("Debian source archive", archive, self._from_distribution)

    def _mirror_route(self, mirror: str, package: str, archive: Archive) -> _Route:
        if mirror.startswith("file:"):
            folder = Path(url2pathname(urlsplit(mirror).path))
        elif "://" in mirror:
            get = functools.partial(self._from_mirror, mirror, package)
            return _Route(_public(mirror), archive, get)
        else:
            folder = Path(mirror).expanduser()
        get = functools.partial(_from_folder, folder, package)
        return _Route(str(folder), archive, get, local=True)

    def _by(self, route: _Route, release: Release) -> Fetched:
        archive = route.archive
        target = self._place(release, archive)
        size = "" if archive.size is None else f" ({decimal(archive.size)})"
        self._say(f"fetch {archive.file} from {route.name}{size}")
        begin = time.monotonic()
        with _part(target, archive) as part:
            with self._bar(part):
                source = route.get(part)
            if not part.is_right():
                raise _wrong(part, source)
        self._say(f"  ok, {decimal(part.size)} in {time.monotonic() - begin:.1f} s")
        return Fetched(target, archive, route.name)

    @contextlib.contextmanager
    def _bar(self, part: _Part) -> Iterator[None]:
        columns = (TextColumn("  "), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        hidden = not self._console.is_terminal
        with Progress(*columns, console=self._console, transient=True, disable=hidden) as bar:
            task = bar.add_task("", total=part.archive.size)
            part.watch = lambda size: bar.update(task, completed=size)
            yield

    def _from_url(self, url: str, part: _Part) -> str:
        self._web.get(url, part)
        return _public(url)

    def _from_mirror(self, mirror: str, package: str, part: _Part) -> str:
        file = part.archive.file
        try:
            return self._from_url(_below(mirror, package, file), part)
        except _RouteError as error:
            if not error.missing:
                raise
        return self._from_url(_below(mirror, file), part)

    def _from_distribution(self, part: _Part) -> str:
        wanted = part.archive.debian
        if wanted is None:
            raise _RouteError("the catalogue names no file of it")
        self._settings.cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="apt-", dir=self._settings.cache) as folder:
            try:
                path = self._distribution.fetch(wanted, part.archive.sha256, Path(folder))
            except FetchError as error:
                raise _RouteError(error.message) from None
            part.copy(path)
        return f"the Debian source archive ({wanted.source})"


class _Part:
    """The bytes that are here so far, with their number and sum.

    Attributes:
        file: Open for reading and appending; may hold what a killed process left.
        watch: Told the number of bytes whenever it has grown.
        validator: What the server calls this state of the file (RFC 9110, If-Range), or empty.
        resumed: Some bytes came from an earlier answer than the last.
        overlong: More bytes came than the pinned size; they are not kept.
    """

    def __init__(self, file: BinaryIO, archive: Archive) -> None:
        self.file, self.archive = file, archive
        self.watch: Callable[[int], object] = _nobody_watches
        self.validator = ""
        self.resumed = False
        self._zero()
        file.seek(0)
        for block in iter(lambda: file.read(_BLOCK), b""):
            self._count(block)
        if archive.size is not None and self.size >= archive.size and not self.is_right():
            self.restart()

    def _zero(self) -> None:
        self.size = 0
        self.overlong = False
        self._sum = hashlib.sha256()

    def _count(self, block: bytes) -> None:
        self.size += len(block)
        self._sum.update(block)

    @property
    def sha256(self) -> str:
        return self._sum.hexdigest()

    def is_right(self) -> bool:
        return not self.overlong and _matches(self.archive, self.sha256, self.size)

    def restart(self) -> None:
        """Throws all bytes away."""
        self.file.truncate(0)
        self._zero()
        self.resumed = False

    def add(self, block: bytes) -> None:
        if self.archive.size is not None and self.size + len(block) > self.archive.size:
            self.overlong = True
            return
        self.file.write(block)
        self._count(block)
        self.watch(self.size)

    def copy(self, path: Path) -> None:
        """Takes all bytes from a local file.

        Raises:
            _RouteError: It cannot be read.
        """
        self.restart()
        for block in _blocks(path):
            self.add(block)
            if self.overlong:
                return


class _Web:
    """HTTP with resumption and retries.

    Args:
        say: Prints one line for the user.
        backoff: Seconds before the first retry.
    """

    def __init__(self, settings: Settings, say: Callable[[str], None], backoff: float) -> None:
        self._timeout = (settings.connect_timeout, settings.silence_timeout)
        self._retries = settings.retries
        self._say = say
        self._backoff = backoff
        self._unreachable: set[str] = set()

    def get(self, url: str, part: _Part) -> None:
        """Fills ``part`` with a complete body, which may still be a wrong one.

        Raises:
            _RouteError: The server does not give one.
        """
        if part.is_right():
            return
        part.validator = ""  # another server's says nothing to this one
        self._persist(url, part)
        if part.resumed and not part.is_right():
            self._say("  the parts do not fit together: again from the start")
            part.restart()
            self._persist(url, part)

    def _persist(self, url: str, part: _Part) -> None:
        host = _host(url)
        if host in self._unreachable:
            raise _RouteError(f"{host} did not answer before")
        for attempt in itertools.count():
            error = self._attempt(url, part)
            if error is None:
                return
            if attempt >= min(self._retries, error.most):
                self._unreachable |= {host} if error.unreachable else set()
                times = f" ({attempt + 1} times)" if attempt else ""
                raise _RouteError(f"{error}{times}")
            wait = self._backoff * 2**attempt if error.wait is None else error.wait
            wait = min(wait, _LONGEST_WAIT)
            self._say(f"  {error}; again in {wait:.1f} s")
            time.sleep(wait)

    def _attempt(self, url: str, part: _Part) -> _AgainError | None:
        try:
            with _Session() as session:
                self._transfer(session, url, part)
        except _AgainError as error:
            return error
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            return _diagnosis(error)
        return None

    def _transfer(self, session: requests.Session, url: str, part: _Part) -> None:
        with self._request(session, url, part) as response:
            fits = not part.size or _continues(response, part.size)
            if fits:
                _receive(response, part)
        if not fits:
            part.restart()
            with self._request(session, url, part) as response:
                _receive(response, part)

    def _request(self, session: requests.Session, url: str, part: _Part) -> requests.Response:
        # The sum is over the archive's bytes: no server may pack them once more.
        headers = {"Accept-Encoding": "identity"}
        if part.size:
            headers["Range"] = f"bytes={part.size}-"
            if part.validator:
                headers["If-Range"] = part.validator
        return session.get(url, headers=headers, stream=True, timeout=self._timeout)


class _Session(requests.Session):
    """Follows redirects, but not from https to anything else."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        target = super().get_redirect_target(resp)
        if target is not None:
            there = urljoin(resp.url, target)
            scheme = urlsplit(there).scheme
            if scheme != "https" and (scheme != "http" or resp.url.startswith("https:")):
                resp.close()
                raise _RouteError(f"it redirects to {_public(there)}, which is refused")
        return target


def _nobody_watches(_size: int) -> None:
    """Stands in for a progress bar."""


def _receive(response: requests.Response, part: _Part) -> None:
    """Streams the answer's body to the end of ``part``; a whole one replaces what is there."""
    _check_status(response)
    if response.status_code == requests.codes.ok:
        part.restart()
    elif not part.size:
        raise _RouteError("it answered a piece that was not asked for")
    else:
        part.resumed = True
    part.validator = _validator(response)
    end = _announced_end(response, part)
    for block in response.raw.stream(_BLOCK, decode_content=False):
        part.add(block)
        if part.overlong:
            return
    if end is not None and part.size < end:
        raise _AgainError(f"the transfer broke off after {part.size} of {end} bytes")


def _check_status(response: requests.Response) -> None:
    status = response.status_code
    if status == requests.codes.too_many_requests or status >= requests.codes.server_error:
        raise _AgainError(f"it answered {status} {response.reason}", wait=_retry_after(response))
    if status not in (requests.codes.ok, requests.codes.partial_content):
        missing = requests.codes.bad_request <= status
        raise _RouteError(f"it answered {status} {response.reason}", missing=missing)
    if response.headers.get("Content-Type", "").lower().startswith("text/html"):
        raise _RouteError("it answered a web page, not an archive: a captive portal or proxy?")


def _continues(response: requests.Response, size: int) -> bool:
    """Whether an answer to a Range request can be used: all of it, or what comes after ``size``."""
    if response.status_code == requests.codes.requested_range_not_satisfiable:
        return False
    if response.status_code != requests.codes.partial_content:
        return True
    return response.headers.get("Content-Range", "").startswith(f"bytes {size}-")


def _announced_end(response: requests.Response, part: _Part) -> int | None:
    """The number of bytes after this answer, as far as its framing tells (RFC 9112, 6)."""
    total = re.search(r"/(\d+)$", response.headers.get("Content-Range", ""))
    if total:
        return int(total[1])
    length = response.headers.get("Content-Length", "")
    if length.isdecimal():
        return part.size + int(length)
    if "chunked" in response.headers.get("Transfer-Encoding", "").lower():
        return None
    return part.archive.size  # ended by the connection's end: a cut looks the same


def _validator(response: requests.Response) -> str:
    """What If-Range may carry: a strong ETag, else the date (RFC 9110, 13.1.5)."""
    tag = response.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified", "")


def _retry_after(response: requests.Response) -> float | None:
    value = response.headers.get("Retry-After")
    try:
        return None if value is None else urllib3.Retry().parse_retry_after(value)
    except urllib3.exceptions.InvalidHeader:
        return None


def _diagnosis(error: BaseException) -> _AgainError:
    """The failure in words of our own: those of requests may hold an address with credentials.

    Raises:
        _RouteError: Trying again would change nothing.
    """
    causes = tuple(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise _RouteError(f"its certificate is not trusted: {cause.verify_message}")
    if isinstance(error, (ValueError, requests.TooManyRedirects)):
        raise _RouteError(f"it cannot be used ({type(error).__name__})")
    for kind, reason, most in _NO_CONNECTION:
        if any(isinstance(cause, kind) for cause in causes):
            return _AgainError(reason, most=most, unreachable=True)
    silent = (requests.Timeout, urllib3.exceptions.TimeoutError)
    if any(isinstance(cause, silent) for cause in causes):
        return _AgainError("it fell silent")
    return _AgainError("the connection broke off")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _from_folder(folder: Path, package: str, part: _Part) -> str:
    file = part.archive.file
    for path in (folder / package / file, folder / file):
        try:
            there = path.is_file()
        except OSError as error:
            raise _RouteError(f"{path} cannot be read: {error.strerror}") from None
        if there:
            part.copy(path)
            return str(path)
    raise _RouteError(f"it has no {file}")


def _blocks(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            yield from iter(lambda: file.read(_BLOCK), b"")
    except OSError as error:
        raise _RouteError(f"{path} cannot be read: {error.strerror}") from None


@contextlib.contextmanager
def _part(target: Path, archive: Archive) -> Iterator[_Part]:
    """Bytes that become ``target`` at the end of the block.

    What a failed transfer leaves is kept for the next one, except bytes that are known to be wrong.
    """
    path = target.with_name(f"{target.name}.part")
    try:
        with path.open("a+b") as file:
            part = _Part(file, archive)
            yield part
            _flush(file)
        path.replace(target)
    except ChecksumError:
        path.unlink()
        raise
    except _RouteError:
        if not path.stat().st_size:
            path.unlink()
        raise


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    path = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with path.open("wb") as file, source.open("rb") as original:
            for block in iter(lambda: original.read(_BLOCK), b""):
                file.write(block)
            _flush(file)
        path.replace(target)
    finally:
        path.unlink(missing_ok=True)


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _is_right(path: Path, archive: Archive) -> bool:
    """Whether the file is there and holds the pinned bytes; they are read each time."""
    if not path.is_file():
        return False
    total, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        for block in iter(lambda: file.read(_BLOCK), b""):
            total.update(block)
            size += len(block)
    return _matches(archive, total.hexdigest(), size)


def _matches(archive: Archive, sha256: str, size: int) -> bool:
    return sha256 == archive.sha256 and archive.size in (None, size)


def _wrong(part: _Part, source: str) -> ChecksumError:
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


def _public(url: str) -> str:
    """The address without user, password and query, which may be secret."""
    try:
        scheme, _, path, _, _ = urlsplit(url)
        return urlunsplit((scheme, _host(url), path, "", ""))
    except ValueError:
        return f"{url.partition(':')[0]}://… (no valid address)"


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]


def _below(base: str, *names: str) -> str:
    """The address of a file below ``base``, whose query is kept: it may be a token."""
    try:
        parts = urlsplit(base)
    except ValueError:
        raise _RouteError("this is no valid address") from None
    path = "/".join([parts.path.rstrip("/"), *map(quote, names)])
    return urlunsplit(parts._replace(path=path, fragment=""))
