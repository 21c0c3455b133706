"""A build uses no network, and runs only the toolchain and programs of its sources."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from host_tools import require_tool
from moves import PYTHON, REQUEST
from sample_packages import Samples
from studio import ROOT, Studio

pytestmark = pytest.mark.e2e

# The host's toolchain, with the programs that the compiler starts.
SYSTEM = ("/usr/bin/", "/bin/", "/usr/sbin/", "/sbin/", "/usr/lib/gcc/", "/usr/libexec/gcc/")
CALL = re.compile(r'(execve|chdir)\("((?:[^"\\]|\\.)*)".* = 0')
SENT = re.compile(r"\w+\(.*\b(AF_INET6?|AF_PACKET)\b.*")


def command_without_network() -> list[str]:
    """Return a command prefix that removes the network, also the loopback."""
    for start in (["unshare", "--net"], ["unshare", "--map-root-user", "--net"]):
        if (
            shutil.which("unshare")
            and subprocess.run([*start, "true"], check=False).returncode == 0
        ):
            return [*start, "--"]
    pytest.skip("no network namespaces: neither as root nor by `unshare --map-root-user`")


@pytest.fixture
def listener() -> Iterator[int]:
    """Listen on a port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def build_without_network(studio: Studio, listener: int, *words: str | Path) -> str:
    start = command_without_network()
    code = f"import socket; socket.create_connection(('127.0.0.1', {listener}), 5)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    done = studio.run(*start, sys.executable, "-c", code, ok=False)
    assert "Network is unreachable" in done.stderr
    return studio.run(*start, sys.executable, "-m", "rezbuild", "build", *words).stdout


def test_build_works_without_a_network(studio, samples, listener):
    """rezbuild has fetched the sources before; REZBUILD_OFFLINE is not set."""
    studio.rezbuild("fetch", "low", "--recipes", samples.recipes)
    studio.env |= {"REZBUILD_OFFLINE": "0", "REZBUILD_MIRRORS": ""}
    out = build_without_network(studio, listener, "low", "--recipes", samples.recipes)
    assert "ready: rez-env low==1.0.0" in out


@pytest.mark.matrix
def test_whole_chain_builds_without_a_network(studio, listener):
    studio.rezbuild("fetch", REQUEST)
    out = build_without_network(studio, listener, REQUEST)
    assert f"ready: rez-env python=={PYTHON}" in out
    code = "import ssl, sqlite3, tkinter; print(ssl.OPENSSL_VERSION)"
    assert "OpenSSL" in studio.in_env(studio.local, "python", "python3", "-c", code).stdout


class TracedBuild:
    """A build that strace traces.

    Attributes:
        programs: The executed programs.
        sent: Connections and packets to an address of a network.
    """

    def __init__(self, studio: Studio, folder: Path, *words: str | Path) -> None:
        require_tool("strace")
        folder.mkdir()
        calls = "trace=execve,chdir,connect,sendto,sendmsg,sendmmsg"
        options = ("-ff", "-qq", "--seccomp-bpf", "-s", "4096", "-e", calls, "-o", folder / "trace")
        studio.run("strace", *options, sys.executable, "-m", "rezbuild", "build", *words)
        records = [path.read_text().splitlines() for path in folder.iterdir()]
        self.programs = {path for record in records for path in list_executed(record)}
        self.sent = [line for record in records for line in record if SENT.match(line)]

    def foreign(self, *own: Path) -> set[str]:
        """Return executed programs that belong neither to the host's toolchain nor to ``own``."""
        rezbuild = Path(sys.prefix), Path(sys.executable).resolve()
        places = (*SYSTEM, *(f"{path}/" for path in (*own, *rezbuild)))
        return {path for path in self.programs if is_foreign(path, places)}


def list_executed(record: list[str]) -> Iterator[str]:
    """Return the programs that a process executed, with absolute paths where possible."""
    folder = ""
    for name, path in (match.groups() for match in map(CALL.fullmatch, record) if match):
        if name == "chdir":
            folder = os.path.join(folder, path)
        else:
            yield os.path.join(folder, path)


def is_foreign(path: str, places: tuple[str, ...]) -> bool:
    if not path.startswith("/"):  # below the current folder of a step, which is in the sources
        return ".." in Path(path).parts
    return not f"{os.path.normpath(path)}/".startswith(places)


@pytest.mark.matrix
def test_build_connects_nowhere_and_runs_pinned_programs(studio, tmp_path):
    """Upstream's configure and make run on a machine with a network."""
    studio.rezbuild("fetch", "zlib")
    watched = TracedBuild(studio, tmp_path / "trace", "zlib")
    assert {"/usr/bin/make"} <= watched.programs
    assert len(watched.programs) > 20
    assert watched.sent == []
    assert watched.foreign(studio.folder, ROOT / "packages/zlib/build") == set()


def test_strace_sees_connections_and_programs(studio, samples: Samples, tmp_path, listener):
    """This proves that the previous test finds a step that connects and runs another program."""
    foreign = tmp_path / "foreign"
    foreign.write_text(
        f"#!{sys.executable}\nimport socket\nsocket.create_connection(('127.0.0.1', {listener}))\n"
    )
    foreign.chmod(0o755)
    samples.edit("low/recipe.py", "    b.search", f"    b.run({str(foreign)!r})\n    b.search")
    watched = TracedBuild(studio, tmp_path / "trace", "low", "--recipes", samples.recipes)
    assert watched.foreign(studio.folder, samples.recipes) == {str(foreign)}
    (sent,) = watched.sent
    assert f"htons({listener})" in sent
