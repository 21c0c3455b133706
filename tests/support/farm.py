"""A farm on loopback: real processes of scheduler and workers."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil
from polling import wait_until
from studio import ROOT, Studio

from rezbuild.files import pack
from rezbuild.settings import Settings


class Process:
    """A process of ``rezbuild scheduler`` or ``rezbuild worker``.

    Attributes:
        address: The address on which it listens.
        log: The file with its output.
    """

    def __init__(
        self,
        folder: Path,
        env: Mapping[str, str],
        command: str,
        *argv: str,
        before: Sequence[str] = (),
    ) -> None:
        self.log = folder / f"{command}-{time.monotonic_ns()}.log"
        with self.log.open("wb") as stream:
            self.process = subprocess.Popen(
                [*before, sys.executable, "-m", "rezbuild", command, *argv],
                cwd=ROOT,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                # A separate session, like that of a daemon: Ctrl-C of the tests does not reach it.
                start_new_session=True,
            )
        self.pid = self.process.pid

    @property
    def address(self) -> str:
        wait_until(lambda: "://" in self.log.read_text() or self.process.poll() is not None, 60)
        (found,) = re.findall(
            r"^\S+ \w+: .*?(tcp://\S+:\d+|tls://\S+:\d+)", self.log.read_text(), re.MULTILINE
        )[:1]
        return found

    def kill(self) -> None:
        """Kill the process, like a power loss."""
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.kill()

    def builds(self) -> list[psutil.Process]:
        """Return the child processes, and their children."""
        with contextlib.suppress(psutil.NoSuchProcess):
            found = psutil.Process(self.pid).children(recursive=True)
            return [child for child in found if child.status() != psutil.STATUS_ZOMBIE]
        return []

    def listens(self) -> set[str]:
        """Return the addresses that the process listens on."""
        found = psutil.Process(self.pid).net_connections(kind="inet")
        return {c.laddr.ip for c in found if c.status == psutil.CONN_LISTEN}

    def ports(self) -> int:
        found = psutil.Process(self.pid).net_connections(kind="inet")
        return len([c for c in found if c.status == psutil.CONN_LISTEN])


class Farm:
    """A scheduler, and workers on request.

    Args:
        folder: The folder of logs and of the workers' caches.
        env: The environment of all processes.
        host: The host name or address on which the scheduler listens.
        before: A prefix of its command, e.g. for a network namespace.
    """

    def __init__(
        self,
        folder: Path,
        env: Mapping[str, str],
        host: str = "127.0.0.1",
        before: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.env = dict(env)
        folder.mkdir(parents=True, exist_ok=True)
        argv = ("--host", host, "--port", "0")
        self.scheduler = Process(folder, env, "scheduler", *argv, before=before)
        self.workers: dict[str, Process] = {}
        self.address = self.scheduler.address

    def worker(self, name: str, *argv: str, before: Sequence[str] = (), **env: str) -> Process:
        """Start a worker with its own cache."""
        cache = {"REZBUILD_CACHE": str(self.folder / f"cache-{name}")}
        argv = (self.address, "--name", name, *argv)
        started = Process(self.folder, {**self.env, **cache, **env}, "worker", *argv, before=before)
        self.workers[name] = started
        return started

    def busy_workers(self) -> list[str]:
        """Return the names of the busy workers."""
        return [name for name, worker in self.workers.items() if worker.builds()]

    def ready(self) -> None:
        """Wait until all workers are connected."""
        for worker in self.workers.values():
            assert worker.address

    def end(self) -> None:
        everyone = [*self.workers.values(), self.scheduler]
        for one in everyone:
            with contextlib.suppress(ProcessLookupError):
                one.process.send_signal(signal.SIGTERM)
        for one in everyone:
            one.end()


@contextlib.contextmanager
def farm(
    folder: Path,
    env: Mapping[str, str],
    host: str = "127.0.0.1",
    before: Sequence[str] = (),
) -> Iterator[Farm]:
    started = Farm(folder, env, host, before)
    try:
        yield started
    finally:
        started.end()


def make_client(folder: Path, running: Farm, env: Mapping[str, str]) -> Studio:
    """Return a client of the farm, with an empty repository."""
    client = Studio(folder / "site")
    ours = {name: value for name, value in env.items() if name.startswith("REZBUILD")}
    client.env |= {**ours, "REZBUILD_SCHEDULER": running.address}
    client.env["REZBUILD_CACHE"] = str(folder / "cache")
    return client


@contextlib.contextmanager
def two_workers(folder: Path) -> Iterator[dict[str, str]]:
    """Start a farm of two workers with sources only; return the variables that select it."""
    sources = {"REZBUILD_MIRRORS": str(Settings.read().cache / "sources")}
    with farm(folder / "run", {**Studio(folder / "studio").env, **sources}) as running:
        for name in ("one", "two"):
            running.worker(name, "--cores", "1", "--label", "chain")
        running.ready()
        yield {"REZBUILD_SCHEDULER": running.address, "REZBUILD_HOST_LABEL": "chain"}


def payloads(studio: Studio) -> dict[str, str]:
    """Return the digest of each payload in the repository."""
    found = studio.local.glob("*/*/platform-*/arch-*/rezbuild.json")
    return {path.parts[-5]: pack.digest(path.parent) for path in found}


def start(studio: Studio, *argv: str, before: Sequence[str] = ()) -> subprocess.Popen[str]:
    """Start ``rezbuild`` so that it can get Ctrl-C."""
    return subprocess.Popen(
        [*before, sys.executable, "-m", "rezbuild", *argv],
        cwd=ROOT,
        env=studio.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )


def pid_of(path: Path) -> int:
    return int(path.parent.name)


def processes_with(word: str) -> list[int]:
    """Return the processes whose command line contains a word."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if word.encode() in path.read_bytes().split(b"\0") and pid_of(path) != os.getpid():
                found.append(pid_of(path))
    return found
