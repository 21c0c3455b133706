"""Each route to a source, and each of its failures, with a real server on loopback."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from build_machine import BODY, FILE, OTHER, SHA256, Machine, release
from rich.console import Console
from scripted_server import Answer, ScriptedServer, scripted_server

from rezbuild.catalogue.model import Archive, Release
from rezbuild.errors import ChecksumError, FetchError, MachineError
from rezbuild.settings import Settings
from rezbuild.sources.fetch import Fetcher

ROOT = Path(__file__).parents[3]
OFFLINE = "skipped: REZBUILD_OFFLINE is set"

IN_A_PROCESS = """
import json, resource, sys
from pathlib import Path
from rezbuild.catalogue.model import Archive, Release
from rezbuild.errors import RezbuildError
from rezbuild.sources.fetch import Fetcher
from rezbuild.settings import Settings

told = json.loads(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (told["most"], told["most"]))
archive = Archive("thing-1.0.tar.gz", told["sha256"], told["size"], tuple(told["urls"]))
release = Release("thing", "1.0", (archive,), (), (), "MIT")
try:
    got = Fetcher(Settings(cache=Path(told["cache"]), retries=1), backoff=0.01).fetch(release)
except RezbuildError as error:
    print(type(error).__name__, error)
else:
    print(got.location)
"""


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as running:
        yield running


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "a cache")


@pytest.fixture
def closed_port() -> Iterator[str]:
    """Reserve an address where no process listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


def put(folder: Path, body: bytes = BODY) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE
    path.write_bytes(body)
    return path


