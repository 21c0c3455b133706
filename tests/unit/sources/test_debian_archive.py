"""The Debian archive of this machine, used without root."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import os
import shutil
import subprocess
import sys
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from rich.console import Console

from rezbuild.catalogue.model import Archive, DistributionFile, Release
from rezbuild.errors import FetchError
from rezbuild.files import cache_lock
from rezbuild.settings import Settings
from rezbuild.sources.debian_archive import SourceArchive
from rezbuild.sources.fetch import Fetcher

ROOT = Path(__file__).parents[3]
WANTED = DistributionFile("zlib", "zlib_1.3.dfsg+really1.3.1.orig.tar.gz")
SHA256 = "60dd315c07f616887caa029408308a018ace66e3d142726a97db164b3b8f69fb"
SIZE = 1325737

needs_apt = pytest.mark.skipif(not shutil.which("apt-get"), reason="no apt-get here")

WITHOUT_APT = """
import sys
import time
from pathlib import Path
from rezbuild.build import toolchain
from rezbuild.catalogue.model import DistributionFile
from rezbuild.sources.debian_archive import SourceArchive
from rezbuild.errors import FetchError
from rezbuild.settings import Settings

folder = Path(sys.argv[1])
toolchain.SYSTEM_PATH = str(folder)
try:
    SourceArchive(Settings(cache=folder), print).fetch(DistributionFile("a", "b"), "0" * 64, folder)
except FetchError as error:
    print(error)
"""

ADDRESSES = """
import sys
import time
from pathlib import Path
from rezbuild.sources.debian_archive import SourceArchive
from rezbuild.settings import Settings

base = Path(sys.argv[1])
(base / "debian/none/partial").mkdir(parents=True)
print(list(SourceArchive(Settings(cache=base), print)._repositories()))
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a shared cache, with a space in its name, so that the lists are read once."""
    return tmp_path_factory.mktemp("a cache")


def run(code: str, folder: Path, **environ: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        cwd=ROOT,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@needs_apt
def test_real_source_is_fetched(cache: Path, tmp_path: Path) -> None:
    said: list[str] = []
    path = SourceArchive(Settings(cache=cache), said.append).fetch(WANTED, SHA256, tmp_path)
    assert (cache / cache_lock.MARKER).exists()  # so that `rezbuild cache clean` works there
    assert path == tmp_path / WANTED.file
    assert path.stat().st_size == SIZE
    assert hashlib.sha256(path.read_bytes()).hexdigest() == SHA256


@needs_apt
def test_debian_is_one_of_the_sources(cache: Path) -> None:
    said = io.StringIO()
    archive = Archive("renamed.tar.gz", SHA256, SIZE, ("https://nowhere.invalid/x",), WANTED)
    fetcher = Fetcher(Settings(cache=cache), Console(file=said), backoff=0.01)
    got = fetcher.fetch(Release("thing", "1.3.1", (archive,), (), (), "Zlib"))
    assert got.location == "Debian source archive"
    assert got.path == cache / "sources/thing/renamed.tar.gz"
    assert not list(cache.glob("apt-*"))


@needs_apt
@pytest.mark.parametrize(
    ("file", "sha256"),
    [(WANTED.file, "0" * 64), ("other.orig.tar.gz", SHA256), ("none.orig.tar.gz", "1" * 64)],
)
def test_checksum_that_no_suite_has_is_an_error(
    cache: Path, tmp_path: Path, file: str, sha256: str
) -> None:
    archive = SourceArchive(Settings(cache=cache), print)
    with pytest.raises(FetchError, match="no suite has"):
        archive.fetch(DistributionFile("zlib", file), sha256, tmp_path)
    assert list(tmp_path.iterdir()) == []


@needs_apt
def test_apt_state_of_the_machine_is_unchanged(cache: Path, tmp_path: Path) -> None:
    watched = [Path("/var/lib/apt/lists"), Path("/var/cache/apt"), Path("/etc/apt")]
    before = [folder.stat().st_mtime_ns for folder in watched]
    SourceArchive(Settings(cache=cache), print).fetch(WANTED, SHA256, tmp_path)
    assert [folder.stat().st_mtime_ns for folder in watched] == before


@needs_apt
def test_machine_without_lists_uses_its_configuration(tmp_path: Path) -> None:
    """A fresh container image has no lists, only /etc/apt."""
    (tmp_path / "lists/partial").mkdir(parents=True)
    config = tmp_path / "empty.conf"
    config.write_text(f'Dir::State::lists "{tmp_path}/lists";\n')
    as_it_is = run(ADDRESSES, tmp_path / "1")
    assert as_it_is.strip() != "[]"
    assert run(ADDRESSES, tmp_path / "2", APT_CONFIG=str(config)) == as_it_is


@needs_apt
def test_unreachable_archive_is_reported(tmp_path: Path) -> None:
    """The reason is cached."""
    sources = tmp_path / "sources.list"
    sources.write_text("deb http://me:hush@127.0.0.1:9/debian stable main\n")
    config = tmp_path / "apt.conf"
    config.write_text(f'Dir::Etc::sourcelist "{sources}"; Dir::Etc::sourceparts "/dev/null";\n')
    code = WITHOUT_APT.replace("cache=folder", "cache=folder, retries=0")
    code = code.replace("toolchain.SYSTEM_PATH = str(folder)\n", "")
    out = run(code, tmp_path / "cache", APT_CONFIG=str(config))
    assert "downloaded no source list" in out
    assert "hush" not in out


def test_missing_apt_is_skipped(tmp_path: Path) -> None:
    assert run(WITHOUT_APT, tmp_path).strip() == "apt-get is not installed"
    assert list(tmp_path.iterdir()) == []


def test_lists_from_the_future_are_stale(tmp_path: Path) -> None:
    """The clock has been set back since."""
    archive = SourceArchive(Settings(cache=tmp_path), print)
    assert archive._age() == float("inf")
    archive._stamp.parent.mkdir(parents=True)
    archive._stamp.touch()
    assert archive._age() < 60
    ahead = time.time() + 10**6
    os.utime(archive._stamp, (ahead, ahead))
    assert archive._age() > 10**5


# The machine's own apt configuration is ignored; {more} has other options.
CONFIG = """\
Dir::Etc::parts "/dev/null";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::sourcelist "{sources}";
{more}
"""
EXPIRED = "Sat, 01 Jan 2022 00:00:00 UTC"
LATER = "Sat, 01 Jan 2050 00:00:00 UTC"
# apt then reads unsigned lists, and prints "W:" instead of "E:".
UNSIGNED = 'Acquire::AllowInsecureRepositories "true";'


class QuietHandler(SimpleHTTPRequestHandler):
    """A server of a folder that logs nothing."""

    def log_message(self, *_: object) -> None:
        pass


def suite(root: Path, name: str, until: str) -> None:
    """Make an unsigned suite with one source package."""
    folder = root / "dists" / name
    entries = {
        "main/binary-amd64/Packages": b"",
        "main/source/Sources": b"Package: thing\nVersion: 1.0-1\nDirectory: pool\n"
        b"Checksums-Sha256:\n %s 5 thing_1.0.orig.tar.gz\n\n" % (b"0" * 64),
    }
    release = (
        f"Origin: Debian\nSuite: {name}\nCodename: {name}\nDate: Fri, 01 Jan 2021 00:00:00 UTC\n"
        f"Valid-Until: {until}\nComponents: main\nArchitectures: amd64\nSHA256:\n"
    )
    for place, data in entries.items():
        (folder / place).parent.mkdir(parents=True)
        (folder / place).write_bytes(data)
        release += f" {hashlib.sha256(data).hexdigest()} {len(data)} {place}\n"
    (folder / "Release").write_text(release)


@pytest.fixture
def serve(tmp_path, monkeypatch):
    """Serve an archive, make it apt's only one, and return its folder."""
    root = tmp_path / "archive"
    with contextlib.ExitStack() as stack:

        def run(more: str, **suites: str) -> Path:
            for name, until in suites.items():
                suite(root, name, until)
            handler = functools.partial(QuietHandler, directory=str(root))
            server = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), handler))
            threading.Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.shutdown)
            sources = tmp_path / "sources.list"
            sources.write_text(f"deb http://127.0.0.1:{server.server_port}/ stable main\n")
            config = tmp_path / "apt.conf"
            config.write_text(CONFIG.format(sources=sources, more=more))
            monkeypatch.setenv("APT_CONFIG", str(config))
            return root

        yield run


