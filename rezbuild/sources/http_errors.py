"""Why a server gives nothing, in words of our own: those of libraries may hold credentials."""

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
PROXY_NAME = "the proxy asks for a name: HTTPS_PROXY=http://NAME:PASSWORD@HOST:PORT"
# What requests itself reads, in this order.
_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
# A name that does not resolve rarely resolves a second later: one retry.
_NO_CONNECTION: tuple[tuple[type[Exception], str, float], ...] = (
    (
        requests.exceptions.ProxyError,
        "its proxy does not answer or lets nothing through",
        _NO_LIMIT,
    ),
    (socket.gaierror, "its host name does not resolve", 1),
    (ConnectionRefusedError, "it refuses connections", _NO_LIMIT),
    (requests.ConnectTimeout, "it does not answer", _NO_LIMIT),
    (urllib3.exceptions.NewConnectionError, "no connection to it is possible", _NO_LIMIT),
)


class DownloadError(Exception):
    """A route does not lead there; the next one may.

    Args:
        reason: For the list of what was tried.
        missing: The server is well and has no such file.
    """

    def __init__(self, reason: str, *, missing: bool = False) -> None:
        super().__init__(reason)
        self.missing = missing


class RetryableError(Exception):
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


def phrase(status: int) -> str:
    """The standard's words for it: a server's own are anyone's."""
    return http.HTTPStatus(status).phrase if status in set(http.HTTPStatus) else ""


def diagnosis(error: BaseException) -> RetryableError:
    """What another attempt may change, of what a library has raised.

    Raises:
        DownloadError: Trying again would change nothing.
        MachineError: The certificates that the user names cannot be read.
    """
    causes = tuple(_causes(error))
    _check_lasting(causes)
    for kind, reason, most in _NO_CONNECTION:
        if any(isinstance(cause, kind) for cause in causes):
            return RetryableError(reason, most=most, unreachable=True)
    silent = (requests.Timeout, urllib3.exceptions.TimeoutError)
    if any(isinstance(cause, silent) for cause in causes):
        return RetryableError("it fell silent")
    for cause in causes:
        if isinstance(cause, ssl.SSLError) and cause.reason:
            return RetryableError(f"TLS fails: {cause.reason}")
    return RetryableError("the connection broke off")


def _check_lasting(causes: tuple[BaseException, ...]) -> None:
    """Raises for what another attempt would not change."""
    first = causes[0]
    if any(isinstance(cause, (ssl.SSLError, FileNotFoundError)) for cause in causes) or not (
        isinstance(first, (requests.RequestException, urllib3.exceptions.HTTPError))
    ):
        _check_bundle()
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise DownloadError(
                f"its certificate is not trusted: {cause.verify_message} "
                "(REQUESTS_CA_BUNDLE names a file with a studio's own authority)"
            )
        tunnel = re.match(r"Tunnel connection failed: (4\d\d)\b", str(cause))
        if tunnel:
            refused = f"the proxy refuses it with {tunnel[1]} {phrase(int(tunnel[1]))}"
            raise DownloadError(PROXY_NAME if tunnel[1] == "407" else refused)
    if isinstance(first, requests.exceptions.InvalidProxyURL):
        raise DownloadError("HTTPS_PROXY, HTTP_PROXY or ALL_PROXY holds no address of a proxy")
    web = (requests.RequestException, urllib3.exceptions.HTTPError)
    if isinstance(first, (ValueError, requests.TooManyRedirects)) or not isinstance(first, web):
        raise DownloadError(f"it cannot be used ({type(first).__name__})")


def _check_bundle() -> None:
    """Whether the certificates that the user names can be read.

    Raises:
        MachineError: They cannot.
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
            f"{name}={bundle} names no certificates that can be read: {error.strerror or error}",
            advice=[f"set {name} to a file of certificates in PEM format, or unset it"],
        ) from None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def public_address(url: str) -> str:
    """The address without user, password and query, which may be secret."""
    hidden = f"{url.partition(':')[0]}://…"
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 (it raises where a "/" of a password has ended the host too early)
    except ValueError:
        return f"{hidden} (no valid address)"
    if "@" in parts.path + parts.query + parts.fragment:  # as in http://me:pass#word@host
        return f"{hidden} (write %40 for an @ in it, %2F for a / and %23 for a #)"
    return urlunsplit((parts.scheme, host(url), parts.path, "", ""))


def host(url: str) -> str:
    """Host and port of an address."""
    return urlsplit(url).netloc.rpartition("@")[2]
