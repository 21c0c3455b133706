"""After a kill at any moment, the installed package is complete and the next run succeeds."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sample_packages import LOW, Samples
from slow_server import SlowServer, slow_server
from studio import Studio, processes_in
from trees import tree

pytestmark = pytest.mark.e2e

RECIPE = """\
def build(b):
    b.flags(CFLAGS="-DANSWER={answer}")
    b.run("sh", "-c", "touch {marks}/configure; sleep 0.1")
    b.make(f"PREFIX={{b.prefix}}")
    b.install(f"PREFIX={{b.prefix}}", "install")
    open("{marks}/relocate", "w").close()


def finish(b):
    open("{marks}/audit", "w").close()
"""
SIGNALS = (signal.SIGKILL, signal.SIGTERM)
WHOM = ("all", "alone")
Moment = Callable[[subprocess.Popen[bytes]], None]


@dataclass
class KilledRuns:
    """Runs that build a package in one of two states, with its source on a slow server.

    Attributes:
        clean: The files that an undisturbed run installs, by the state.
        seconds: The duration of an undisturbed run.
        hits: The number of signals that arrived before the run ended.
    """

    studio: Studio
    samples: Samples
    server: SlowServer
    folder: Path
    clean: dict[int, dict[str, str]] = field(default_factory=dict)
    seconds: float = 0
    hits: int = 0

    @property
    def package(self) -> Path:
        return self.studio.local / "low/1.0.0"

    @property
    def sources(self) -> Path:
        return Path(self.samples.environ["REZBUILD_CACHE"], "sources")

    def set_answer(self, answer: int) -> None:
        """Change the recipe, and delete the source."""
        marks = self.folder / "marks"
        text = RECIPE.format(answer=answer, marks=marks)
        (self.samples.recipes / "low/recipe.py").write_text(text)
        for path in (*marks.iterdir(), *self.sources.glob("low/low-*")):
            path.unlink()

    def measure(self) -> None:
        """Measure two undisturbed runs."""
        for answer in (1, 2):
            self.set_answer(answer)
            began = time.monotonic()
            self.studio.rezbuild("build", "low")
            self.seconds = time.monotonic() - began
            self.clean[answer] = tree(self.package)

    def state(self) -> int:
        """Return which of the two states is installed, and assert that it is complete."""
        assert [path.name for path in self.package.parent.iterdir()] == ["1.0.0"]
        found = tree(self.package)
        states = [answer for answer, files in self.clean.items() if files == found]
        odd = {n: set(found.items()) ^ set(files.items()) for n, files in self.clean.items()}
        assert states, odd
        return states[0]

    def kill(self, answer: int, number: int, whom: str, moment: Moment) -> None:
        """Start a run, and kill it at a moment."""
        before = self.state()
        self.set_answer(answer)
        with subprocess.Popen(
            [sys.executable, "-m", "rezbuild", "build", "low"],
            env=self.studio.env,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            moment(process)
            self.hits += process.poll() is None
            with contextlib.suppress(ProcessLookupError):
                if whom == "all":
                    os.killpg(process.pid, number)
                else:
                    process.send_signal(number)
        self.assert_no_processes()
        assert self.state() in (before, answer)

    def recover(self, answer: int) -> None:
        """Assert that Rez finds a complete package, and that the next run succeeds."""
        library = 'test -f "$REZ_LOW_ROOT/lib/liblow.so.1"'
        self.studio.in_env(self.studio.local, "low", "sh", "-c", library)
        self.studio.rezbuild("build", "low")
        assert self.state() == answer
        assert self.leftovers() == []

    def assert_no_processes(self) -> None:
        """Assert that all processes of the run end soon."""
        deadline = time.monotonic() + 10
        while processes_in(self.folder):
            assert time.monotonic() < deadline, processes_in(self.folder)
            time.sleep(0.05)

    def leftovers(self) -> list[Path]:
        """Return the files that a successful run should have removed."""
        patterns = {
            self.studio.local: (".rezbuild/staged/*", ".rezbuild/swapping/*", "*/.building*"),
            self.folder / "tmp": ("rezbuild-*",),
            self.sources: ("*/*.part",),
            self.samples.recipes: ("*/build/*/*/*/work", "*/build/*/*/*/staging*"),
        }
        found = [p for folder, names in patterns.items() for n in names for p in folder.glob(n)]
        return [*found, *self.studio.local.rglob("*.lock.*"), *self.studio.local.rglob(".lock*")]


@pytest.fixture
def runs(studio: Studio, samples: Samples, tmp_path: Path) -> Iterator[KilledRuns]:
    for name in ("tmp", "marks"):
        (tmp_path / name).mkdir()
    samples.add("low", "1.0.0", {**LOW, "low.c": "int low(void) { return ANSWER; }\n"})
    with slow_server(samples.mirror) as server:
        studio.env |= {
            "REZBUILD_MIRRORS": server.url,
            "REZBUILD_OFFLINE": "",
            "TMPDIR": str(tmp_path / "tmp"),
        }
        yield KilledRuns(studio, samples, server, tmp_path)


def steps(runs: KilledRuns) -> dict[str, str]:
    """Return for each step, the path that appears in the test's folder when it begins."""
    build = f"{runs.samples.recipes.relative_to(runs.folder)}/low/build/1.0.0-fast/*/*"
    sources = runs.sources.relative_to(runs.folder)
    stage = f"{runs.studio.local.relative_to(runs.folder)}/.rezbuild/staged/low-1.0.0/*"
    return {
        "fetch": f"{sources}/low/low-1.0.0.tar.gz.part",
        "unpack": f"{sources}/low/low-1.0.0.tar.gz",
        "configure": "marks/configure",
        "build": f"{build}/logs/02-make.log",
        "install": f"{build}/logs/03-make-install.log",
        "relocate": "marks/relocate",
        "audit": "marks/audit",
        "publish": f"{stage}/low/1.0.0/*/*/lib",
        "into place": f"{stage}/low/1.0.0/package.py",
    }


