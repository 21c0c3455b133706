"""Downloads over HTTP that outlive cuts, silence and busy servers.

The bytes go into a `PartialFile`, which counts and sums them; its owner checks the pinned sum.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import logging
import re
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import BinaryIO, Union, cast
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from rezbuild.catalogue.sources_toml import Archive
from rezbuild.settings import Settings
from rezbuild.sources.http_errors import (
    PROXY_NAME,
    DownloadError,
    RetryableError,
    diagnosis,
    host,
    phrase,
    public_address,
)
from rezbuild.util.timed_iterator import TimedIterator

# Its records hold addresses with their queries, and traces; Rez may have handlers for all records
# (REZ_LOGGING_CONF).
logging.getLogger("urllib3").propagate = False

_BLOCK = 1 << 16
_LONGEST_WAIT = 30.0  # seconds, also where a server asks for more
_DOUBLINGS = 10  # of the wait between two attempts
_NUMBER = re.compile(r"[0-9]{1,18}")  # Python refuses to read thousands of digits
_MARKUP = re.compile(rb"\s*<(!doctype|html|head|body|\?xml)\b", re.IGNORECASE)
_PORTAL = "it answered a web page, not an archive: a captive portal or proxy?"


class _WebError(Exception):
    """Whatever a library has to say of a server; its words may hold an address with credentials."""


# A response, and then the blocks of its body.
_Answer = TimedIterator[Union[requests.Response, bytes]]


class PartialFile:
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
        self._first: Callable[[], object] = lambda: None
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

    def at_first(self, call: Callable[[], object]) -> None:
        """Call this once, when bytes arrive."""
        self._first = call

    def add(self, block: bytes) -> None:
        first, self._first = self._first, lambda: None
        first()
        self.file.write(block)
        self._count(block)
        self._watch(self.size)

    def copy(self, path: Path) -> None:
        """Takes all bytes from a local file.

        Raises:
            DownloadError: It cannot be read.
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


