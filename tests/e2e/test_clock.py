"""Wrong clocks and clock jumps disturb no timeout, no make and no Rez."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from preload import faults
from sample_packages import LOW, RECIPE, Samples
from slow_server import slow_server
from trees import tree

pytestmark = pytest.mark.e2e

YEARS = 10 * 365 * 24 * 3600


class Clock:
    """The clock that programs with ``env`` see.

    Attributes:
        jump: A shell command for a build step; ``format`` inserts the new offset.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.env = {**faults(), "CLOCK_OFFSET": str(file)}
        self.jump = f"echo {{}} >{file}"
        self.set_offset(0)

    def set_offset(self, seconds: int) -> None:
        self.file.write_text(str(seconds))


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    found = Clock(tmp_path / "offset")
    found.set_offset(YEARS)
    code = "import time; print(time.time())"
    argv = [sys.executable, "-c", code]
    said = subprocess.check_output(argv, env={**os.environ, **found.env}, text=True)
    assert float(said) > time.time() + YEARS - 60
    found.set_offset(0)
    return found


@pytest.fixture
def recipe(samples: Samples, clock: Clock) -> Iterator[str]:
    """Return a recipe whose clock jumps between steps, so that make sees files of all times."""
    steps = ""
    for offset, command in ((YEARS, "touch liblow.so.1"), (-YEARS, "touch -d 2040-01-01 low.c")):
        jump = clock.jump.format(offset)
        steps += (
            f'    b.run("sh", "-c", {f"{command}; {jump}"!r})\n    b.make(f"PREFIX={{b.prefix}}")\n'
        )
    return RECIPE.replace("    b.install", f"{steps}    b.install")


def test_clock_jump_during_a_build_keeps_the_payload(studio, samples, clock, recipe):
    (samples.recipes / "low/recipe.py").write_text(recipe)
    studio.rezbuild("build", "low")
    undisturbed = tree(studio.local)
    clock.set_offset(0)
    studio.rezbuild("build", "low", "--force", **clock.env)
    assert int(clock.file.read_text()) == -YEARS
    assert tree(studio.local) == undisturbed
    # A payload whose files have times in the future is not built again.
    for offset in (YEARS, -YEARS):
        clock.set_offset(offset)
        assert "nothing to do" in studio.rezbuild("build", "low", **clock.env).stdout
        studio.rez("env", "low", "--", "true", **clock.env)


@pytest.mark.matrix
def test_sources_from_the_future_build(studio, samples):
    """make warns about a server whose clock is ahead, and builds."""
    samples.add("low", "1.0.0", LOW, mtime=2_500_000_000)
    studio.rezbuild("build", "low")
    logs = samples.recipes.glob("low/build/*/*/*/logs/*make*.log")
    assert any("modification time" in log.read_text() for log in logs)
    first = tree(studio.local)
    studio.rezbuild("build", "low", "--force")
    assert tree(studio.local) == first


def test_clock_jump_during_a_fetch_is_harmless(studio, samples, clock, tmp_path):
    """Timeouts use a monotonic clock."""
    # The body has several blocks; the time is checked after each.
    samples.add("low", "1.0.0", {**LOW, "data": random.Random(1).randbytes(150_000).hex()})
    with slow_server(samples.mirror) as server:
        env = studio.env | clock.env | {"REZBUILD_MIRRORS": server.url, "REZBUILD_OFFLINE": ""}
        argv = [sys.executable, "-m", "rezbuild", "fetch", "low"]
        with subprocess.Popen(argv, env=env, stderr=subprocess.PIPE, text=True) as process:
            offset = 0
            while process.poll() is None:
                offset += YEARS if offset <= 0 else -2 * YEARS
                clock.set_offset(offset)
                time.sleep(0.02)
            assert process.stderr
            said = process.stderr.read()
    assert process.returncode == 0, said
    assert server.asked == ["low-1.0.0.tar.gz"]
    assert "again" not in said


def test_cache_and_packages_from_the_future_are_used(studio, samples):
    """The clock of the host that made them was ahead."""
    studio.rezbuild("build", "low")
    cache = Path(samples.environ["REZBUILD_CACHE"])
    for folder in (cache, studio.local, samples.recipes):
        for path in folder.rglob("*"):
            os.utime(path, (2_500_000_000, 2_500_000_000), follow_symlinks=False)
    assert "nothing to do" in studio.rezbuild("build", "low").stdout
    samples.edit("low/recipe.py", "def build", "# changed\ndef build")
    assert "low-1.0.0: installed" in studio.rezbuild("build", "low").stdout
