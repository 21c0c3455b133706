"""A run that is killed at any moment: what is installed stays whole, and the next run succeeds."""

from __future__ import annotations

import contextlib
import http.server
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from studio import Studio, at_work
from toys import LOW, Toys
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
PACE = 0.05  # seconds between the blocks of a download
SIGNALS = (signal.SIGKILL, signal.SIGTERM)


class Drip(http.server.ThreadingHTTPServer):
    """Serves the files of a folder, in six blocks each.

    Attributes:
        asked: The names of the files that were asked for from their first byte on.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), DripHandler)
        self.folder = folder
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: object) -> None:
        pass


class DripHandler(http.server.BaseHTTPRequestHandler):
    """Knows Range requests without an end."""

    server: Drip

    def do_GET(self) -> None:
        path = self.server.folder / Path(self.path).name
        if not path.is_file() or self.path.count("/") < 2:
            self.send_error(404)
            return
        data = path.read_bytes()
        begin = int((self.headers.get("Range") or "bytes=0-")[6:-1])
        if begin == 0:
            self.server.asked.append(path.name)
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - begin))
        self.end_headers()
        step = len(data) // 6 + 1
        for start in range(begin, len(data), step):
            time.sleep(PACE)
            self.wfile.write(data[start : start + step])
            self.wfile.flush()

    def log_message(self, *_: object) -> None:
        pass


@dataclass
class Scene:
    """A package that is built in one of two states, from a source on a slow server.

    Attributes:
        clean: What an undisturbed run installs, by the state.
        seconds: How long that took.
        landed: The signals that came while the run was at work.
    """

    studio: Studio
    toys: Toys
    server: Drip
    folder: Path
    clean: dict[int, dict[str, str]] = field(default_factory=dict)
    seconds: float = 0
    landed: int = 0

    @property
    def package(self) -> Path:
        return self.studio.local / "low/1.0.0"

    @property
    def sources(self) -> Path:
        return Path(self.toys.environ["REZBUILD_CACHE"], "sources")

    def become(self, answer: int) -> None:
        """Changes the recipe, and forgets the source."""
        marks = self.folder / "marks"
        text = RECIPE.format(answer=answer, marks=marks)
        (self.toys.recipes / "low/recipe.py").write_text(text)
        for path in (*marks.iterdir(), *self.sources.glob("low/low-*")):
            path.unlink()

    def measure(self) -> None:
        """Two undisturbed runs."""
        for answer in (1, 2):
            self.become(answer)
            began = time.monotonic()
            self.studio.rezbuild("build", "low")
            self.seconds = time.monotonic() - began
            self.clean[answer] = tree(self.package)

    def state(self) -> int:
        """Which of the two is installed, whole, and nothing but it."""
        assert [path.name for path in self.package.parent.iterdir()] == ["1.0.0"]
        found = tree(self.package)
        states = [answer for answer, files in self.clean.items() if files == found]
        odd = {n: set(found.items()) ^ set(files.items()) for n, files in self.clean.items()}
        assert states, odd
        return states[0]

    def argv(self) -> list[str]:
        return [sys.executable, "-m", "rezbuild", "build", "low"]

    def kill(
        self, answer: int, number: int, whom: str, moment: Callable[[subprocess.Popen[bytes]], None]
    ) -> None:
        """One run that is killed at a moment, and the one after it."""
        before = self.state()
        self.become(answer)
        with subprocess.Popen(
            self.argv(),
            env=self.studio.env,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            moment(process)
            self.landed += process.poll() is None
            with contextlib.suppress(ProcessLookupError):
                if whom == "all":
                    os.killpg(process.pid, number)
                else:
                    process.send_signal(number)
        self.nobody_goes_on()
        assert self.state() in (before, answer)
        library = 'test -f "$REZ_LOW_ROOT/lib/liblow.so.1"'
        self.studio.in_env(self.studio.local, "low", "sh", "-c", library)
        self.studio.rezbuild("build", "low")
        assert self.state() == answer
        assert self.left() == []

    def nobody_goes_on(self) -> None:
        """What the run had started ends by itself, soon."""
        deadline = time.monotonic() + 10
        while at_work(self.folder):
            assert time.monotonic() < deadline, at_work(self.folder)
            time.sleep(0.05)

    def left(self) -> list[Path]:
        """What a successful run should have cleared."""
        patterns = {
            self.studio.local: (".rezbuild/staged/*", ".rezbuild/swapping/*", "*/.building*"),
            self.folder / "tmp": ("rezbuild-*",),
            self.sources: ("*/*.part",),
            self.toys.recipes: ("*/build/*/*/*/work", "*/build/*/*/*/staging*"),
        }
        found = [p for folder, names in patterns.items() for n in names for p in folder.glob(n)]
        return [*found, *self.studio.local.rglob("*.lock.*"), *self.studio.local.rglob(".lock*")]


@pytest.fixture
def scene(studio: Studio, toys: Toys, tmp_path: Path) -> Iterator[Scene]:
    for name in ("tmp", "marks"):
        (tmp_path / name).mkdir()
    toys.add("low", "1.0.0", {**LOW, "low.c": "int low(void) { return ANSWER; }\n"})
    with Drip(toys.mirror) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        studio.env |= {
            "REZBUILD_MIRRORS": server.url,
            "REZBUILD_OFFLINE": "",
            "TMPDIR": str(tmp_path / "tmp"),
        }
        yield Scene(studio, toys, server, tmp_path)
        server.shutdown()


def steps(scene: Scene) -> dict[str, str]:
    """What is there, below the scene's folder, as soon as a step has begun."""
    build = f"{scene.toys.recipes.relative_to(scene.folder)}/low/build/1.0.0-fast/*/*"
    sources = scene.sources.relative_to(scene.folder)
    stage = f"{scene.studio.local.relative_to(scene.folder)}/.rezbuild/staged/low-1.0.0/*"
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


def at_step(scene: Scene, step: str, later: float) -> Callable[[subprocess.Popen[bytes]], None]:
    """Waits until a step has begun, and some seconds more."""
    pattern = steps(scene)[step]

    def moment(process: subprocess.Popen[bytes]) -> None:
        while not any(scene.folder.glob(pattern)):
            assert process.poll() is None, f"{step} was not seen"
            time.sleep(0.001)
        time.sleep(later)

    return moment


def at_time(seconds: float) -> Callable[[subprocess.Popen[bytes]], None]:
    return lambda _: time.sleep(seconds)


def test_killed_at_each_step(scene):
    """Both signals, to all processes and to the first one only, in turns."""
    scene.measure()
    for number, step in enumerate(steps(scene)):
        whom = ("all", "alone")[number // 2 % 2]
        scene.kill(1 + number % 2, SIGNALS[number % 2], whom, at_step(scene, step, 0))
    assert scene.landed >= len(steps(scene)) - 1
