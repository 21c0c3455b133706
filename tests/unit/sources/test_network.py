"""Faults of a network during a download, with real servers, certificates and proxies."""

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import io
import logging
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from build_machine import BODY, FILE, OTHER, Machine
from fuzz import FACTOR
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from raw_server import Connection, Script, proxy, raw_server
from scripted_server import Answer, ScriptedServer, scripted_server

from rezbuild.catalogue.model import Archive, Release
from rezbuild.errors import ChecksumError, FetchError, MachineError, RezbuildError
from rezbuild.util.timed_iterator import TimedIterator

OK = b"HTTP/1.1 200 OK\r\n"
WHOLE = OK + b"Content-Length: %d\r\n\r\n" % len(BODY)
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def good() -> Iterator[ScriptedServer]:
    """Start a good server as the next source."""
    with scripted_server() as running:
        running.at("/good", Answer(BODY))
        yield running


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "cache", retries=0)


@pytest.fixture
def short_timeouts(tmp_path: Path) -> Machine:
    """Return a machine with timeouts of half a second, only for tests of timeouts."""
    return Machine(
        tmp_path / "cache", connect_timeout=0.25, read_timeout=0.25, retries=0, min_speed=4000
    )


def reason_of_failed_location(
    machine: Machine, bad: str, good: ScriptedServer, *, within: float = 3
) -> str:
    """Return the reason why the download from ``bad`` failed."""
    begin = time.monotonic()
    got = machine.fetch(bad, good.url + "/good")
    assert time.monotonic() - begin < within
    assert got.path.read_bytes() == BODY
    assert got.location.endswith("/good")
    assert machine.file_names() == {FILE}
    line = next(line for line in machine.output.getvalue().split("\n") if line.startswith("  "))
    return line.partition(": ")[2].partition("; it is not asked again")[0]


# Time


