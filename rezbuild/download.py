"""Downloads over HTTP that outlive cuts, silence and busy servers.

The bytes go into a `Part`, which counts and sums them; its owner asks in the end whether they are
the pinned ones.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urljoin, urlsplit, urlunsplit

import requests
import urllib3
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from rezbuild.catalogue import Archive
from rezbuild.settings import Settings

_BLOCK = 1 << 16
_LONGEST_WAIT = 30.0  # seconds, also where a server asks for more
_NO_LIMIT = float("inf")
# A name that does not resolve rarely resolves a second later: one retry.
_NO_CONNECTION: tuple[tuple[type[Exception], str, float], ...] = (
    (requests.exceptions.ProxyError, "the proxy does not let it through", _NO_LIMIT),
    (socket.gaierror, "its host name does not resolve", 1),
    (ConnectionRefusedError, "it refuses connections", _NO_LIMIT),
    (requests.ConnectTimeout, "it does not answer", _NO_LIMIT),
    (urllib3.exceptions.NewConnectionError, "no connection to it is possible", _NO_LIMIT),
)


class RouteError(Exception):
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


class Part:
    """The bytes that are here so far, with their number and sum.

    Attributes:
        file: Open for reading and appending; may hold what a killed process left.
        size: The number of bytes.
        validator: What the server calls this state of the file (RFC 9110, If-Range), or empty.
        resumed: Some bytes came from an earlier answer than the last.
    """

    def __init__(self, file: BinaryIO, archive: Archive) -> None:
        self.file, self.archive = file, archive
        self.validator = ""
        self.resumed = False
        self.size, self._sum = 0, hashlib.sha256()
        self._watch: Callable[[int], object] = lambda _size: None
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
    def overlong(self) -> bool:
        """Whether these are more bytes than the pinned size; there is no use in any more."""
        return self.archive.size is not None and self.size > self.archive.size

    def is_right(self) -> bool:
        """Whether these are the pinned bytes."""
        return self.sha256 == self.archive.sha256 and self.archive.size in (None, self.size)

    def restart(self) -> None:
        """Throws all bytes away."""
        self.file.truncate(0)
        self.size, self._sum = 0, hashlib.sha256()
        self.resumed = False

    def add(self, block: bytes) -> None:
        self.file.write(block)
        self._count(block)
        self._watch(self.size)

    def copy(self, path: Path) -> None:
        """Takes all bytes from a local file.

        Raises:
            RouteError: It cannot be read.
        """
        self.restart()
        for block in _blocks(path):
            self.add(block)
            if self.overlong:
                return

    @contextlib.contextmanager
    def shown(self, console: Console) -> Iterator[None]:
        """Draws a bar that grows with the bytes, where ``console`` is a terminal."""
        columns = (TextColumn("  "), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        hidden = not console.is_terminal
        with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
            task = bar.add_task("", total=self.archive.size)
            self._watch = lambda size: bar.update(task, completed=size)
            yield


class Web:
    """HTTP with resumption and retries; remembers hosts that do not answer.

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

    def get(self, url: str, part: Part) -> str:
        """Fills ``part`` with a complete body, which may still be a wrong one.

        Returns:
            The address, fit to be shown.

        Raises:
            RouteError: The server does not give one.
        """
        if not part.is_right():
            part.validator = ""  # another server's says nothing to this one
            self._persist(url, part)
        if part.resumed and not part.is_right():
            self._say("  the parts do not fit together: again from the start")
            part.restart()
            self._persist(url, part)
        return public_address(url)

    def _persist(self, url: str, part: Part) -> None:
        host = _host(url)
        if host in self._unreachable:
            raise RouteError(f"{host} did not answer before")
        for attempt in itertools.count():
            error = self._attempt(url, part)
            if error is None:
                return
            if attempt >= min(self._retries, error.most):
                self._unreachable |= {host} if error.unreachable else set()
                times = f" ({attempt + 1} times)" if attempt else ""
                raise RouteError(f"{error}{times}")
            wait = self._backoff * 2**attempt if error.wait is None else error.wait
            wait = min(wait, _LONGEST_WAIT)
            self._say(f"  {error}; again in {wait:.1f} s")
            time.sleep(wait)

    def _attempt(self, url: str, part: Part) -> _AgainError | None:
        try:
            with _Session() as session:
                self._transfer(session, url, part)
        except _AgainError as error:
            return error
        except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
            # A ValueError is an address in a redirect that cannot be read (urllib.parse).
            return _diagnosis(error)
        return None

    def _transfer(self, session: requests.Session, url: str, part: Part) -> None:
        with self._request(session, url, part) as response:
            fits = not part.size or _continues(response, part.size)
            if fits:
                _receive(response, part)
        if not fits:
            part.restart()
            with self._request(session, url, part) as response:
                _receive(response, part)

    def _request(self, session: requests.Session, url: str, part: Part) -> requests.Response:
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
                raise RouteError(f"it redirects to {public_address(there)}, which is refused")
        return target


def _receive(response: requests.Response, part: Part) -> None:
    """Streams the answer's body to the end of ``part``; a whole one replaces what is there."""
    _check_status(response)
    if response.status_code == requests.codes.ok:
        part.restart()
    elif not part.size:
        raise RouteError("it answered a piece that was not asked for")
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
        raise RouteError(f"it answered {status} {response.reason}", missing=missing)
    if response.headers.get("Content-Type", "").lower().startswith("text/html"):
        raise RouteError("it answered a web page, not an archive: a captive portal or proxy?")


def _continues(response: requests.Response, size: int) -> bool:
    """Whether an answer to a Range request can be used: all of it, or what comes after ``size``."""
    if response.status_code == requests.codes.requested_range_not_satisfiable:
        return False
    if response.status_code != requests.codes.partial_content:
        return True
    return response.headers.get("Content-Range", "").startswith(f"bytes {size}-")


def _announced_end(response: requests.Response, part: Part) -> int | None:
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
        RouteError: Trying again would change nothing.
    """
    causes = tuple(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise RouteError(f"its certificate is not trusted: {cause.verify_message}")
    if isinstance(error, (ValueError, requests.TooManyRedirects)):
        raise RouteError(f"it cannot be used ({type(error).__name__})")
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


def _blocks(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            yield from iter(lambda: file.read(_BLOCK), b"")
    except OSError as error:
        raise RouteError(f"{path} cannot be read: {error.strerror}") from None


def public_address(url: str) -> str:
    """The address without user, password and query, which may be secret."""
    try:
        scheme, _, path, _, _ = urlsplit(url)
        return urlunsplit((scheme, _host(url), path, "", ""))
    except ValueError:
        return f"{url.partition(':')[0]}://… (no valid address)"


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]
