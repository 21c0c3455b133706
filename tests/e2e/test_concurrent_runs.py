"""Parallel runs on one cache and one repository, also on file systems without locks."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from preload import faults
from slow_server import SlowServer, slow_server
from trees import tree

pytestmark = pytest.mark.e2e

NO_LOCKS = "no locks on the file system of"


@pytest.fixture
def server(studio, samples) -> Iterator[SlowServer]:
    """Serve the sources of the sample packages, and create Rez's packages platform and arch."""
    with slow_server(samples.mirror) as server:
        studio.env |= {"REZBUILD_MIRRORS": server.url, "REZBUILD_OFFLINE": ""}
        yield server


@pytest.fixture
def without_locks(tmp_path: Path) -> dict[str, str]:
    """Return an environment in which no file below the test's folder can be locked."""
    return {**faults(), "NO_LOCKS": str(tmp_path), "NO_LOCKS_ERROR": str(errno.ENOLCK)}


def run_in_parallel(env: dict[str, str], *commands: Sequence[str]) -> list[str]:
    """Run several ``rezbuild`` processes in parallel; return their outputs. All must succeed."""
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "rezbuild", *command],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for command in commands
    ]
    said = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [0] * len(running), said
    return said


@pytest.mark.parametrize("locks", [True, False])
def test_ten_parallel_fetches_download_once(studio, samples, server, without_locks, locks):
    env = studio.env | ({} if locks else without_locks)
    said = run_in_parallel(env, *[("fetch", "low")] * 10)
    assert server.asked == ["low-1.0.0.tar.gz"]
    assert sum("in the cache" in text for text in said) == 9
    assert sum(NO_LOCKS in text for text in said) == (0 if locks else 10 - count_hits(said))
    sources = Path(samples.environ["REZBUILD_CACHE"], "sources/low")
    assert [path.name for path in sources.iterdir() if path.suffix != ".lock"] == [
        "low-1.0.0.tar.gz"
    ]


def count_hits(said: Sequence[str]) -> int:
    """Return how many fetches used the file that another fetch had downloaded."""
    return sum("waiting" not in text and "in the cache" in text for text in said)


def test_two_builds_work_on_a_disk_without_locks(studio, samples, server, without_locks):
    """Cache, build folder and repository are on a disk without locks, on one host."""
    studio.rez("bind", "platform")
    studio.rez("bind", "arch")
    said = run_in_parallel(studio.env | without_locks, *[("build", "low")] * 2)
    assert sum("low-1.0.0: building" in text for text in said) == 1, said
    assert all(NO_LOCKS in text for text in said), said
    assert server.asked == ["low-1.0.0.tar.gz"]


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.ENOSYS])
def test_lock_errors_of_a_file_system_give_a_notice(studio, samples, without_locks, number):
    env = without_locks | {"NO_LOCKS_ERROR": str(number)}
    done = studio.rezbuild("fetch", "low", **env)
    assert f"{NO_LOCKS} " in done.stderr
    assert os.strerror(number) in done.stderr
    assert "this host" in done.stderr


@pytest.mark.matrix
def test_parallel_builds_from_different_inputs_run_in_turn(studio, samples, tmp_path):
    """Both build one version into one repository; each installed variant is complete."""
    other = tmp_path / "other recipes"
    shutil.copytree(samples.recipes, other)
    with (other / "low/recipe.py").open("a") as recipe:
        recipe.write("# other\n")
    commands = [("build", "low", "--force", "--recipes", str(f)) for f in (samples.recipes, other)]
    folder = studio.local / "low/1.0.0"
    whole = []
    for command in commands:
        studio.rezbuild(*command)
        whole.append(tree(folder))
    assert whole[0] != whole[1]
    argv = [sys.executable, "-m", "rezbuild"]
    running = [
        subprocess.Popen([*argv, *command], env=studio.env, stdout=subprocess.DEVNULL)
        for command in commands
    ]
    while any(process.poll() is None for process in running):
        found = read_atomically(folder)
        assert found is None or found in whole
    assert [process.returncode for process in running] == [0, 0]
    assert read_atomically(folder) in whole


def read_atomically(folder: Path) -> dict[str, str] | None:
    """Return the content of a folder, or None if it was replaced during the read."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        found = tree(Path(f"/proc/self/fd/{descriptor}"))
        return found if os.path.samestat(os.fstat(descriptor), folder.stat()) else None
    except FileNotFoundError:
        return None
    finally:
        os.close(descriptor)