class HttpClient:
    """HTTP with resumption and retries; remembers hosts that do not answer.

    Args:
        say: Prints one line for the user.
        backoff: Seconds before the first retry.
        pages: HttpClient pages are what is asked for; else they are taken for a portal's.
    """

    def __init__(
        self,
        settings: Settings,
        say: Callable[[str], None],
        backoff: float,
        *,
        pages: bool = False,
    ) -> None:
        self._timeout = (settings.connect_timeout, settings.read_timeout)
        self._speed = settings.min_speed
        self._most = settings.max_size * 10**6
        self._retries = settings.retries
        self._say = say
        self._backoff = backoff
        self._pages = pages
        self._unreachable: set[str] = set()

    def is_dead(self, url: str) -> bool:
        """Whether the host of an address did not answer before."""
        with contextlib.suppress(ValueError):  # no valid address: no host
            return host(url) in self._unreachable
        return False

    def get(self, url: str, part: PartialFile) -> str:
        """Fills ``part`` with a complete body, which may still be a wrong one.

        Returns:
            The address, fit to be shown.

        Raises:
            DownloadError: The server does not give one.
        """
        if not part.is_right():
            part.validator = ""  # another server's says nothing to this one
            self._persist(url, part)
        if part.resumed and not part.is_right():
            self._say("  the parts do not fit together: again from the start")
            part.restart()
            self._persist(url, part)
        return public_address(url)

    def _persist(self, url: str, part: PartialFile) -> None:
        name = host(url)
        if name in self._unreachable:
            raise DownloadError(f"{host(public_address(url))} did not answer before")
        for attempt in itertools.count():
            error = self._attempt(url, part)
            if error is None:
                return
            if attempt >= min(self._retries, error.most):
                self._unreachable |= {name} if error.unreachable else set()
                times = f" ({attempt + 1} times)" if attempt else ""
                raise DownloadError(f"{error}{times}")
            wait = (
                self._backoff * 2 ** min(attempt, _DOUBLINGS) if error.wait is None else error.wait
            )
            wait = min(wait, _LONGEST_WAIT)
            # A name that does not resolve is tried twice: that is soon over.
            if error.most > 1:
                self._say(f"  {host(public_address(url))}: {error}; again in {wait:.1f} s")
            time.sleep(wait)

    def _attempt(self, url: str, part: PartialFile) -> RetryableError | None:
        try:
            self._transfer(url, part)
        except RetryableError as error:
            return error
        except _WebError as error:
            return diagnosis(error.__cause__ or error)
        return None

    def _transfer(self, url: str, part: PartialFile) -> None:
        with self._ask(url, part) as answer:
            response = self._response(answer)
            fits = not part.size or _continues(response, part.size)
            if fits:
                self._receive(response, answer, part)
        if not fits:
            part.restart()
            with self._ask(url, part) as answer:
                self._receive(self._response(answer), answer, part)

    def _ask(self, url: str, part: PartialFile) -> _Answer:
        # The sum is over the archive's bytes: no server may pack them once more.
        headers = {"Accept-Encoding": "identity"}
        if part.size:
            headers["Range"] = f"bytes={part.size}-"
            if part.validator:
                headers["If-Range"] = part.validator
        return TimedIterator(self._answer(url, headers))

    def _answer(
        self, url: str, headers: dict[str, str]
    ) -> Generator[Union[requests.Response, bytes]]:
        # A slow transfer is measured by its blocks: several of them have to come in time.
        block = min(_BLOCK, max(self._due() // 4, 1)) if self._speed else _BLOCK
        with contextlib.ExitStack() as stack:
            session = stack.enter_context(_Session())
            response = session.get(url, headers=headers, stream=True, timeout=self._timeout)
            yield stack.enter_context(response)
            # Not stream(): some releases of urllib3 read a chunk's header however long it is.
            while data := response.raw.read(block, decode_content=False):
                yield data

    def _response(self, answer: _Answer) -> requests.Response:
        """The status and the headers, after all redirects."""
        seconds = sum(self._timeout)
        try:
            return cast(requests.Response, _next(answer, seconds))
        except TimeoutError:
            raise RetryableError(f"it does not answer within {seconds:g} s") from None

    def _due(self) -> int:
        """The bytes that have to come within the time that a transfer may be silent."""
        return int(self._speed * self._timeout[1])

    def _body(self, answer: _Answer) -> Iterator[bytes]:
        """The blocks of the body, as long as they come fast enough."""
        begin, got = time.monotonic(), 0
        while True:
            left = begin + self._timeout[1] - time.monotonic() if self._speed else None
            try:
                block = _next(answer, left)
            except TimeoutError:
                slow = f"it fell silent, or sends fewer than {self._speed} bytes a second"
                raise RetryableError(slow) from None
            if block is None:
                return
            got += len(cast(bytes, block))
            if got >= self._due():
                begin, got = time.monotonic(), 0
            yield cast(bytes, block)

    def _receive(self, response: requests.Response, answer: _Answer, part: PartialFile) -> None:
        """Streams the body to the end of ``part``; a whole one replaces what is there."""
        _check_status(response)
        if not self._pages and _is_page(response):
            raise DownloadError(_PORTAL)
        blocks = self._body(answer)
        first = next(blocks, b"")
        if response.status_code == requests.codes.ok:
            if not self._pages and _MARKUP.match(first):
                raise DownloadError(_PORTAL)
            part.restart()
        elif not part.size:
            raise DownloadError("it answered a piece that was not asked for")
        else:
            part.resumed = True
        part.validator = _validator(response)
        end = _announced_end(response, part)
        for block in itertools.chain([first], blocks):
            part.add(block)
            if part.overlong or self._endless(part):
                break
        _check_encoding(response, part)
        if not part.overlong and end is not None and part.size < end:
            raise RetryableError(f"the transfer broke off after {part.size} of {end} bytes")

    def _endless(self, part: PartialFile) -> bool:
        """Whether a body of unknown size may be one without an end.

        Raises:
            DownloadError: It is.
        """
        if part.archive.size is None and part.size > self._most:
            part.restart()
            raise DownloadError(
                f"it sends more than {self._most // 10**6} MB: give the size in sources.toml, "
                "or raise REZBUILD_MAX_SIZE"
            )
        return False


def _next(answer: _Answer, seconds: float | None) -> Union[requests.Response, bytes, None]:
    try:
        return answer.next(seconds)
    except (TimeoutError, DownloadError):
        raise
    except Exception as error:  # what a server makes of three libraries is beyond any list
        raise _WebError from error


class _Session(requests.Session):
    """Follows redirects, but not from https to anything else."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        if resp.is_redirect:
            # requests would read its body to the end, which there may not be.
            resp.close()
        target = super().get_redirect_target(resp)
        if target is not None:
            there = urljoin(resp.url, target)
            scheme = urlsplit(there).scheme
            if scheme != "https" and (scheme != "http" or resp.url.startswith("https:")):
                raise DownloadError(f"it redirects to {public_address(there)}, which is refused")
        return target


def _check_status(response: requests.Response) -> None:
    status = response.status_code
    said = f"it answered {status} {phrase(status)}".rstrip()
    if status == requests.codes.proxy_authentication_required:
        raise DownloadError(PROXY_NAME)
    if status == requests.codes.too_many_requests or status >= requests.codes.server_error:
        raise RetryableError(said, wait=_retry_after(response))
    if status not in (requests.codes.ok, requests.codes.partial_content):
        raise DownloadError(said, missing=requests.codes.bad_request <= status)


def _is_page(response: requests.Response) -> bool:
    return response.headers.get("Content-Type", "").lower().startswith("text/html")


def _check_encoding(response: requests.Response, part: PartialFile) -> None:
    """Whether the body was packed once more, though that was not asked for.

    Some servers say so of each ``.gz``, and mean the file itself: what is right is right.
    """
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("", "identity") and not part.is_right():
        part.restart()
        raise DownloadError(f"it packs the file once more (Content-Encoding: {encoding[:20]})")


def _continues(response: requests.Response, size: int) -> bool:
    """Whether an answer to a Range request can be used: all of it, or what comes after ``size``."""
    if response.status_code == requests.codes.requested_range_not_satisfiable:
        return False
    if response.status_code != requests.codes.partial_content:
        return True
    return response.headers.get("Content-Range", "").startswith(f"bytes {size}-")


def _announced_end(response: requests.Response, part: PartialFile) -> int | None:
    """The number of bytes after this answer, as far as its framing tells (RFC 9112, 6)."""
    total = response.headers.get("Content-Range", "").rpartition("/")[2]
    if _NUMBER.fullmatch(total):
        return int(total)
    length = response.headers.get("Content-Length", "")
    if _NUMBER.fullmatch(length):
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
    except (urllib3.exceptions.InvalidHeader, ValueError, OverflowError):
        return None


def _blocks(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            yield from iter(lambda: file.read(_BLOCK), b"")
    except OSError as error:
        raise DownloadError(f"{path} cannot be read: {error.strerror}") from None
