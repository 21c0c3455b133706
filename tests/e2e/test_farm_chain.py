"""The real chain from a farm equals the local build and passes its tests."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from each_chain import OTHERS, SAME, pass_tests
from farm import Farm, farm, payloads, start
from network import HUB, Network, network
from polling import wait_until
from studio import Studio

from rezbuild.settings import Settings

pytestmark = [pytest.mark.e2e, pytest.mark.matrix]

# Seconds; OpenSSL compiles for five minutes on two idle cores.
LONG = 3600


@contextlib.contextmanager
def machines(folder: Path) -> Iterator[tuple[Network, Farm]]:
    """Start three workers: two on separate machines, the third beside the scheduler.

    They copy the sources from one mirror folder, and share nothing else.
    """
    mirror = Settings.read().cache / "sources"
    env = Studio(folder / "studio").env
    env |= {"REZBUILD_MIRRORS": str(mirror), "REZBUILD_OFFLINE": "1"}
    with network(2) as net, farm(folder / "run", env, HUB, before=net.on(0)) as running:
        for number, name in enumerate(("third", "first", "second")):
            temporary = folder / f"tmp-{name}"
            temporary.mkdir()
            argv = ("--host", net.address(number), "--cores", "2", "--label", "same")
            running.worker(name, *argv, before=net.on(number), TMPDIR=str(temporary))
        running.ready()
        yield net, running


def objects(folder: Path) -> int:
    """Return the object files below a folder, while a build creates and removes folders."""
    return sum(name.endswith(".o") for _, _, names in os.walk(folder) for name in names)


def build_openssl_and_kill_worker(folder: Path) -> tuple[dict[str, str], str]:
    """Build OpenSSL, kill the worker that compiles it, and return payloads and output."""
    with machines(folder) as (net, running):
        site = Studio(folder / "site")
        site.env |= {
            "REZBUILD_SCHEDULER": running.address,
            "REZBUILD_HOST_LABEL": "same",
            "REZBUILD_CACHE": str(folder / "cache"),
            "REZBUILD_OFFLINE": "1",
            "REZBUILD_MIRRORS": str(Settings.read().cache / "sources"),
        }
        with start(site, "build", "openssl", before=net.on(0)) as process:
            wait_until(
                lambda: any(objects(folder / f"tmp-{n}") > 100 for n in running.busy_workers()),
                LONG,
            )
            (name,) = running.busy_workers()
            builds = running.workers[name].builds()
            running.workers[name].kill()
            wait_until(lambda: not any(build.is_running() for build in builds), 60)
            out = process.communicate(timeout=LONG)[0]
        assert process.returncode == 0, out[-5000:]
        return payloads(site), out


# All tests that read payloads; they run with the chain from a farm.
FILES = (*SAME, "test_packages.py", "test_memory.py", "test_sbom.py")


def test_chain_from_a_farm_passes_the_same_tests(scratch):
    """A farm builds the chain of a new process; its payloads equal the local ones."""
    studio = Studio(scratch / "farm-chain")
    pass_tests(studio, "python", FILES, *OTHERS, REZBUILD_TEST_FARM="1")


def test_killed_worker_leaves_the_same_openssl(built, scratch):
    """The worker is killed while it compiles; another worker builds the same bytes."""
    made, out = build_openssl_and_kill_worker(scratch / "farm-openssl")
    assert "was lost; " in out
    local = payloads(built)
    assert made == {name: local[name] for name in made}
    assert "openssl" in made
