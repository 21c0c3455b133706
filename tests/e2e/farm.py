"""A farm on loopback: a real scheduler and real workers, each a process of its own."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil
from studio import ROOT


class Process:
    """One of ``rezbuild scheduler`` and ``rezbuild worker``.

    Attributes:
        address: Where it listens.
        log: What it said.
    """

    def __init__(self, folder: Path, env: Mapping[str, str], command: str, *argv: str) -> None:
        self.log = folder / f"{command}-{time.monotonic_ns()}.log"
        with self.log.open("wb") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "rezbuild", command, *argv],
                cwd=ROOT,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                # As a daemon has it: the tests' own Ctrl-C is not its.
                start_new_session=True,
            )
        self.pid = self.process.pid

    @property
    def address(self) -> str:
        until(lambda: "://" in self.log.read_text() or self.process.poll() is not None, 60)
        (found,) = re.findall(
            r"^\w+: .*?(tcp://\S+:\d+|tls://\S+:\d+)", self.log.read_text(), re.MULTILINE
        )[:1]
        return found

    def kill(self) -> None:
        """As a machine that loses its power."""
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.kill()

    def listens(self) -> set[str]:
        """The addresses that it listens on."""
        found = psutil.Process(self.pid).net_connections(kind="inet")
        return {c.laddr.ip for c in found if c.status == psutil.CONN_LISTEN}

    def ports(self) -> int:
        found = psutil.Process(self.pid).net_connections(kind="inet")
        return len([c for c in found if c.status == psutil.CONN_LISTEN])


class Farm:
    """A scheduler, and workers as they are asked for.

    Args:
        folder: For logs and the workers' caches.
        env: Of all of them.
    """

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self.folder = folder
        self.env = dict(env)
        folder.mkdir(parents=True)
        self.scheduler = Process(folder, env, "scheduler", "--port", "0")
        self.workers: dict[str, Process] = {}
        self.address = self.scheduler.address

    def worker(self, name: str, *argv: str, **env: str) -> Process:
        """Starts a worker, which has a cache of its own."""
        cache = {"REZBUILD_CACHE": str(self.folder / f"cache-{name}")}
        argv = (self.address, "--name", name, *argv)
        started = Process(self.folder, {**self.env, **cache, **env}, "worker", *argv)
        self.workers[name] = started
        return started

    def ready(self) -> None:
        """Waits until all workers have come."""
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
def farm(folder: Path, env: Mapping[str, str]) -> Iterator[Farm]:
    started = Farm(folder, env)
    try:
        yield started
    finally:
        started.end()


def until(true: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, true
        time.sleep(0.05)


def pid_of(path: Path) -> int:
    return int(path.parent.name)


def alive(word: str) -> list[int]:
    """The processes whose command line has a word."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if word.encode() in path.read_bytes().split(b"\0") and pid_of(path) != os.getpid():
                found.append(pid_of(path))
    return found
