"""Certificates decide who may use a farm; hostile clients are refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from farm import Farm, Process, farm, payloads
from polling import wait_until
from sample_packages import Samples
from studio import Studio

pytestmark = pytest.mark.e2e

PROGRAM = (sys.executable, "-m", "rezbuild")


def certificate(authority: trustme.CA, folder: Path) -> dict[str, str]:
    """Make the three files of a participant, and return the variables that name them."""
    folder.mkdir()
    files = {name: folder / f"{name.lower()}.pem" for name in ("CA", "CERT", "KEY")}
    issued = authority.issue_cert("farm.invalid")
    authority.cert_pem.write_to_path(str(files["CA"]))
    issued.cert_chain_pems[0].write_to_path(str(files["CERT"]))
    issued.private_key_pem.write_to_path(str(files["KEY"]))
    return {f"REZBUILD_FARM_{name}": str(file) for name, file in files.items()}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def samples(home: Path) -> Samples:
    return Samples(home / "samples")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def env(home: Path, samples: Samples) -> dict[str, str]:
    return {**Studio(home / "studio").env, **samples.environ, "REZBUILD_HOST_LABEL": "plain"}


@pytest.fixture(scope="module")
def tls_farm(home: Path, env: dict[str, str], authority: trustme.CA) -> Iterator[Farm]:
    """Start a farm with TLS, with a certificate for each part."""
    with farm(home / "safe", {**env, **certificate(authority, home / "scheduler")}) as running:
        running.worker("one", "--cores", "1", **certificate(authority, home / "worker"))
        running.ready()
        yield running


@pytest.fixture(scope="module")
def open_farm(home: Path, env: dict[str, str]) -> Iterator[Farm]:
    """Start a farm without TLS, which every user of this machine can use."""
    with farm(home / "plain", {**env, "REZBUILD_FARM_OPEN": "1"}) as running:
        running.worker("one", "--cores", "1")
        running.ready()
        yield running


@pytest.fixture
def client(tmp_path: Path, env: dict[str, str]) -> Studio:
    client = Studio(tmp_path / "site")
    client.env |= {name: value for name, value in env.items() if name.startswith("REZBUILD")}
    client.env["REZBUILD_CACHE"] = str(tmp_path / "cache")
    return client


def test_farm_with_certificates_works(client, tls_farm, authority, tmp_path):
    assert tls_farm.address.startswith("tls://127.0.0.1:")
    assert tls_farm.workers["one"].address.startswith("tls://127.0.0.1:")
    for part in (tls_farm.scheduler, *tls_farm.workers.values()):
        assert part.listens() == {"127.0.0.1"}
        assert part.ports() == 1
    client.env |= certificate(authority, tmp_path / "client")
    client.rezbuild("build", "low", "--scheduler", tls_farm.address)
    assert set(payloads(client)) == {"low"}


def test_clients_without_the_authority_are_refused(client, tls_farm, authority, tmp_path):
    """The message of each refusal names the cause."""
    other = certificate(trustme.CA(), tmp_path / "other")
    ours = certificate(authority, tmp_path / "ours")
    port = tls_farm.address.rpartition(":")[2]
    tcp = f"tcp://127.0.0.1:{port}"
    for address, files, code, words in (
        (tls_farm.address, other, 10, "no scheduler answers at tls://"),
        # The worker trusts the scheduler, but the scheduler does not trust the worker.
        (
            tls_farm.address,
            {**other, "REZBUILD_FARM_CA": ours["REZBUILD_FARM_CA"]},
            10,
            "no scheduler",
        ),
        # This user's secret differs from the farm's.
        (tcp, {}, 10, "no scheduler answers at tls://"),
        (tls_farm.address, {}, 10, "no scheduler answers at tls://"),
        (tcp, {"REZBUILD_FARM_OPEN": "1"}, 10, "no scheduler answers at tcp://"),
        (tcp, ours, 2, "is without TLS, but REZBUILD_FARM_CA, _CERT and _KEY are set"),
        (
            tls_farm.address,
            {"REZBUILD_FARM_CA": ours["REZBUILD_FARM_CA"]},
            2,
            "REZBUILD_FARM_CERT, ",
        ),
        (tls_farm.address, {**ours, "REZBUILD_FARM_KEY": "/none"}, 10, "REZBUILD_FARM_KEY=/none"),
    ):
        for command in (("build", "low"), ("farm", "drain", "one")):
            done = client.rezbuild(*command, "--scheduler", address, ok=False, **files)
            assert done.returncode == code, (words, done.stderr)
            assert words in done.stderr
            assert "Traceback" not in done.stderr
            assert "\n  next:  " in done.stderr
    assert tls_farm.workers["one"].process.poll() is None
    assert payloads(client) == {}


def test_workers_without_the_authority_are_refused(tls_farm, tmp_path, env):
    other = certificate(trustme.CA(), tmp_path / "other")
    for address, files, words in (
        (tls_farm.address, other, "CERTIFICATE_VERIFY_FAILED"),
        (f"tcp://{tls_farm.address.partition('://')[2]}", {"REZBUILD_FARM_OPEN": "1"}, "tcp://"),
    ):
        stranger = Process(tmp_path, {**env, **files}, "worker", address, "--name", "stranger")
        try:
            wait_until(lambda log=stranger.log: "cannot be reached" in log.read_text(), 60)
            assert words in stranger.log.read_text()
            assert "Traceback" not in stranger.log.read_text()
        finally:
            stranger.end()
        # Peers that were connected before continue.
        assert tls_farm.workers["one"].process.poll() is None
        assert "one at" in tls_farm.workers["one"].log.read_text()


def test_noise_on_the_port_is_harmless(tls_farm):
    """Random bytes and an incomplete handshake stop no peer."""
    import socket

    host, _, port = tls_farm.address.partition("://")[2].rpartition(":")
    for noise in (b"\0" * 5000, b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01"):
        with socket.create_connection((host, int(port)), timeout=5) as line:
            line.sendall(noise)
    assert tls_farm.scheduler.process.poll() is None


# Attacks of a client; each printed line is a refusal or a result.
HOSTILE = """
import asyncio, json, os, pathlib, sys
from distributed import Client, Nanny, SchedulerPlugin, WorkerPlugin
from distributed.protocol import to_serialize
import rezbuild.farm.worker as ours
address, mark, good = sys.argv[1], pathlib.Path(sys.argv[2]), json.loads(sys.argv[3])