@pytest.fixture
def ask(serve, tmp_path):
    """Ask an archive twice for a missing source, and return the second error."""

    def run(more: str, **suites: str) -> str:
        serve(more, **suites)
        for _ in range(2):
            archive = SourceArchive(Settings(cache=tmp_path / "cache", retries=0), print)
            with pytest.raises(FetchError) as caught:
                archive.fetch(DistributionFile("thing", "thing.tar"), "1" * 64, tmp_path)
        return caught.value.message

    return run


@needs_apt
def test_expired_list_is_reported_with_the_output_of_apt(ask):
    message = ask(UNSIGNED, stable=EXPIRED)
    assert "downloaded no source list: E: Release file for http://127.0.0.1" in message
    assert "/dists/stable/Release is expired (invalid since " in message
    assert "does not have a Release file" not in message


@needs_apt
def test_unsigned_list_is_reported_with_the_output_of_apt(ask):
    message = ask("", stable=LATER)
    assert "downloaded no source list: E: The repository 'http://127.0.0.1" in message
    assert message.endswith(" stable Release' is not signed.")


@needs_apt
def test_refused_list_is_named_if_no_other_has_the_source(ask):
    """The second search, with fresh lists, names it too."""
    message = ask(UNSIGNED, stable=LATER, oldstable=EXPIRED)
    assert message.startswith("no suite has thing.tar with sha256 1111")
    assert "; apt refused: E: Release file for http://127.0.0.1" in message
    assert "/dists/oldstable/Release is expired (invalid since " in message
    assert "/dists/stable/" not in message


@needs_apt
def test_probe_finds_only_files_that_the_archive_still_has(serve, tmp_path):
    """Archives list files that they have deleted meanwhile."""
    pool = serve(UNSIGNED, stable=LATER) / "pool"
    pool.mkdir()
    (pool / "thing_1.0.orig.tar.gz").write_bytes(b"bytes")
    listed = DistributionFile("thing", "thing_1.0.orig.tar.gz")
    release = Release("thing", "1.0", (Archive("x", "0" * 64, 5, (), listed),), (), (), "MIT")
    fetcher = Fetcher(Settings(cache=tmp_path / "cache", retries=0), Console(file=io.StringIO()))
    fetcher.probe(release)
    assert not (tmp_path / "cache/sources").exists()
    (pool / "thing_1.0.orig.tar.gz").unlink()
    with pytest.raises(FetchError) as caught:
        fetcher.probe(release)
    assert caught.value.tried == ("Debian source archive: it answered 404 Not Found",)