def wait_for_step(runs: KilledRuns, step: str) -> Moment:
    """Wait until a step has started."""
    pattern = steps(runs)[step]

    def moment(process: subprocess.Popen[bytes]) -> None:
        while not any(runs.folder.glob(pattern)):
            if process.poll() is not None:
                return
            time.sleep(0.001)

    return moment


def wait_for_part(runs: KilledRuns, part: float) -> Moment:
    """Wait for a part of the measured time of a run."""

    def moment(process: subprocess.Popen[bytes]) -> None:
        began = time.monotonic()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(runs.seconds * part)
            runs.seconds = time.monotonic() - began  # the machine has become faster

    return moment


def test_kill_at_each_step_keeps_the_package(runs):
    """Both signals are sent, to all processes and to the first one only."""
    runs.measure()
    for number, step in enumerate(steps(runs)):
        answer, whom = 1 + number % 2, WHOM[number // 2 % 2]
        runs.kill(answer, SIGNALS[number % 2], whom, wait_for_step(runs, step))
        if number % 3 == 2:
            runs.recover(answer)
    # The last steps are short, so a busy machine may miss them.
    assert runs.hits >= len(steps(runs)) - 3


@pytest.mark.matrix
@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("whom", WHOM)
def test_kill_at_any_moment_keeps_the_package(runs, number, whom):
    """At least 60 kills at moments of the whole run, each followed by a complete run."""
    runs.measure()
    moments = [wait_for_step(runs, step) for step in steps(runs)]
    moments += [wait_for_part(runs, part / 10) for part in range(1, 10)]
    for turn, moment in enumerate(moments):
        runs.kill(1 + turn % 2, number, whom, moment)
        runs.recover(1 + turn % 2)
    for turn in range(20):
        if runs.hits >= 15:
            break
        answer = 3 - runs.state()
        runs.kill(answer, number, whom, wait_for_part(runs, turn / 20))
        runs.recover(answer)
    assert runs.hits >= 15


@pytest.mark.matrix
@pytest.mark.parametrize("number", SIGNALS)
def test_killed_fetch_resumes(runs, number):
    """The kill happens at ten moments; no file with the archive's name has other bytes."""
    argv = [sys.executable, "-m", "rezbuild", "fetch", "low"]
    archive = runs.sources / "low/low-1.0.0.tar.gz"
    began = time.monotonic()
    runs.studio.run(*argv)
    seconds = time.monotonic() - began
    whole = archive.read_bytes()
    for part in range(1, 11):
        archive.unlink()
        with subprocess.Popen(argv, env=runs.studio.env, stderr=subprocess.DEVNULL) as process:
            time.sleep(seconds * part / 10)
            process.send_signal(number)
        assert not archive.exists() or archive.read_bytes() == whole
        runs.studio.run(*argv)
        assert archive.read_bytes() == whole
        assert runs.leftovers() == []