class Bomb:
    def __init__(self, name): self.name = name
    def __reduce__(self):
        # This process may read it.
        code = f"import os; os.getpid() == {os.getpid()} or os.mkdir({str(mark / self.name)!r})"
        return exec, (code,)

class Setup(WorkerPlugin):
    def setup(self, worker): os.mkdir(mark / "plugin")

def forged(**fields):
    text = json.dumps({**good, **fields})
    return lambda c: c.submit(ours.build, text, key=f"forged-{os.urandom(4).hex()}", pure=False)

entry = {"key": "0" * 64, "name": "low", "version": "1.0.0", "profile": "fast", "payload": "0" * 64,
         "size": 1, "blob": "0" * 64, "inputs": {}, "debug": None, "signature": ""}
tries = {
    "submit": lambda c: c.submit(os.mkdir, str(mark / "submit")),
    "eval": lambda c: c.submit(eval, f"__import__('os').mkdir({str(mark / 'eval')!r})"),
    "nested": lambda c: c.submit(ours.build, c.submit(os.mkdir, str(mark / "nested"))),
    "actor": lambda c: c.submit(Bomb, "x", actor=True),
    "bomb": lambda c: c.submit(ours.build, json.dumps(good), Bomb("bomb")),
    "scatter": lambda c: c.scatter(Bomb("scatter")),
    "run": lambda c: c.run(os.mkdir, str(mark / "run")),
    "run on scheduler": lambda c: c.run_on_scheduler(os.mkdir, str(mark / "scheduler")),
    "plugin": lambda c: c.register_plugin(Setup()),
    "upload": lambda c: c.upload_file(__file__),
    "name": forged(name="../low"),
    "version": forged(version="../../low"),
    "id": forged(id="../../../" + mark.name + "/id"),
    "absolute": forged(id=str(mark / "absolute")),
    "attached": forged(attached=[str(mark / "attached")]),
    "unknown": forged(name="python"),
    "revision": forged(revision="0" * 64),
    "dependency": forged(dependencies=[entry]),
    "payload": forged(dependencies=[{**entry, "payload": "../../" + "x" * 58}]),
    "no entry": forged(dependencies=[7]),
    "field": forged(environ={"LD_PRELOAD": "/tmp/x.so"}),
    "no order": lambda c: c.submit(ours.build, "nothing"),
}

async def main():
    for name, attempt in tries.items():
        # Each attack has its own connection, because some of them end it.
        async with Client(address, asynchronous=True, set_as_default=False) as client:
            try:
                came = await asyncio.wait_for(attempt(client), 20)
                if isinstance(came, (list, tuple)):
                    came = came[0]
                if name == "scatter":
                    came = await asyncio.wait_for(client.submit(ours.build, came), 20)
                print(name, "|", came, flush=True)
            except BaseException as error:
                print(name, "| refused", type(error).__name__, str(error)[:200], flush=True)
asyncio.run(main())
"""


def test_hostile_client_is_refused(client, open_farm, samples, tmp_path, env):
    """It tries to run code, to choose paths on the worker, and to deliver wrong payloads."""
    mark = tmp_path / "mark"
    mark.mkdir()
    good = {
        "id": "job-1",
        "name": "low",
        "version": "1.0.0",
        "profile": "fast",
        "revision": "0" * 64,
        "dependencies": [],
        "attached": [],
    }
    script = tmp_path / "hostile.py"
    script.write_text(HOSTILE)
    done = subprocess.run(
        [sys.executable, script, open_farm.address, mark, json.dumps(good)],
        capture_output=True,
        text=True,
        check=False,
        env=env,
        timeout=300,
    )
    said = dict(line.split(" | ", 1) for line in done.stdout.splitlines() if " | " in line)
    assert len(said) == HOSTILE.count("lambda c: c.") - 1 + HOSTILE.count(": forged("), done.stderr
    for name, came in said.items():
        refused = came.startswith("refused")
        error = {} if refused else json.loads(came.splitlines()[0]) if came[0] == "{" else {}
        assert refused or error.get("error"), (name, came)
    assert list(mark.iterdir()) == []
    # All workers are connected, and build for other clients.
    for part in (open_farm.scheduler, *open_farm.workers.values()):
        assert part.process.poll() is None
    client.rezbuild("build", "low", "--scheduler", open_farm.address, REZBUILD_FARM_OPEN="1")
    assert set(payloads(client)) == {"low"}
