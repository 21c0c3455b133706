"""Downloads over HTTP that continue after broken connections, timeouts and busy servers.

The bytes go into a `PartialFile`. Its owner compares the pinned checksum.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import re
import time
from collections.abc import Callable, Generator, Iterator
from typing import Union, cast
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from rezbuild.settings import Settings
from rezbuild.sources.http_errors import (
    PROXY_NAME,
    DownloadError,
    RetryableError,
    diagnose,
    host,
    phrase,
    public_address,
)
from rezbuild.sources.partial_file import PartialFile
from rezbuild.util.timed_iterator import TimedIterator

# urllib3 logs addresses with their queries, which may be secret; Rez may have handlers for all
# records (REZ_LOGGING_CONF).
logging.getLogger("urllib3").propagate = False

_BLOCK = 1 << 16
_LONGEST_WAIT = 30.0  # seconds, even if a server asks for more
_DOUBLINGS = 10  # at most, of the wait between two attempts
_NUMBER = re.compile(r"[0-9]{1,18}")  # int() refuses thousands of digits
_MARKUP = re.compile(rb"\s*<(!doctype|html|head|body|\?xml)\b", re.IGNORECASE)
_PORTAL = "it sent a web page, not an archive: a captive portal or proxy?"


class _WebError(Exception):
    """Any exception of an HTTP library; its text may contain an address with credentials."""


# A response, and then the blocks of its body.
_Answer = TimedIterator[Union[requests.Response, bytes]]


class HttpClient:
    """Download with resumption and retries; do not ask again a host that did not answer.

    Args:
        settings: The timeouts and limits.
        say: Prints one line for the user.
        backoff: Seconds before the first retry.
        pages: Web pages are expected; otherwise a web page is the error of a captive portal.
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
        self._min_speed = settings.min_speed
        self._max_size = settings.max_size * 10**6
        self._retries = settings.retries
        self._say = say
        self._backoff = backoff
        self._pages = pages
        self._unreachable: set[str] = set()

    def is_unreachable(self, url: str) -> bool:
        """Whether the host of an address did not answer an earlier request."""
        with contextlib.suppress(ValueError):  # not a valid address
            return host(url) in self._unreachable
        return False

    def get(self, url: str, part: PartialFile) -> str:
        """Fill ``part`` with a complete body, whose checksum the caller compares.

        Returns:
            The address without credentials.

        Raises:
            DownloadError: The server did not send a complete body.
        """
        if not part.is_complete():
            part.validator = ""  # a validator is valid for the server that sent it
            self._retry(url, part)
        if part.resumed and not part.is_complete():
            self._say("  the parts do not fit together: downloading again from the start")
            part.restart()
            self._retry(url, part)
        return public_address(url)

    def _retry(self, url: str, part: PartialFile) -> None:
        name = host(url)
        if name in self._unreachable:
            raise DownloadError(f"{host(public_address(url))} did not answer before")
        for attempt in itertools.count():
            error = self._attempt(url, part)
            if error is None:
                return
            if attempt >= min(self._retries, error.max_retries):
                self._unreachable |= {name} if error.unreachable else set()
                times = f" ({attempt + 1} times)" if attempt else ""
                raise DownloadError(f"{error}{times}")
            wait = (
                self._backoff * 2 ** min(attempt, _DOUBLINGS) if error.wait is None else error.wait
            )
            wait = min(wait, _LONGEST_WAIT)
            # An unknown host name is tried twice, within a second: no message.
            if error.max_retries > 1:
                self._say(f"  {host(public_address(url))}: {error}; retry in {wait:.1f} s")
            time.sleep(wait)

    def _attempt(self, url: str, part: PartialFile) -> RetryableError | None:
        try:
            self._transfer(url, part)
        except RetryableError as error:
            return error
        except _WebError as error:
            return diagnose(error.__cause__ or error)
        return None

    def _transfer(self, url: str, part: PartialFile) -> None:
        with self._request(url, part) as answer:
            response = self._response(answer)
            fits = not part.size or _continues(response, part.size)
            if fits:
                self._receive(response, answer, part)
        if not fits:
            part.restart()
            with self._request(url, part) as answer:
                self._receive(self._response(answer), answer, part)

    def _request(self, url: str, part: PartialFile) -> _Answer:
        # The checksum is for the archive's bytes, so the server must not compress them again.
        headers = {"Accept-Encoding": "identity"}
        if part.size:
            headers["Range"] = f"bytes={part.size}-"
            if part.validator:
                headers["If-Range"] = part.validator
        return TimedIterator(self._answer(url, headers))

    def _answer(
        self, url: str, headers: dict[str, str]
    ) -> Generator[Union[requests.Response, bytes]]:
        # The speed is measured block by block: several blocks must arrive within the timeout.
        block = min(_BLOCK, max(self._min_bytes() // 4, 1)) if self._min_speed else _BLOCK
        with contextlib.ExitStack() as stack:
            session = stack.enter_context(_Session())
            response = session.get(url, headers=headers, stream=True, timeout=self._timeout)
            yield stack.enter_context(response)
            # Not stream(): some releases of urllib3 read a chunk's header of any length.
            while data := response.raw.read(block, decode_content=False):
                yield data

    def _response(self, answer: _Answer) -> requests.Response:
        """Return the status and the headers, after all redirects."""
        seconds = sum(self._timeout)
        try:
            return cast(requests.Response, _next(answer, seconds))
        except TimeoutError:
            raise RetryableError(f"it does not answer within {seconds:g} s") from None

    def _min_bytes(self) -> int:
        """Return the bytes that must arrive within the read timeout."""
        return int(self._min_speed * self._timeout[1])

    def _body(self, answer: _Answer) -> Iterator[bytes]:
        """Yield the blocks of the body; fail if they arrive too slowly."""
        start, received = time.monotonic(), 0
        while True:
            left = start + self._timeout[1] - time.monotonic() if self._min_speed else None
            try:
                block = _next(answer, left)
            except TimeoutError:
                slow = f"it stopped sending, or sends fewer than {self._min_speed} bytes a second"
                raise RetryableError(slow) from None
            if block is None:
                return
            received += len(cast(bytes, block))
            if received >= self._min_bytes():
                start, received = time.monotonic(), 0
            yield cast(bytes, block)

    def _receive(self, response: requests.Response, answer: _Answer, part: PartialFile) -> None:
        """Append the body to ``part``; a complete body replaces the bytes of ``part``."""
        _check_status(response)
        kind = response.headers.get("Content-Type", "").lower()
        if not self._pages and kind.startswith("text/html"):
            raise DownloadError(_PORTAL)
        blocks = self._body(answer)
        first = next(blocks, b"")
        if response.status_code == requests.codes.ok:
            if not self._pages and _MARKUP.match(first):
                raise DownloadError(_PORTAL)
            part.restart()
        elif not part.size:
            raise DownloadError("it sent a part of the file that was not requested")
        else:
            part.resumed = True
        part.validator = _validator(response)
        end = _announced_end(response, part)
        for block in itertools.chain([first], blocks):
            part.add(block)
            if part.too_long or self._exceeds_limit(part):
                break
        _check_encoding(response, part)
        if not part.too_long and end is not None and part.size < end:
            raise RetryableError(f"the connection was lost after {part.size} of {end} bytes")

    def _exceeds_limit(self, part: PartialFile) -> bool:
        """Return False while a body of unknown size is below REZBUILD_MAX_SIZE.

        Raises:
            DownloadError: The body is larger; it may be endless.
        """
        if part.archive.size is None and part.size > self._max_size:
            part.restart()
            raise DownloadError(
                f"it sends more than {self._max_size // 10**6} MB: give the size in sources.toml, "
                "or raise REZBUILD_MAX_SIZE"
            )
        return False


def _next(answer: _Answer, seconds: float | None) -> Union[requests.Response, bytes, None]:
    try:
        return answer.next(seconds)
    except (TimeoutError, DownloadError):
        raise
    except Exception as error:  # three libraries raise what a server provokes
        raise _WebError from error


class _Session(requests.Session):
    """A session that follows redirects, but not from https to another scheme."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        if resp.is_redirect:
            # requests would read the body, which may be endless.
            resp.close()
        target = super().get_redirect_target(resp)
        if target is not None:
            location = urljoin(resp.url, target)
            scheme = urlsplit(location).scheme
            if scheme != "https" and (scheme != "http" or resp.url.startswith("https:")):
                raise DownloadError(f"it redirects to {public_address(location)}, which is refused")
        return target


def _check_status(response: requests.Response) -> None:
    status = response.status_code
    reason = f"it answered {status} {phrase(status)}".rstrip()
    if status == requests.codes.proxy_authentication_required:
        raise DownloadError(PROXY_NAME)
    if status == requests.codes.too_many_requests or status >= requests.codes.server_error:
        raise RetryableError(reason, wait=_retry_after(response))
    if status not in (requests.codes.ok, requests.codes.partial_content):
        raise DownloadError(reason, missing=requests.codes.bad_request <= status)


def _check_encoding(response: requests.Response, part: PartialFile) -> None:
    """Refuse a body that the server compressed again, though the request forbids it.

    Some servers send Content-Encoding for every ``.gz`` without compressing it again: the checksum
    decides.

    Raises:
        DownloadError: The server compressed the file.
    """
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("", "identity") and not part.is_complete():
        part.restart()
        raise DownloadError(f"it compresses the file again (Content-Encoding: {encoding[:20]})")


def _continues(response: requests.Response, size: int) -> bool:
    """Whether a response to a Range request has the whole body, or the bytes after ``size``."""
    if response.status_code == requests.codes.requested_range_not_satisfiable:
        return False
    if response.status_code != requests.codes.partial_content:
        return True
    return response.headers.get("Content-Range", "").startswith(f"bytes {size}-")


def _announced_end(response: requests.Response, part: PartialFile) -> int | None:
    """Return the size of the file after this response; None if unknown (RFC 9112, 6)."""
    total = response.headers.get("Content-Range", "").rpartition("/")[2]
    if _NUMBER.fullmatch(total):
        return int(total)
    length = response.headers.get("Content-Length", "")
    if _NUMBER.fullmatch(length):
        return part.size + int(length)
    if "chunked" in response.headers.get("Transfer-Encoding", "").lower():
        return None
    return part.archive.size  # the end of the connection ends the body: a lost one looks the same


def _validator(response: requests.Response) -> str:
    """Return a value for If-Range: a strong ETag, else the date (RFC 9110, 13.1.5)."""
    tag = response.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified", "")


def _retry_after(response: requests.Response) -> float | None:
    value = response.headers.get("Retry-After")
    try:
        return None if value is None else urllib3.Retry().parse_retry_after(value)
    except (urllib3.exceptions.InvalidHeader, ValueError, OverflowError):
        return None