def test_silent_host_is_given_up(short_timeouts: Machine, good: ScriptedServer) -> None:
    """Its connection queue is full, so it drops new connections like a firewall."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        crowd = [socket.socket() for _ in range(3)]
        for one in crowd:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        bad = f"http://127.0.0.1:{full.getsockname()[1]}/{FILE}"
        assert reason_of_failed_location(short_timeouts, bad, good) == "it does not answer"
        for one in crowd:
            one.close()


def silent(connection: Connection) -> None:
    connection.request()
    connection.wait()


def silent_in_the_headers(connection: Connection) -> None:
    connection.request()
    connection.send(OK)
    connection.wait()


def silent_in_the_body(connection: Connection) -> None:
    connection.request()
    connection.send(WHOLE + BODY[:1000])
    connection.wait()


@pytest.mark.parametrize("script", [silent, silent_in_the_headers, silent_in_the_body])
@pytest.mark.parametrize("speed", [0, 4000])
def test_silence_ends_at_the_timeout(
    tmp_path: Path, good: ScriptedServer, script: Script, speed: int
) -> None:
    short_timeouts = Machine(tmp_path, read_timeout=0.25, retries=0, min_speed=speed)
    with raw_server(script) as bad:
        assert reason_of_failed_location(short_timeouts, bad.url, good).startswith(
            "it stopped sending"
        )


def test_silence_in_the_handshake_ends_at_the_timeout(
    short_timeouts: Machine, good: ScriptedServer
) -> None:
    with raw_server(Connection.wait) as bad:
        reason = reason_of_failed_location(short_timeouts, bad.url.replace("http", "https"), good)
    assert reason == "it stopped sending"


def slow_handshake(connection: Connection) -> None:
    connection.send_slowly(b"\x16\x03\x03\x40\x00\x02" + bytes(1000), 0.05)


def slow_headers(connection: Connection) -> None:
    connection.send_slowly(OK + b"X-Long: " + b"x" * 1000, 0.05)


def endless_continue(connection: Connection) -> None:
    connection.send_slowly(b"HTTP/1.1 100 Continue\r\n\r\n" * 50, 0.01)


@pytest.mark.parametrize(
    ("script", "scheme"),
    [
        (slow_handshake, "https"),
        (slow_headers, "http"),
        (endless_continue, "http"),
    ],
)
def test_slow_headers_end_at_the_timeout(
    short_timeouts: Machine, good: ScriptedServer, script: Script, scheme: str
) -> None:
    with raw_server(script) as bad:
        reason = reason_of_failed_location(short_timeouts, f"{scheme}://{bad.address}/", good)
    # Python limits the time of the whole handshake.
    assert reason == (
        "it does not answer within 0.5 s" if scheme == "http" else "it stopped sending"
    )


@pytest.mark.parametrize("head", [WHOLE, CHUNKED + b"%x\r\n" % len(BODY), OK + b"\r\n"])
def test_slow_body_is_given_up(short_timeouts: Machine, good: ScriptedServer, head: bytes) -> None:
    def script(connection: Connection) -> None:
        connection.request()
        connection.send(head)
        connection.send_slowly(BODY, 0.02)

    with raw_server(script) as bad:
        reason = reason_of_failed_location(short_timeouts, bad.url, good)
    assert reason == "it stopped sending, or sends fewer than 4000 bytes a second"


@pytest.mark.parametrize(("speed", "enough"), [(20, True), (2000, False)])
def test_minimum_speed_is_a_setting(tmp_path: Path, speed: int, enough: bool) -> None:
    """A hundred bytes per second, for longer than the read timeout."""
    body = bytes(range(80))

    def script(connection: Connection) -> None:
        connection.request()
        connection.send(OK + b"Content-Length: 80\r\n\r\n")
        connection.send_slowly(body, 0.01)

    short_timeouts = Machine(tmp_path, read_timeout=0.4, retries=0, min_speed=speed)
    with raw_server(script) as slow:
        small = Archive(FILE, hashlib.sha256(body).hexdigest(), None, (slow.url,))
        wanted = Release("thing", "1.0", (small,), (), (), "MIT")
        if enough:
            assert short_timeouts.fetcher.fetch(wanted).path.read_bytes() == body
        else:
            with pytest.raises(FetchError, match="fewer than 2000 bytes a second"):
                short_timeouts.fetcher.fetch(wanted)


def test_abandoned_transfer_ends(short_timeouts: Machine, good: ScriptedServer) -> None:
    with raw_server(silent_in_the_body) as bad:
        reason_of_failed_location(short_timeouts, bad.url, good)
        deadline = time.monotonic() + 3
        while threading.active_count() > 4 and time.monotonic() < deadline:
            time.sleep(0.02)
        names = [thread.name for thread in threading.enumerate() if "_run" in thread.name]
        assert names == []


def test_late_items_are_dropped() -> None:
    hurry = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        hurry.wait(5)
        yield 2
        raise KeyError("three")

    with TimedIterator(items()) as timed:
        assert timed.next(5) == 1
        with pytest.raises(TimeoutError):
            timed.next(0.01)
        hurry.set()
        assert timed.next(5) == 2
        with pytest.raises(KeyError, match="three"):
            timed.next(5)
    with TimedIterator(number for number in range(100)) as timed:  # more than it makes ahead
        assert [timed.next(5) for _ in range(3)] == [0, 1, 2]
    with TimedIterator(number for number in range(1)) as timed:
        assert [timed.next(None), timed.next(None)] == [0, None]


# Resets


@pytest.mark.parametrize("said", [b"", OK, WHOLE, CHUNKED])
def test_reset_connection_is_retried(machine: Machine, good: ScriptedServer, said: bytes) -> None:
    def script(connection: Connection) -> None:
        connection.request()
        connection.send(said)
        connection.reset()

    with raw_server(script) as bad:
        assert reason_of_failed_location(machine, bad.url, good) == "the connection was lost"


def test_reset_within_the_body_is_resumed(tmp_path: Path) -> None:
    def script(connection: Connection) -> None:
        asked = connection.request()
        if connection.number == 0:
            connection.send(WHOLE + BODY[:200_000])
            time.sleep(0.2)  # a reset throws away what the client has not read
            connection.reset()
            return
        begin = int(asked.partition(b"Range: bytes=")[2].partition(b"-")[0])
        connection.send(b"HTTP/1.1 206 Partial Content\r\n")
        connection.send(b"Content-Range: bytes %d-%d/%d\r\n" % (begin, len(BODY) - 1, len(BODY)))
        connection.send(b"Content-Length: %d\r\n\r\n" % (len(BODY) - begin) + BODY[begin:])

    machine = Machine(tmp_path)
    with raw_server(script) as server:
        assert machine.fetch(server.url).path.read_bytes() == BODY
        assert len(server.connections) == 2


# Endless bodies and headers


def endless_body(connection: Connection) -> None:
    connection.request()
    connection.send(OK + b"\r\n")
    connection.send_endlessly(bytes(1 << 16))


def endless_chunks(connection: Connection) -> None:
    connection.request()
    connection.send(CHUNKED)
    connection.send_endlessly(b"10000\r\n" + bytes(1 << 16) + b"\r\n")


def impossible_length(connection: Connection) -> None:
    connection.request()
    connection.send(OK + b"Content-Length: %d\r\n\r\n" % 10**17)
    connection.send_endlessly(bytes(1 << 16))


ENDLESS = [endless_body, endless_chunks, impossible_length]


@pytest.mark.parametrize("script", ENDLESS)
def test_endless_body_stops_at_the_size_limit(
    tmp_path: Path, script: Script, good: ScriptedServer
) -> None:
    machine = Machine(tmp_path, max_size=1)
    with raw_server(script) as bad:
        got = machine.fetch(bad.url, good.url + "/good", size=None)
        assert got.path.read_bytes() == BODY
        assert bad.connections[0].sent < 20_000_000
        assert len(bad.connections) == 1
    assert "it sends more than 1 MB: give the size" in machine.output.getvalue()
    assert "REZBUILD_MAX_SIZE" in machine.output.getvalue()


@pytest.mark.parametrize("script", ENDLESS)
def test_endless_body_stops_at_the_known_size(machine: Machine, script: Script) -> None:
    with raw_server(script) as bad:
        with pytest.raises(ChecksumError, match=f"more than {len(BODY)} bytes"):
            machine.fetch(bad.url)
        assert bad.connections[0].sent < 20_000_000


def endless(start: bytes, again: bytes) -> Script:
    def script(connection: Connection) -> None:
        connection.request()
        connection.send(start)
        connection.send_endlessly(again)

    return script


ENDLESS_FRAMES = {
    "status line": (b"HTTP/1.1 200 ", b"x" * 4096),
    "header": (OK + b"X: ", b"x" * 4096),
    "headers": (OK, b"X: y\r\n" * 512),
    "chunk's size": (CHUNKED + b"1;", b"x" * 4096),
    "trailers": (CHUNKED + b"0\r\n", b"X: y\r\n" * 512),
    "noise": (b"", b"\xff\x00\r\n" * 1024),
}


@pytest.mark.parametrize("case", ENDLESS_FRAMES)
def test_endless_headers_are_given_up(machine: Machine, good: ScriptedServer, case: str) -> None:
    with raw_server(endless(*ENDLESS_FRAMES[case])) as bad:
        reason_of_failed_location(machine, bad.url, good)
        if case != "trailers":  # those are thrown away as they come, until the time is over
            assert bad.connections[0].sent < 20_000_000


def test_redirect_with_an_endless_body_is_followed(machine: Machine, good: ScriptedServer) -> None:
    head = b"HTTP/1.1 302 Found\r\nLocation: %s/good\r\n\r\n" % good.url.encode()
    with raw_server(endless(head, bytes(1 << 16))) as first:
        assert machine.fetch(first.url).path.read_bytes() == BODY
        assert first.connections[0].sent < 20_000_000


# False answers

LIES = {
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "nothing": b"",
    "negative length": OK + b"Content-Length: -5\r\n\r\n" + BODY[:99],
    "length of 5000 digits": OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n" + BODY[:99],
    "two lengths": OK + b"Content-Length: 10\r\nContent-Length: 20\r\n\r\n" + BODY[:20],
    "chunk that is none": CHUNKED + b"zz\r\n" + BODY[:99],
    "chunk beyond all": CHUNKED + b"f" * 15 + b"\r\n" + BODY[:99],
    "chunk of negative size": CHUNKED + b"-10\r\n" + BODY[:99],
    "a piece nobody asked for": b"HTTP/1.1 206 Partial Content\r\n"
    b"Content-Range: bytes 5-10/11\r\nContent-Length: 6\r\n\r\nabcdef",
    "status beyond all": b"HTTP/1.1 99999 What\r\n\r\n",
    "status with no name": b"HTTP/1.1 299 What\r\nContent-Length: 0\r\n\r\n",
    "retry after for ever": b"HTTP/1.1 503 No\r\nRetry-After: " + b"9" * 5000 + b"\r\n\r\n",
    "retry after the end": b"HTTP/1.1 503 No\r\n"
    b"Retry-After: Fri, 31 Dec 999999999999 23:59:59 GMT\r\nContent-Length: 0\r\n\r\n",
    "redirect to nowhere": b"HTTP/1.1 302 Found\r\nLocation: http://\xff\xfe:99999/\r\n\r\n",
    "redirect to a label": b"HTTP/1.1 302 Found\r\nLocation: http://a..b/\r\n\r\n",
    "redirect without a place": b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("case", LIES)
def test_false_answer_is_skipped(tmp_path: Path, good: ScriptedServer, case: str) -> None:
    def script(connection: Connection) -> None:
        connection.request()
        connection.send(LIES[case])

    machine = Machine(tmp_path, connect_timeout=0.5, read_timeout=0.5, retries=1)
    with raw_server(script) as bad:
        reason_of_failed_location(machine, bad.url, good)


@pytest.mark.parametrize("said", ["999999", "nonsense", "*", "9" * 5000])
def test_false_total_does_not_matter(tmp_path: Path, said: str) -> None:
    """Only the checksum decides whether a resumed file is complete."""

    def script(connection: Connection) -> None:
        connection.request()
        if connection.number == 0:
            connection.send(WHOLE + BODY[:100_000])
        elif connection.number == 1:
            connection.send(b"HTTP/1.1 206 Partial Content\r\n")
            connection.send(b"Content-Range: bytes 100000-299999/%s\r\n" % said.encode())
            connection.send(b"Content-Length: 200000\r\n\r\n" + BODY[100_000:])
        else:
            connection.send(WHOLE + BODY)

    with raw_server(script) as server:
        assert Machine(tmp_path).fetch(server.url).path.read_bytes() == BODY


# After an invalid answer, the libraries leave the socket to the garbage collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@settings(
    max_examples=20 * FACTOR,
    derandomize=FACTOR == 1,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(
    status=st.sampled_from([b"200 OK", b"206 Partial Content", b"302 Found", b"416 No", b"503 No"]),
    headers=st.lists(
        st.tuples(
            st.sampled_from(
                [
                    *(b"Content-Length", b"Content-Range", b"Transfer-Encoding", b"Location"),
                    *(b"Content-Encoding", b"Retry-After", b"ETag", b"Content-Type", b"Set-Cookie"),
                ]
            ),
            st.one_of(
                st.sampled_from([b"0", b"5", b"-1", b"chunked", b"gzip", b"bytes 0-4/5", b"/x"]),
                st.binary(max_size=12),
            ),
        ),
        max_size=4,
    ),
    body=st.binary(max_size=40),
)
def test_any_other_answer_is_skipped(
    tmp_path_factory: pytest.TempPathFactory,
    status: bytes,
    headers: list[tuple[bytes, bytes]],
    body: bytes,
) -> None:
    answer = b"HTTP/1.1 " + status + b"\r\n"
    answer += b"".join(name + b": " + value + b"\r\n" for name, value in headers)

    def script(connection: Connection) -> None:
        connection.request()
        connection.send(answer + b"\r\n" + body)

    machine = Machine(
        tmp_path_factory.mktemp("any"), read_timeout=0.2, connect_timeout=0.2, retries=0
    )
    with raw_server(script) as bad, pytest.raises((FetchError, ChecksumError)) as caught:
        machine.fetch(bad.url + "/")
    assert caught.value.advice


# Redirects


@pytest.mark.parametrize(
    "target",
    [
        "file:///etc/passwd",
        "FILE:///etc/passwd",
        "file://localhost/etc/passwd",
        "ftp://127.0.0.1/x",
        "data:,x",
        "gopher://127.0.0.1/",
        "//[",
    ],
)
def test_redirects_to_other_schemes_are_refused(
    machine: Machine, good: ScriptedServer, target: str
) -> None:
    bad = good.at("/bad", Answer(status=302, headers={"Location": target}))
    reason = reason_of_failed_location(machine, bad, good)
    assert "which is refused" in reason or "cannot be used" in reason
    assert good.paths() == ["/bad", "/good"]


def test_insecure_redirect_is_refused(
    tmp_path: Path, good: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, context = certificate("127.0.0.1")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", bundle(authority, tmp_path))
    with scripted_server(context) as safe:
        url = safe.at("/down", Answer(status=302, headers={"Location": good.url + "/good"}))
        with pytest.raises(FetchError, match="which is refused"):
            Machine(tmp_path).fetch(url)
    assert good.log == []


# Certificates


def certificate(name: str, **fields: dt.datetime) -> tuple[trustme.CA, ssl.SSLContext]:
    """Make an authority, and a server context with its certificate for a name."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name, **fields).configure_cert(context)
    return authority, context