def in_a_process(
    cache: Path, *urls: str, most: int = 10**9, **environ: str
) -> subprocess.Popen[str]:
    told = {"cache": str(cache), "urls": urls, "sha256": SHA256, "size": len(BODY), "most": most}
    return subprocess.Popen(
        [sys.executable, "-c", IN_A_PROCESS, json.dumps(told)],
        cwd=ROOT,
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# Successful downloads


@pytest.mark.parametrize("framing", ["length", "chunked", "none"])
@pytest.mark.parametrize("size", [len(BODY), None])
def test_archive_is_downloaded(
    server: ScriptedServer, machine: Machine, framing: str, size: int | None
) -> None:
    url = server.at("/" + FILE, Answer(BODY, framing=framing))
    got = machine.fetch(url, size=size)
    assert got.path == machine.place
    assert got.location == url
    assert got.path.read_bytes() == BODY
    assert machine.file_names() == {FILE}
    assert f"fetch {FILE} from {url}" in machine.output.getvalue()
    assert "  ok, 300.0 kB in " in machine.output.getvalue()


def test_download_on_a_terminal_shows_progress(server: ScriptedServer, tmp_path: Path) -> None:
    url = server.at("/" + FILE, Answer(status=503), Answer(BODY))
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    fetcher = Fetcher(Settings(cache=tmp_path), console, backoff=0.01)
    assert fetcher.fetch(release(url)).path.read_bytes() == BODY


def test_cache_hit_makes_no_request(server: ScriptedServer, machine: Machine) -> None:
    url = server.at("/" + FILE, Answer(BODY))
    put(machine.place.parent)
    assert machine.fetch(url).location == "cache"
    assert server.log == []


def test_damaged_cache_is_replaced(server: ScriptedServer, machine: Machine) -> None:
    url = server.at("/" + FILE, Answer(BODY))
    put(machine.place.parent, OTHER)
    assert machine.fetch(url).location == url
    assert machine.place.read_bytes() == BODY
    assert "was damaged; it is removed" in machine.output.getvalue()


def test_any_archive_of_a_release_is_accepted(server: ScriptedServer, machine: Machine) -> None:
    first = Archive("first.tar.gz", "0" * 64, None, (server.at("/first", Answer(status=404)),))
    second = Archive(FILE, SHA256, None, (server.at("/second", Answer(BODY)),))
    got = machine.fetcher.fetch(Release("thing", "1.0", (first, second), (), (), "MIT"))
    assert got.archive is second
    assert got.path == machine.place


def test_gzip_encoding_of_an_archive_is_kept(server: ScriptedServer, tmp_path: Path) -> None:
    packed = gzip.compress(b"text")
    url = server.at("/" + FILE, Answer(packed, headers={"Content-Encoding": "gzip"}))
    archive = Archive(FILE, hashlib.sha256(packed).hexdigest(), len(packed), (url,))
    got = Machine(tmp_path).fetcher.fetch(Release("thing", "1.0", (archive,), (), (), "MIT"))
    assert got.path.read_bytes() == packed
    assert server.log[0].headers["Accept-Encoding"] == "identity"


# Wrong bytes


@pytest.mark.parametrize("framing", ["length", "chunked", "none"])
@pytest.mark.parametrize("size", [len(BODY), None])
def test_wrong_checksum_stops_the_fetch(
    server: ScriptedServer, machine: Machine, framing: str, size: int | None
) -> None:
    bad = server.at("/bad", Answer(OTHER, framing=framing))
    good = server.at("/good", Answer(BODY))
    with pytest.raises(ChecksumError) as caught:
        machine.fetch(bad, good, size=size)
    assert server.paths() == ["/bad"]
    text = str(caught.value)
    assert bad in text
    assert SHA256 in text
    assert hashlib.sha256(OTHER).hexdigest() in text
    assert machine.file_names() == set()


def test_complete_but_short_body_is_wrong(server: ScriptedServer, machine: Machine) -> None:
    bad = server.at("/bad", Answer(BODY[:1000]))
    with pytest.raises(ChecksumError, match=r"got .* 1000 bytes"):
        machine.fetch(bad)
    assert len(server.log) == 1


def test_overlong_body_is_cut_off(server: ScriptedServer, machine: Machine) -> None:
    bad = server.at("/bad", Answer(BODY * 20, stalls=True))
    good = server.at("/good", Answer(BODY))
    begin = time.monotonic()
    with pytest.raises(ChecksumError, match=f"got more than {len(BODY)} bytes"):
        machine.fetch(bad, good)
    assert time.monotonic() - begin < 1.5
    assert server.paths() == ["/bad"]
    assert machine.file_names() == set()


def test_right_sum_and_wrong_size(server: ScriptedServer, machine: Machine) -> None:
    url = server.at("/" + FILE, Answer(BODY))
    with pytest.raises(ChecksumError):
        machine.fetch(url, size=len(BODY) + 1)


# Incomplete bodies


@pytest.mark.parametrize("validator", ["ETag", "Last-Modified", None])
def test_cut_body_is_resumed(
    server: ScriptedServer, machine: Machine, validator: str | None
) -> None:
    headers = {validator: '"v1"'} if validator else {}
    url = server.at(
        "/" + FILE, Answer(BODY, sent=100_000, headers=headers), Answer(BODY, headers=headers)
    )
    assert machine.fetch(url).path.read_bytes() == BODY
    assert len(server.log) == 2
    assert server.log[1].headers["Range"] == "bytes=100000-"
    assert server.log[1].headers.get("If-Range") == ('"v1"' if validator else None)


def test_weak_etag_is_not_sent_back(server: ScriptedServer, machine: Machine) -> None:
    cut = Answer(BODY, sent=100_000, headers={"ETag": 'W/"v1"'})
    machine.fetch(server.at("/" + FILE, cut, Answer(BODY)))
    assert "If-Range" not in server.log[1].headers


@pytest.mark.parametrize("framing", ["chunked", "none"])
def test_cut_body_without_length_is_resumed(
    server: ScriptedServer, machine: Machine, framing: str
) -> None:
    url = server.at("/" + FILE, Answer(BODY, sent=100_000, framing=framing), Answer(BODY))
    assert machine.fetch(url).path.read_bytes() == BODY
    assert len(server.log) == 2


def test_server_without_ranges_starts_from_zero(server: ScriptedServer, machine: Machine) -> None:
    url = server.at("/" + FILE, Answer(BODY, sent=100_000), Answer(BODY, ranges=False))
    assert machine.fetch(url).path.read_bytes() == BODY
    assert len(server.log) == 2


@pytest.mark.parametrize("shift", [-5, 5, 10**6])
def test_range_from_elsewhere_starts_from_zero(
    server: ScriptedServer, machine: Machine, shift: int
) -> None:
    url = server.at("/" + FILE, Answer(BODY, sent=100_000), Answer(BODY, shift=shift), Answer(BODY))
    assert machine.fetch(url).path.read_bytes() == BODY
    assert [asked.headers.get("Range") for asked in server.log] == [None, "bytes=100000-", None]


def test_resumed_part_with_a_wrong_checksum_starts_again(
    server: ScriptedServer, machine: Machine
) -> None:
    url = server.at("/" + FILE, Answer(OTHER[::-1], sent=100_000), Answer(BODY))
    assert machine.fetch(url).path.read_bytes() == BODY
    assert [asked.headers.get("Range") for asked in server.log] == [None, "bytes=100000-", None]


def test_second_wrong_checksum_stops_the_fetch(server: ScriptedServer, machine: Machine) -> None:
    bad = server.at("/bad", Answer(OTHER, sent=100_000), Answer(OTHER))
    good = server.at("/good", Answer(BODY))
    with pytest.raises(ChecksumError):
        machine.fetch(bad, good)
    assert server.paths() == ["/bad"] * 3


def test_part_of_a_killed_process_is_resumed(server: ScriptedServer, machine: Machine) -> None:
    url = server.at("/" + FILE, Answer(BODY, sent=100_000, stalls=True), Answer(BODY))
    killed = in_a_process(machine.cache, url)
    part = machine.place.with_name(FILE + ".part")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and not (part.exists() and part.stat().st_size):
        time.sleep(0.02)
    killed.kill()
    killed.communicate()
    here = part.stat().st_size
    assert 0 < here <= 100_000
    assert machine.fetch(url).path.read_bytes() == BODY
    assert server.log[1].headers["Range"] == f"bytes={here}-"


@pytest.mark.parametrize("left", [OTHER, BODY * 2, b"", BODY[1:1000]])
@pytest.mark.parametrize("size", [len(BODY), None])
def test_useless_part_is_discarded(
    server: ScriptedServer, machine: Machine, left: bytes, size: int | None
) -> None:
    put(machine.place.parent, left).rename(machine.place.with_name(FILE + ".part"))
    url = server.at("/" + FILE, Answer(BODY))
    assert machine.fetch(url, size=size).path.read_bytes() == BODY
    assert machine.file_names() == {FILE}


def test_complete_part_needs_no_transfer(server: ScriptedServer, machine: Machine) -> None:
    put(machine.place.parent).rename(machine.place.with_name(FILE + ".part"))
    assert machine.fetch(server.at("/" + FILE, Answer(BODY))).path.read_bytes() == BODY
    assert server.log == []


def test_body_that_is_always_cut_fails(server: ScriptedServer, tmp_path: Path) -> None:
    url = server.at("/" + FILE, Answer(BODY, sent=100_000, ranges=False))
    with pytest.raises(FetchError, match="was lost") as caught:
        Machine(tmp_path, retries=2).fetch(url)
    assert len(server.log) == 3
    assert "(3 times)" in caught.value.tried[-1]


def test_stalled_server_gives_way_to_the_next_url(server: ScriptedServer, tmp_path: Path) -> None:
    slow = server.at("/slow", Answer(BODY, sent=1000, stalls=True))
    good = server.at("/good", Answer(BODY))
    machine = Machine(tmp_path, read_timeout=0.3, retries=1)
    assert machine.fetch(slow, good).location == good
    assert server.paths() == ["/slow", "/slow", "/good"]
    assert "it stopped sending" in machine.output.getvalue()


# Servers and hosts that refuse


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_client_error_is_not_retried(server: ScriptedServer, machine: Machine, status: int) -> None:
    gone = server.at("/gone", Answer(status=status))
    good = server.at("/good", Answer(BODY))
    assert machine.fetch(gone, good).location == good
    assert server.paths() == ["/gone", "/good"]


def test_busy_server_is_retried(server: ScriptedServer, machine: Machine) -> None:
    url = server.at("/" + FILE, Answer(status=503), Answer(status=500), Answer(BODY))
    assert machine.fetch(url).path.read_bytes() == BODY
    assert len(server.log) == 3
    said = machine.output.getvalue()
    assert re.search(r"(?m)^  127\.0\.0\.1\S*: it answered 503 Service Unavailable; retry in", said)


def test_retry_after_is_obeyed(server: ScriptedServer, machine: Machine) -> None:
    url = server.at("/" + FILE, Answer(status=429, headers={"Retry-After": "1"}), Answer(BODY))
    begin = time.monotonic()
    machine.fetch(url)
    assert 1 <= time.monotonic() - begin < 3


def test_invalid_retry_after_is_ignored(server: ScriptedServer, machine: Machine) -> None:
    machine.fetch(
        server.at("/" + FILE, Answer(status=429, headers={"Retry-After": "soon"}), Answer(BODY))
    )
    assert len(server.log) == 2


def test_refused_connection_is_reported(
    server: ScriptedServer, machine: Machine, closed_port: str
) -> None:
    dead = f"http://{closed_port}/{FILE}"
    got = machine.fetch(dead, f"{dead}?second", server.at("/good", Answer(BODY)))
    assert got.location.endswith("/good")
    said = machine.output.getvalue()
    assert said.count("it refuses connections; retry") == 3
    assert said.count("it is not asked again") == 1


def test_unresolvable_host_is_reported(machine: Machine) -> None:
    begin = time.monotonic()
    with pytest.raises(FetchError) as caught:
        machine.fetch(f"https://nowhere.invalid/a/{FILE}", f"https://nowhere.invalid/b/{FILE}")
    assert time.monotonic() - begin < 5
    first, second = caught.value.tried[-2:]
    assert "its host name does not resolve (2 times)" in first
    assert "nowhere.invalid did not answer before" in second
    advice = "\n".join(caught.value.advice)
    assert f"{FILE} with sha256 {SHA256}" in advice
    assert str(machine.place) in advice
    assert "rezbuild fetch --to" in advice


def test_web_page_is_not_an_archive(server: ScriptedServer, machine: Machine) -> None:
    page = Answer(b"<html>log in", headers={"Content-Type": "text/html; charset=utf-8"})
    good = server.at("/good", Answer(BODY))
    assert machine.fetch(server.at("/portal", page), good).location == good
    assert "a captive portal or proxy?" in machine.output.getvalue()


def test_web_page_keeps_the_part(server: ScriptedServer, machine: Machine) -> None:
    put(machine.place.parent, BODY[:5000]).rename(machine.place.with_name(FILE + ".part"))
    page = Answer(b"<html>", headers={"Content-Type": "text/html"}, ranges=False)
    machine.fetch(server.at("/portal", page), server.at("/good", Answer(BODY)))
    assert server.log[1].headers["Range"] == "bytes=5000-"


def test_empty_answer_and_redirect_loop_are_skipped(
    server: ScriptedServer, machine: Machine
) -> None:
    loop = server.at("/loop", Answer(status=302, headers={"Location": "/loop"}))
    with pytest.raises(FetchError) as caught:
        machine.fetch(server.at("/empty", Answer(status=204)), loop)
    assert "it answered 204" in caught.value.tried[-2]
    assert "TooManyRedirects" in caught.value.tried[-1]


def test_redirect_is_followed(server: ScriptedServer, machine: Machine) -> None:
    server.at("/there", Answer(BODY))
    url = server.at("/" + FILE, Answer(status=302, headers={"Location": "/there"}))
    assert machine.fetch(url).location == url


def test_redirect_without_an_address_is_skipped(server: ScriptedServer, machine: Machine) -> None:
    url = server.at("/" + FILE, Answer(status=302, headers={"Location": "http://["}))
    with pytest.raises(FetchError) as caught:
        machine.fetch(url)
    assert "cannot be used (ValueError)" in str(caught.value)


def test_redirect_to_another_scheme_is_refused(server: ScriptedServer, machine: Machine) -> None:
    away = {"Location": "ftp://me:secret@127.0.0.1/x?token=secret"}
    url = server.at("/" + FILE, Answer(status=302, headers=away))
    with pytest.raises(FetchError, match=r"redirects to ftp://127\.0\.0\.1/x, which") as caught:
        machine.fetch(url)
    assert "secret" not in str(caught.value)


def test_redirect_from_https_to_http_is_refused(server: ScriptedServer, tmp_path: Path) -> None:
    plain = server.at("/" + FILE, Answer(BODY))
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    trusted = {"REQUESTS_CA_BUNDLE": str(bundle), "NO_PROXY": "127.0.0.1"}
    with scripted_server(context) as safe:
        down = safe.at("/down", Answer(status=301, headers={"Location": plain}))
        good = safe.at("/good", Answer(BODY))
        refused, _ = in_a_process(tmp_path / "1", down, **trusted).communicate()
        fetched, _ = in_a_process(tmp_path / "2", good, **trusted).communicate()
    assert f"redirects to {plain}, which is refused" in refused
    assert server.log == []
    assert fetched.strip() == good


def test_untrusted_certificate_is_refused(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with scripted_server(context) as server, pytest.raises(FetchError, match="not trusted"):
        Machine(tmp_path).fetch(server.at("/" + FILE, Answer(BODY)))
    assert server.log == []


# Mirrors and offline


@pytest.mark.parametrize("path", [f"/m/thing/{FILE}", f"/m/{FILE}"])
def test_http_mirror_comes_first(server: ScriptedServer, tmp_path: Path, path: str) -> None:
    server.at(path, Answer(BODY))
    machine = Machine(tmp_path, mirrors=(f"{server.url}/m/",))
    assert machine.fetch(f"{server.url}/upstream").location == f"{server.url}/m/"
    assert "/upstream" not in server.paths()


def test_mirror_without_the_file_is_skipped(server: ScriptedServer, tmp_path: Path) -> None:
    url = server.at("/upstream", Answer(BODY))
    machine = Machine(
        tmp_path, mirrors=(f"{server.url}/m", str(tmp_path / "none"), "ftp://x/", "http://[")
    )
    assert machine.fetch(url).location == url
    assert server.paths() == [f"/m/thing/{FILE}", f"/m/{FILE}", "/upstream"]


def test_credentials_stay_secret(server: ScriptedServer, tmp_path: Path) -> None:
    mirror = f"http://me:hush@{server.address}/m?token=hush"
    machine = Machine(tmp_path, mirrors=(mirror,))
    with pytest.raises(FetchError) as missing:
        machine.fetch()
    server.at(f"/m/thing/{FILE}", Answer(OTHER))
    with pytest.raises(ChecksumError) as wrong:
        machine.fetch()
    server.at(f"/m/thing/{FILE}", Answer(BODY))
    got = machine.fetch()
    assert got.location == f"http://{server.address}/m"
    assert server.log[-1].headers["Authorization"].startswith("Basic ")
    assert server.log[-1].path == f"/m/thing/{FILE}?token=hush"
    for text in (str(missing.value), str(wrong.value), machine.output.getvalue()):
        assert "hush" not in text
        assert server.address in text


@pytest.mark.parametrize("as_url", [False, True])
@pytest.mark.parametrize("below", ["thing", "."])
def test_offline_fetch_uses_a_mirror_folder(tmp_path: Path, below: str, as_url: bool) -> None:
    folder = tmp_path / "my mirror"
    put(folder / below)
    mirror = folder.as_uri() if as_url else str(folder)
    got = Machine(tmp_path / "cache", mirrors=(mirror,), offline=True).fetch()
    assert got.location == str(folder)
    assert got.path.read_bytes() == BODY


def test_wrong_file_in_a_mirror_folder_stops_the_fetch(
    server: ScriptedServer, tmp_path: Path
) -> None:
    wrong = put(tmp_path / "mirror", OTHER)
    machine = Machine(tmp_path / "cache", mirrors=(str(tmp_path / "mirror"),))
    with pytest.raises(ChecksumError, match=str(wrong)):
        machine.fetch(server.at("/" + FILE, Answer(BODY)))
    assert server.log == []
    assert wrong.exists()


def test_probe_downloads_nothing(server: ScriptedServer, machine: Machine) -> None:
    gone = server.at("/gone", Answer(status=404))
    good = server.at("/good", Answer(BODY, sent=200_000, stalls=True))
    machine.fetcher.probe(release(gone, good))
    assert server.paths() == ["/gone", "/good"]
    assert not machine.cache.exists()
    with pytest.raises(FetchError) as caught:
        machine.fetcher.probe(release(gone))
    assert caught.value.tried == (f"{gone}: it answered 404 Not Found",)


def test_probe_asks_no_server_for_a_local_source(server: ScriptedServer, machine: Machine) -> None:
    put(machine.place.parent)
    machine.fetcher.probe(release(server.at("/good", Answer(BODY))))
    assert server.paths() == []


def test_probe_looks_into_mirror_folders_without_a_network(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "cache", mirrors=(str(tmp_path / "mirror"),), offline=True)
    wanted = release("https://upstream.invalid/x", size=None)
    with pytest.raises(FetchError, match="could not be downloaded"):
        machine.fetcher.probe(wanted)
    put(tmp_path / "mirror")
    machine.fetcher.probe(wanted)


def test_offline_fetch_without_sources_fails(server: ScriptedServer, tmp_path: Path) -> None:
    url = server.at("/" + FILE, Answer(BODY))
    machine = Machine(tmp_path, offline=True, mirrors=(server.url,))
    with pytest.raises(FetchError) as caught:
        machine.fetch(url)
    assert caught.value.tried[-2:] == (f"{server.url}: {OFFLINE}", f"{url}: {OFFLINE}")
    assert "unset REZBUILD_OFFLINE" in caught.value.advice[-1]
    assert server.log == []


def test_offline_fetch_with_a_damaged_cache_fails(tmp_path: Path) -> None:
    machine = Machine(tmp_path, offline=True)
    put(machine.place.parent, OTHER)
    with pytest.raises(FetchError, match="was damaged"):
        machine.fetch()


def test_offline_fetch_uses_the_cache(tmp_path: Path) -> None:
    machine = Machine(tmp_path, offline=True)
    put(machine.place.parent)
    assert machine.fetch("https://nowhere.invalid/x").location == "cache"


def test_fetched_folder_is_a_mirror(server: ScriptedServer, tmp_path: Path) -> None:
    folder = tmp_path / "to carry"
    connected = Machine(tmp_path / "1")
    wanted = release(server.at("/" + FILE, Answer(BODY)))
    for _ in range(2):
        got = connected.fetcher.mirror(wanted, folder)
        assert got.path == folder / "thing" / FILE
    assert len(server.log) == 1
    assert [path.name for path in got.path.parent.iterdir()] == [FILE]
    alone = Machine(tmp_path / "2", mirrors=(str(folder),), offline=True)
    assert alone.fetch().path.read_bytes() == BODY


def test_leftovers_of_killed_copies_are_removed_after_a_day(tmp_path: Path) -> None:
    folder = tmp_path / "mirror/thing"
    folder.mkdir(parents=True)
    now = time.time()
    for name, age in (("old", 90_000), ("from the future", -90_000), ("new", 60)):
        left = folder / f".{FILE}.{name}.part"
        left.touch()
        os.utime(left, (now - age, now - age))
    (tmp_path / FILE).write_bytes(BODY)
    machine = Machine(tmp_path / "cache", mirrors=(str(tmp_path),), offline=True)
    machine.fetcher.mirror(release(), tmp_path / "mirror")
    assert {path.name for path in folder.iterdir()} == {FILE, f".{FILE}.new.part"}


# Folders


@pytest.mark.parametrize("where", [".", "sources", "sources/thing"])
def test_file_instead_of_the_cache_is_an_error(
    server: ScriptedServer, machine: Machine, where: str
) -> None:
    at = machine.cache / where
    at.parent.mkdir(parents=True, exist_ok=True)
    at.write_text("in the way")
    with pytest.raises(MachineError, match="cannot be used") as caught:
        machine.fetch(server.at("/" + FILE, Answer(BODY)))
    assert "REZBUILD_CACHE" in caught.value.advice[0]
    assert server.log == []


def test_file_instead_of_the_mirror_is_an_error(
    server: ScriptedServer, machine: Machine, tmp_path: Path
) -> None:
    (tmp_path / "to").write_text("in the way")
    with pytest.raises(MachineError, match="cannot be used"):
        machine.fetcher.mirror(release(server.at("/" + FILE, Answer(BODY))), tmp_path / "to")


def test_full_disk_is_an_error(server: ScriptedServer, machine: Machine) -> None:
    """A process may not write files of more than 100 kB, as on a full disk."""
    url = server.at("/" + FILE, Answer(BODY))
    out, said = in_a_process(machine.cache, url, most=100_000).communicate()
    assert "MachineError the cache" in out
    assert "REZBUILD_CACHE" in out
    assert "Traceback" not in said


def test_two_processes_download_once(server: ScriptedServer, machine: Machine) -> None:
    url = server.at("/" + FILE, Answer(BODY, pause=3))
    both = [in_a_process(machine.cache, url) for _ in range(2)]
    outputs = [process.communicate() for process in both]
    assert sorted(out.strip() for out, _ in outputs) == sorted(["cache", url]), outputs
    assert len(server.log) == 1
    assert sum("waiting for another rezbuild" in said for _, said in outputs) == 1
