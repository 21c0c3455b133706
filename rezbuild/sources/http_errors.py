"""Reasons for failed downloads, in our words: texts of HTTP libraries may contain credentials."""

from __future__ import annotations

import http
import os
import re
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import requests
import urllib3

from rezbuild.errors import MachineError

_NO_LIMIT = float("inf")
PROXY_NAME = "the proxy requires a user name: HTTPS_PROXY=http://NAME:PASSWORD@HOST:PORT"
# The variables that requests reads, in this order.
_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
# Exceptions, reason, most retries. An unknown name rarely resolves a second later: one retry.
_NO_CONNECTION: tuple[tuple[type[Exception], str, float], ...] = (
    (
        requests.exceptions.ProxyError,
        "its proxy does not answer or refuses the connection",
        _NO_LIMIT,
    ),
    (socket.gaierror, "its host name does not resolve", 1),
    (ConnectionRefusedError, "it refuses connections", _NO_LIMIT),
    (requests.ConnectTimeout, "it does not answer", _NO_LIMIT),
    (urllib3.exceptions.NewConnectionError, "no connection to it is possible", _NO_LIMIT),
)


class DownloadError(Exception):
    """A download failed for good; another location may have the file.

    Args:
        reason: For the ``tried:`` lines, which name the location before it.
        missing: The server works, and does not have the file.
    """

    def __init__(self, reason: str, *, missing: bool = False) -> None:
        super().__init__(reason)
        self.missing = missing


class RetryableError(Exception):
    """A failure that may be temporary.

    Args:
        reason: For the user.
        wait: Seconds to wait, if the server says so.
        max_retries: How many retries make sense.
        unreachable: The host did not answer.
    """

    def __init__(
        self,
        reason: str,
        *,
        wait: float | None = None,
        max_retries: float = _NO_LIMIT,
        unreachable: bool = False,
    ) -> None:
        super().__init__(reason)
        self.wait, self.max_retries, self.unreachable = wait, max_retries, unreachable


def phrase(status: int) -> str:
    """Return the standard phrase of a status; a server may send any text."""
    return http.HTTPStatus(status).phrase if status in set(http.HTTPStatus) else ""


def diagnose(error: BaseException) -> RetryableError:
    """Return the reason for an exception of an HTTP library, if a retry may help.

    Raises:
        DownloadError: A retry cannot help.
        MachineError: The user's file of certificates cannot be read.
    """
    causes = tuple(_causes(error))
    _raise_lasting(causes)
    for kind, reason, most in _NO_CONNECTION:
        if any(isinstance(cause, kind) for cause in causes):
            return RetryableError(reason, max_retries=most, unreachable=True)
    silent = (requests.Timeout, urllib3.exceptions.TimeoutError)
    if any(isinstance(cause, silent) for cause in causes):
        return RetryableError("it stopped sending")
    for cause in causes:
        if isinstance(cause, ssl.SSLError) and cause.reason:
            return RetryableError(f"TLS fails: {cause.reason}")
    return RetryableError("the connection was lost")


def _raise_lasting(causes: tuple[BaseException, ...]) -> None:
    """Raise an error for a failure that a retry cannot change."""
    first = causes[0]
    if any(isinstance(cause, (ssl.SSLError, FileNotFoundError)) for cause in causes) or not (
        isinstance(first, (requests.RequestException, urllib3.exceptions.HTTPError))
    ):
        _check_bundle()
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise DownloadError(
                f"its certificate is not trusted: {cause.verify_message} "
                "(set REQUESTS_CA_BUNDLE to a file with the studio's certificate authority)"
            )
        tunnel = re.match(r"Tunnel connection failed: (4\d\d)\b", str(cause))
        if tunnel:
            refused = f"the proxy refuses the address with {tunnel[1]} {phrase(int(tunnel[1]))}"
            raise DownloadError(PROXY_NAME if tunnel[1] == "407" else refused)
    if isinstance(first, requests.exceptions.InvalidProxyURL):
        raise DownloadError("HTTPS_PROXY, HTTP_PROXY or ALL_PROXY is not the address of a proxy")
    web = (requests.RequestException, urllib3.exceptions.HTTPError)
    if isinstance(first, (ValueError, requests.TooManyRedirects)) or not isinstance(first, web):
        raise DownloadError(f"it cannot be used ({type(first).__name__})")


def _check_bundle() -> None:
    """Check the file or folder of certificates that the user names.

    Raises:
        MachineError: It cannot be read.
    """
    name = next((name for name in _BUNDLES if os.environ.get(name)), None)
    if name is None:
        return
    bundle = os.environ[name]
    try:
        folder = Path(bundle).is_dir()
        ssl.create_default_context(
            cafile=None if folder else bundle, capath=bundle if folder else None
        )
    except OSError as error:
        raise MachineError(
            f"the certificates of {name}={bundle} cannot be read: {error.strerror or error}",
            advice=[f"set {name} to a file of certificates in PEM format, or unset it"],
        ) from None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def public_address(url: str) -> str:
    """Return an address without its user, password and query, which may be secret."""
    hidden = f"{url.partition(':')[0]}://…"
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 (raises if a "/" of a password ended the host too early)
    except ValueError:
        return f"{hidden} (not a valid address)"
    if "@" in parts.path + parts.query + parts.fragment:  # as in http://me:pass#word@host
        return f"{hidden} (write %40 for an @ in it, %2F for a / and %23 for a #)"
    return urlunsplit((parts.scheme, host(url), parts.path, "", ""))


def host(url: str) -> str:
    """Return the host and port of an address."""
    return urlsplit(url).netloc.rpartition("@")[2]