def bundle(authority: trustme.CA, folder: Path) -> str:
    path = folder / "studio.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


PAST = dt.datetime(2001, 1, 1, tzinfo=dt.timezone.utc)
FUTURE = dt.datetime(2999, 1, 1, tzinfo=dt.timezone.utc)
WRONG: dict[str, tuple[str, dict[str, dt.datetime], bool, str]] = {
    "of nobody we know": ("127.0.0.1", {}, False, "issuer certificate|self"),
    "of another host": ("mirror.invalid", {}, True, "[mM]ismatch"),
    "that has expired": ("127.0.0.1", {"not_after": PAST}, True, "expired"),
    "that is not valid yet": ("127.0.0.1", {"not_before": FUTURE}, True, "not yet valid"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_certificate_is_refused(
    tmp_path: Path, good: ScriptedServer, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    name, fields, known, reason = WRONG[case]
    if "not_before" in fields:
        fields = {**fields, "not_after": FUTURE + dt.timedelta(days=1)}
    elif fields:
        fields = {**fields, "not_before": PAST - dt.timedelta(days=1)}
    authority, context = certificate(name, **fields)
    if known:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", bundle(authority, tmp_path))
    # Older settings that turned the check off.
    monkeypatch.setenv("PYTHONHTTPSVERIFY", "0")
    monkeypatch.setenv("CURL_SSL_BACKEND", "none")
    machine = Machine(tmp_path / "cache")
    with scripted_server(context) as server:
        said = reason_of_failed_location(machine, server.at("/x", Answer(OTHER)), good)
        assert server.log == []
    assert "its certificate is not trusted: " in said
    assert "REQUESTS_CA_BUNDLE" in said
    assert re.search(reason, said)


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_authority_of_the_studio_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    authority, context = certificate("127.0.0.1")
    monkeypatch.setenv(variable, bundle(authority, tmp_path))
    with scripted_server(context) as server:
        url = server.at("/x", Answer(BODY))
        assert Machine(tmp_path / "cache").fetch(url).path.read_bytes() == BODY


@pytest.mark.parametrize("state", ["missing", "garbage", "empty", "unreadable"])
def test_unreadable_certificates_are_named(
    tmp_path: Path, good: ScriptedServer, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    path = tmp_path / "studio.pem"
    if state != "missing":
        path.write_text("no certificate\n" if state == "garbage" else "")
    if state == "unreadable":
        if os.getuid() == 0:
            pytest.skip("root reads everything")
        path.chmod(0)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(path))
    _, context = certificate("127.0.0.1")
    with scripted_server(context) as server, pytest.raises(MachineError) as caught:
        Machine(tmp_path / "cache").fetch(server.at("/x", Answer(BODY)), good.url + "/good")
    assert f"the certificates of REQUESTS_CA_BUNDLE={path} cannot be read" in caught.value.message
    assert "PEM" in caught.value.advice[0]
    assert caught.value.exit_code == 10


def test_server_without_tls_is_reported(machine: Machine, good: ScriptedServer) -> None:
    reason = reason_of_failed_location(machine, good.url.replace("http:", "https:") + "/x", good)
    assert reason.startswith("TLS fails: ")


# Proxies


@pytest.mark.parametrize("tls", [False, True])
def test_proxy_that_asks_for_a_name_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tls: bool
) -> None:
    authority, context = certificate("127.0.0.1")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", bundle(authority, tmp_path))
    variable = "HTTPS_PROXY" if tls else "HTTP_PROXY"
    with scripted_server(context if tls else None) as server, proxy("me:hush") as between:
        url = server.at("/x", Answer(BODY))
        for given in ("", "me:wrong@"):
            monkeypatch.setenv(variable, f"http://{given}{between.address}")
            with pytest.raises(FetchError) as caught:
                Machine(tmp_path / "1").fetch(url)
            assert "the proxy requires a user name: HTTPS_PROXY=" in str(caught.value)
            assert "wrong" not in str(caught.value)
        assert (between.asked, server.log) == (2, [])
        monkeypatch.setenv(variable, f"http://me:hush@{between.address}")
        machine = Machine(tmp_path / "2")
        assert machine.fetch(url).path.read_bytes() == BODY
        assert between.log == [f"CONNECT {server.address}" if tls else f"GET {url}"]
        assert "hush" not in machine.output.getvalue()
        assert "Proxy-Authorization" not in server.log[0].headers
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        Machine(tmp_path / "3").fetch(url)
        assert len(between.log) == 1


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("status", [403, 502])
def test_refusing_proxy_is_skipped(
    tmp_path: Path, good: ScriptedServer, monkeypatch: pytest.MonkeyPatch, tls: bool, status: int
) -> None:
    machine = Machine(tmp_path, retries=1)
    with proxy(refuses=status) as between:
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:hush@{between.address}")
        monkeypatch.setenv("HTTP_PROXY", f"http://me:hush@{between.address}")
        scheme = "https" if tls else "http"
        reason_of_failed_location(machine, f"{scheme}://mirror.invalid/{FILE}", good)
        # Temporary failures are retried.
        assert between.asked == (1 if status == 403 else 2)
    said = machine.output.getvalue()
    assert str(status) in said or "refuses the connection" in said
    assert "hush" not in said
    assert "secret of the proxy" not in said


def test_missing_proxy_is_skipped(
    machine: Machine, good: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:hush@127.0.0.1:{held.getsockname()[1]}")
        reason = reason_of_failed_location(machine, f"https://mirror.invalid/{FILE}", good)
    assert reason == "its proxy does not answer or refuses the connection"


def test_silent_proxy_is_skipped(
    machine: Machine, good: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with raw_server(silent) as between:
        monkeypatch.setenv("HTTPS_PROXY", between.url)
        reason_of_failed_location(machine, f"https://mirror.invalid/{FILE}", good)


@pytest.mark.parametrize("value", ["http://", "http://[", "socks9://x", "http://me:hush@:x/", "::"])
def test_invalid_proxy_address_is_skipped(
    machine: Machine, good: ScriptedServer, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HTTPS_PROXY", value)
    reason_of_failed_location(machine, f"https://mirror.invalid/{FILE}", good)
    assert "hush" not in machine.output.getvalue()


# Captive portals, and servers that compress the file again

PAGES = [
    b"<!DOCTYPE html>\n<html><title>Log in</title>",
    b"\n  <HTML><body>Log in",
    b'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml">',
    b"<head><meta http-equiv=refresh>",
]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("kind", ["application/x-gzip", None])
def test_portal_page_that_claims_to_be_an_archive_is_skipped(
    machine: Machine, good: ScriptedServer, page: bytes, kind: str | None
) -> None:
    headers = {"Content-Type": kind} if kind else {}
    reason = reason_of_failed_location(
        machine, good.at("/portal", Answer(page, headers=headers)), good
    )
    assert "a captive portal or proxy?" in reason


def test_web_page_does_not_replace_received_data(machine: Machine, good: ScriptedServer) -> None:
    machine.place.parent.mkdir(parents=True)
    machine.place.with_name(FILE + ".part").write_bytes(BODY[:5000])
    reason_of_failed_location(machine, good.at("/portal", Answer(PAGES[0], ranges=False)), good)
    assert good.log[1].headers["Range"] == "bytes=5000-"


def test_portal_page_is_skipped(machine: Machine, good: ScriptedServer) -> None:
    reason = reason_of_failed_location(
        machine, good.at("/portal", Answer(PAGES[0], status=511)), good
    )
    assert reason == "it answered 511 Network Authentication Required"


@pytest.mark.parametrize("encoding", ["gzip", "x" * 500])
@pytest.mark.parametrize("size", [len(BODY), None])
def test_recompressed_body_is_skipped(
    machine: Machine, good: ScriptedServer, encoding: str, size: int | None
) -> None:
    packed = Answer(gzip.compress(BODY), headers={"Content-Encoding": encoding})
    bad = good.at("/packed", packed)
    assert machine.fetch(bad, good.url + "/good", size=size).location.endswith("/good")
    assert f"it compresses the file again (Content-Encoding: {encoding[:20]})" in (
        machine.output.getvalue()
    )


# Secrets

SECRET = "hu5h"
SECRETIVE = [
    f"http://me:{SECRET}@HOST/m",
    f"http://me:{SECRET}/{SECRET}@HOST/m",
    f"http://me:1{SECRET}#{SECRET}@HOST/m",
    f"http://me:{SECRET}?{SECRET}@HOST/m",
    f"http://me:{SECRET}@{SECRET}@HOST/m",
    f"http://me:12345/{SECRET}@HOST/m",
    f"http://me:{SECRET}",
    f"http://HOST/m?token={SECRET}",
    f"http://HOST/m?token={SECRET}@{SECRET}",
    f"http://HOST/m#{SECRET}",
    f"http://me:{SECRET}@[HOST/m",
    f"ftp://me:{SECRET}@HOST/m",
]


@pytest.mark.parametrize("mirror", SECRETIVE)
@pytest.mark.parametrize("fault", ["missing", "wrong"])
def test_secret_in_an_address_is_never_printed(
    tmp_path: Path, good: ScriptedServer, mirror: str, fault: str
) -> None:
    good.at(f"/m/thing/{FILE}", Answer(OTHER) if fault == "wrong" else Answer(status=404))
    address = mirror.replace("HOST", good.address)
    machine = Machine(tmp_path, mirrors=(address,), retries=0)
    with pytest.raises(RezbuildError) as caught:
        machine.fetch()
    told = str(caught.value) + machine.output.getvalue()
    assert SECRET not in told
    assert f"{address.partition(':')[0]}://" in told


def test_password_is_not_sent_to_another_host(tmp_path: Path, good: ScriptedServer) -> None:
    """Another port of the same machine is another host (RFC 9110, 15.4)."""
    with scripted_server() as mirror:
        away = {"Location": good.url + "/good"}
        mirror.at(f"/m/thing/{FILE}", Answer(status=302, headers=away))
        got = Machine(tmp_path, mirrors=(f"http://me:hush@{mirror.address}/m",)).fetch()
    assert got.path.read_bytes() == BODY
    assert "Authorization" in mirror.log[0].headers
    assert "Authorization" not in good.log[0].headers


def test_secret_is_not_logged_by_libraries(
    tmp_path: Path,
    good: ScriptedServer,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    """urllib3 logs addresses with queries, and a traceback of unreadable headers."""
    log = io.StringIO()
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [logging.StreamHandler(log)])
    before = root.level
    root.setLevel(logging.DEBUG)
    request.addfinalizer(lambda: root.setLevel(before))

    def script(connection: Connection) -> None:
        connection.request()
        connection.send(OK + b"no header\r\nContent-Length: 0\r\n\r\n")

    with raw_server(script) as bad:
        mirrors = tuple(f"{url}/m?token={SECRET}" for url in (bad.url, good.url))
        with pytest.raises(RezbuildError):
            Machine(tmp_path, mirrors=mirrors).fetch()
    assert len(bad.connections) + len(good.log) > 2
    assert SECRET not in log.getvalue()
    assert "Traceback" not in log.getvalue()


def test_reason_phrase_of_a_server_is_not_printed(machine: Machine, good: ScriptedServer) -> None:
    """They may be escape sequences, which a terminal obeys."""

    def script(connection: Connection) -> None:
        connection.request()
        connection.send(b"HTTP/1.1 404 \x1b[2Jall is well\r\nContent-Length: 0\r\n\r\n")

    with raw_server(script) as bad:
        assert reason_of_failed_location(machine, bad.url, good) == "it answered 404 Not Found"
    away = {"Location": "file:///\x1b]0;owned\x07"}
    machine.place.unlink()
    machine.output.truncate(0)
    reason_of_failed_location(machine, good.at("/bad", Answer(status=302, headers=away)), good)
    assert "\x1b" not in machine.output.getvalue()
    assert "\x07" not in machine.output.getvalue()
