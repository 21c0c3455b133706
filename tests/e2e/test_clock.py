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
from slow_server import slow_server
from toys import LOW, RECIPE, Toys
from trees import tree

pytestmark = pytest.mark.e2e

YEARS = 10 * 365 * 24 * 3600


class Clock:
    """The clock of programs that get ``env``.

    Attributes:
        jump: For a step of a build: a shell command, to be formatted with the new offset.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.env = {**faults(), "CLOCK_OFFSET": str(file)}
        self.jump = f"echo {{}} >{file}"
        self.wrong(0)

    def wrong(self, seconds: int) -> None:
        self.file.write_text(str(seconds))


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    found = Clock(tmp_path / "offset")
    found.wrong(YEARS)
    code = "import time; print(time.time())"
    argv = [sys.executable, "-c", code]
    said = subprocess.check_output(argv, env={**os.environ, **found.env}, text=True)
    assert float(said) > time.time() + YEARS - 60
    found.wrong(0)
    return found


@pytest.fixture
def recipe(toys: Toys, clock: Clock) -> Iterator[str]:
    """Return a recipe whose clock jumps between steps, so that make sees files of all times."""
    steps = ""
    for offset, command in ((YEARS, "touch liblow.so.1"), (-YEARS, "touch -d 2040-01-01 low.c")):
        jump = clock.jump.format(offset)
        steps += (
            f'    b.run("sh", "-c", {f"{command}; {jump}"!r})\n    b.make(f"PREFIX={{b.prefix}}")\n'
        )
    return RECIPE.replace("    b.install", f"{steps}    b.install")


def test_clock_jump_during_a_build_keeps_the_payload(studio, toys, clock, recipe):
    (toys.recipes / "low/recipe.py").write_text(recipe)
    studio.rezbuild("build", "low")
    undisturbed = tree(studio.local)
    clock.wrong(0)
    studio.rezbuild("build", "low", "--force", **clock.env)
    assert int(clock.file.read_text()) == -YEARS
    assert tree(studio.local) == undisturbed
    # Files with times in the future are found, and not built again.
    for offset in (YEARS, -YEARS):
        clock.wrong(offset)
        assert "nothing to do" in studio.rezbuild("build", "low", **clock.env).stdout
        studio.rez("env", "low", "--", "true", **clock.env)


@pytest.mark.matrix
def test_sources_from_the_future_build(studio, toys):
    """make warns about a server whose clock is ahead, and builds."""
    toys.add("low", "1.0.0", LOW, mtime=2_500_000_000)
    studio.rezbuild("build", "low")
    logs = toys.recipes.glob("low/build/*/*/*/logs/*make*.log")
    assert any("modification time" in log.read_text() for log in logs)
    first = tree(studio.local)
    studio.rezbuild("build", "low", "--force")
    assert tree(studio.local) == first


def test_clock_jump_during_a_fetch_is_harmless(studio, toys, clock, tmp_path):
    """Timeouts use a monotonic clock."""
    # The body has several blocks; the time is checked after each.
    toys.add("low", "1.0.0", {**LOW, "data": random.Random(1).randbytes(150_000).hex()})
    with slow_server(toys.mirror) as server:
        env = studio.env | clock.env | {"REZBUILD_MIRRORS": server.url, "REZBUILD_OFFLINE": ""}
        argv = [sys.executable, "-m", "rezbuild", "fetch", "low"]
        with subprocess.Popen(argv, env=env, stderr=subprocess.PIPE, text=True) as process:
            offset = 0
            while process.poll() is None:
                offset += YEARS if offset <= 0 else -2 * YEARS
                clock.wrong(offset)
                time.sleep(0.02)
            assert process.stderr
            said = process.stderr.read()
    assert process.returncode == 0, said
    assert server.asked == ["low-1.0.0.tar.gz"]
    assert "again" not in said


def test_cache_and_packages_from_the_future_are_used(studio, toys):
    """The clock of the host that made them was ahead."""
    studio.rezbuild("build", "low")
    cache = Path(toys.environ["REZBUILD_CACHE"])
    for folder in (cache, studio.local, toys.recipes):
        for path in folder.rglob("*"):
            os.utime(path, (2_500_000_000, 2_500_000_000), follow_symlinks=False)
    assert "nothing to do" in studio.rezbuild("build", "low").stdout
    toys.edit("low/recipe.py", "def build", "# changed\ndef build")
    assert "low-1.0.0: installed" in studio.rezbuild("build", "low").stdout
