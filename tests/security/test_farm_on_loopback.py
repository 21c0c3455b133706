"""A farm on loopback, whose ports every user of the machine can reach."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rezbuild.errors import MachineError
from rezbuild.farm import connection, secret
from rezbuild.settings import Settings


@pytest.fixture(autouse=True)
def state(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(place / "state"))
    for name in [name for name in os.environ if name.startswith("REZBUILD_FARM")]:
        monkeypatch.delenv(name)
    return place / "state/rezbuild"


class Scheduler:
    """A process of ``rezbuild scheduler``."""

    def __init__(self, log: Path, **env: str) -> None:
        argv = [sys.executable, "-m", "rezbuild", "scheduler", "--port", "0"]
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                argv, env={**os.environ, **env}, stdout=stream, stderr=stream
            )
        end = time.monotonic() + 60
        while "scheduler: " not in log.read_text():
            assert time.monotonic() < end, log.read_text()
            assert self.process.poll() is None, log.read_text()
            time.sleep(0.05)
        self.said = log.read_text()
        self.address = self.said.partition("scheduler: ")[2].split()[0]

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


@pytest.fixture
def scheduler(place: Path) -> Iterator[Scheduler]:
    running = Scheduler(place / "log")
    yield running
    running.end()


ASK = """
import asyncio, sys
from distributed import rpc
from rezbuild.farm import connection as link
from rezbuild.settings import Settings
async def main():
    link.configure_dask()
    address, security = link.resolve_address(sys.argv[1], Settings.read(), print)
    arguments = security.get_connection_args("client") if security else {}
    async with rpc(address, connection_args=arguments) as scheduler:
        print("workers:", len((await scheduler.identity())["workers"]))
asyncio.run(asyncio.wait_for(main(), 20))
"""


def ask(address: str, **env: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", ASK, address]
    environ = {**os.environ, **env}
    return subprocess.run(argv, env=environ, capture_output=True, text=True, check=False)


def test_processes_of_the_same_user_are_accepted(scheduler):
    assert scheduler.address.startswith("tls://127.0.0.1:")
    assert "notice" not in scheduler.said
    for kind in ("tls", "tcp"):
        done = ask(f"{kind}://127.0.0.1:{scheduler.port}")
        assert done.stdout == "workers: 0\n", done.stderr


STRANGER = """
import socket, ssl, sys
port, how = int(sys.argv[1]), sys.argv[2]
line = socket.create_connection(("127.0.0.1", port), timeout=10)
try:
    if how == "tls":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        line = context.wrap_socket(line)
    line.sendall(b"\\0" * 64)
    print("heard", len(line.recv(1000)))
except OSError as error:
    print("refused", type(error).__name__)
"""


@pytest.mark.parametrize("how", ["tcp", "tls"])
def test_other_users_are_refused(attacker, scheduler, how):
    said = attacker.run(STRANGER, scheduler.port, how).stdout
    assert said.startswith("refused") or said == "heard 0\n"
    assert scheduler.process.poll() is None


def test_other_users_cannot_read_the_secret(attacker, scheduler, state):
    file = state / secret.FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    code = "import sys\ntry: open(sys.argv[1])\nexcept OSError as e: print(type(e).__name__)"
    assert attacker.run(code, file).stdout == "PermissionError\n"


def test_client_with_another_secret_is_refused(scheduler, tmp_path):
    done = ask(scheduler.address, XDG_STATE_HOME=str(tmp_path))
    assert done.returncode != 0
    assert "workers:" not in done.stdout


def test_secret_that_others_can_read_is_refused(state):
    secret.security()
    (state / secret.FILE).chmod(0o644)
    with pytest.raises(MachineError, match="other users can read"):
        secret.security()


def test_secret_planted_by_another_user_is_refused(attacker, state):
    state.mkdir(parents=True)
    state.chmod(0o777)
    attacker.run("import sys; open(sys.argv[1], 'w').write('[]')", state / secret.FILE)
    (state / secret.FILE).chmod(0o600)
    with pytest.raises(MachineError, match="other users can read"):
        secret.security()


def test_open_farm_prints_a_notice(place):
    running = Scheduler(place / "open", REZBUILD_FARM_OPEN="1")
    try:
        assert running.address.startswith("tcp://127.0.0.1:")
        assert "notice: 127.0.0.1 with REZBUILD_FARM_OPEN: every user" in running.said
    finally:
        running.end()


def test_secret_is_used_on_loopback_only(tmp_path):
    assert connection.security(Settings(tmp_path), "10.0.0.5") is None
    assert connection.security(Settings(tmp_path, farm_open=True), "127.0.0.1") is None
