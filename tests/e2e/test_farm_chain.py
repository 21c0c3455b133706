"""A real package of the chain on a farm, of which a worker is killed in the middle."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from farm import Farm, Process, farm, until
from studio import ROOT, Studio

from rezbuild import tree

pytestmark = [pytest.mark.e2e, pytest.mark.matrix]


def below(worker: Process) -> list[psutil.Process]:
    """What a worker has started."""
    return psutil.Process(worker.pid).children(recursive=True)


def compiling(running: Farm) -> Process | None:
    """The worker that a compiler runs on."""
    for worker in running.workers.values():
        for process in below(worker):
            # It may have ended meanwhile.
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.name() == "cc1":
                    return worker
    return None


def payload(studio: Studio) -> Path:
    (found,) = studio.local.glob("openssl/*/platform-*/arch-*")
    return found


def test_a_worker_is_killed_while_it_compiles_openssl(built, tmp_path):
    """The payload is that of the local build, byte for byte."""
    site = Studio(tmp_path / "site")
    with farm(tmp_path / "run", site.env) as running:
        # Their own sources: those of the local build, as a mirror.
        for name in ("one", "two", "three"):
            running.worker(name, "--cores", "2", REZBUILD_MIRRORS=mirror(built))
        running.ready()
        log = tmp_path / "out"
        with log.open("w") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "rezbuild", "build", "openssl"],
                env={**site.env, "REZBUILD_SCHEDULER": running.address},
                cwd=ROOT,
                stdout=stream,
                stderr=stream,
            )
        try:
            # After configure, in the middle of make.
            until(lambda: " 01-" in log.read_text(), 600)
            until(lambda: compiling(running), 60)
            time.sleep(20)
            victim = compiling(running)
            assert victim is not None
            theirs = below(victim)
            victim.kill()
            began = time.monotonic()
            _, left = psutil.wait_procs(theirs, 5)
            assert not left
            print(f"{len(theirs)} processes ended {time.monotonic() - began:.1f} s after it")
            assert process.wait(3600) == 0, log.read_text()
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait()
        assert re.search(r"openssl-\S+: farm: \w+ has gone; begun again on ", log.read_text())
    assert tree.digest(payload(site)) == tree.digest(payload(built))


def mirror(studio: Studio) -> str:
    import platformdirs

    cache = studio.env.get("REZBUILD_CACHE") or platformdirs.user_cache_dir("rezbuild")
    return str(Path(cache, "sources"))
