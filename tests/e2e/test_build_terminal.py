"""What ``rezbuild build`` shows at a terminal: its table, its colors, and its width."""

from __future__ import annotations

import random
import re
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sample_packages import LOW, RECIPE, Samples
from slow_server import slow_server
from studio import Studio
from terminal import Terminal, at_terminal

pytestmark = pytest.mark.e2e

# Two interpreters, which are the same.
PAIR = (sys.executable, "--against", sys.executable)
BAR = re.compile(r"(\d) of 2 packages  [━╸╺ ]+ about (\d+) s left")


class Builds:
    """A user who builds ``low``, and ``slow``, which waits until a file exists."""

    def __init__(self, studio: Studio, samples: Samples, folder: Path) -> None:
        self.studio = studio
        self.go = folder / "go"
        code = f'    b.run("sh", "-c", "while [ ! -e {self.go} ]; do sleep 0.1; done")\n'
        samples.add("slow", "1.0.0", LOW, requires='"low-1"')
        (samples.recipes / "slow/recipe.py").write_text(
            RECIPE.replace("    b.make", f"{code}    b.make")
        )
        self.env = at_terminal(studio.env)

    def open_terminal(
        self, *words: str, command: str = "build", columns: int = 80, **env: str
    ) -> Terminal:
        argv = [sys.executable, "-m", "rezbuild", command, *words]
        return Terminal(argv, {**self.env, **env}, columns)


@pytest.fixture
def builds(studio: Studio, samples: Samples, tmp_path: Path) -> Builds:
    return Builds(studio, samples, tmp_path)


def is_waiting(lines: list[str]) -> bool:
    """Whether the screen shows the table during the step that waits."""
    return any("01-sh ... " in line for line in lines)


def colors(terminal: Terminal) -> set[str]:
    """Return the colors on the screen."""
    cells = (cell for row in terminal.screen.buffer.values() for cell in row.values())
    return {cell.fg for cell in cells} - {"default"}


def test_table_shows_bar_and_time_left(builds):
    with builds.open_terminal("slow") as terminal:
        terminal.until(lambda lines: is_waiting(lines) and BAR.fullmatch(lines[-1]), "a bar")
        found = BAR.fullmatch(terminal.lines()[-1])
        assert found
        assert found[1] == "1"
        # The time is an estimate of the source's size, and less than a build of CPython.
        assert 0 < int(found[2]) < 60
        assert colors(terminal) == {"green", "cyan"} | (colors(terminal) - {"green", "cyan"})
        builds.go.touch()
        terminal.until(lambda lines: lines[-1].startswith("ready: rez-env slow"), "ready")
        assert not any("packages  " in line for line in terminal.lines())


def test_run_with_nothing_to_do_says_one_line(builds):
    builds.go.touch()
    builds.studio.rezbuild("build", "slow")
    line = "ready: rez-env slow==1.0.0 (nothing to do, 2 packages installed)"
    with builds.open_terminal("slow") as terminal:
        terminal.until_last(line)
        assert [line for line in terminal.lines() if line] == [line]
    assert builds.studio.rezbuild("build", "slow").stdout == f"{line}\n"
    lines = builds.studio.rezbuild("build", "slow", "-v").stdout.splitlines()
    for name, line in zip(("low", "slow"), lines):
        assert line.startswith(f"{name}-1.0.0: nothing to do, installed from the same inputs in ")
    assert lines[2:] == ["ready: rez-env slow==1.0.0"]


def test_installed_packages_are_one_line_before_a_build(builds):
    builds.studio.rezbuild("build", "low")
    builds.go.touch()
    with builds.open_terminal("slow") as terminal:
        terminal.until(lambda lines: lines[-1].startswith("ready: "), "ready")
        assert "1 package installed already from the same inputs" in terminal.lines()
        assert not any("nothing to do" in line for line in terminal.lines())


@pytest.fixture
def silent_server() -> Iterator[str]:
    """Return the address of a server that never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_terminal_shows_that_a_plan_is_made(builds, silent_server):
    """Before the first source comes, nothing else is known."""
    env = {"REZBUILD_MIRRORS": silent_server, "REZBUILD_OFFLINE": ""}
    with builds.open_terminal("low", **env) as terminal:
        terminal.until(lambda lines: re.search(r"^planning|bytes", lines[-1]), "a first line")
        terminal.send_signal(signal.SIGTERM)
        terminal.until_last("rezbuild: interrupted")
        assert "planning ..." not in terminal.lines()


@pytest.mark.parametrize(
    ("env", "has_colors"),
    [
        ({"NO_COLOR": "1"}, False),
        ({"NO_COLOR": ""}, True),
        ({"FORCE_COLOR": ""}, True),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
    ],
)
def test_no_color_is_heeded(builds, env, has_colors):
    """An empty variable is like none."""
    with builds.open_terminal("slow", **env) as terminal:
        terminal.until(lambda lines: is_waiting(lines) and BAR.fullmatch(lines[-1]), "a bar")
        assert bool(colors(terminal)) == has_colors
        builds.go.touch()
        terminal.until(lambda lines: lines[-1].startswith("ready: "), "ready")


def test_force_color_colors_a_pipe_but_no_log(builds, samples):
    builds.studio.env.pop("NO_COLOR", None)
    samples.edit("slow/recipe.py", "while ", "exit 3; while ")
    plain = builds.studio.rezbuild("build", "slow", ok=False)
    done = builds.studio.rezbuild("build", "slow", ok=False, FORCE_COLOR="1")
    assert plain.returncode == done.returncode == 7
    assert "\x1b" not in plain.stdout + plain.stderr
    assert re.search(r"(?m)^\x1b\[33mslow-1\.0\.0: failed: .*\x1b\[0m$", done.stdout), done.stdout
    assert "\x1b[1;31mrezbuild: " in done.stderr
    # The cursor does not move in a pipe.
    assert set(re.findall(r"\x1b\[[0-9;]*([A-Za-z])", done.stdout + done.stderr)) == {"m"}
    (log,) = (samples.recipes / "slow/build").rglob("rez.log")
    assert "\x1b" not in log.read_text()


@pytest.mark.parametrize(("columns", "env"), [(30, {}), (80, {"COLUMNS": "30"})])
def test_table_fits_a_narrow_terminal(builds, columns, env):
    with builds.open_terminal("slow", columns=columns, **env) as terminal:

        def is_table(lines: list[str]) -> bool:
            row = re.fullmatch(r"slow-.* \d+ s  01-s.*", lines[-2]) if lines[1:] else None
            return bool(row) and "about " in lines[-1] and len(lines[-2]) <= 30 >= len(lines[-1])

        terminal.until(is_table, "a narrow table")
        builds.go.touch()
        terminal.until(lambda lines: "ready: rez-env slow" in "".join(lines), "ready")


def test_github_log_has_a_group_for_each_package(builds, samples):
    """The lines of two builds that run in parallel do not mix."""
    samples.edit("slow/recipe.py", "while ", "exit 3; while ")
    done = builds.studio.rezbuild("build", "slow", "low", ok=False, GITHUB_ACTIONS="true")
    assert done.returncode == 7
    group = r"(?ms)^::group::(\S+) \(\d+ s\)\n(.*?)^::endgroup::$"
    groups = dict(re.findall(group, done.stdout))
    assert list(groups) == ["low-1.0.0", "slow-1.0.0"]
    for name, text in groups.items():
        assert all(line.startswith(f"{name}: ") for line in text.splitlines())
    assert "01-make ... " in groups["low-1.0.0"]
    assert "01-sh ... failed" in groups["slow-1.0.0"]
    (failure,) = re.findall(r"(?m)^::error (.*)$", done.stdout)
    assert re.fullmatch(r"title=slow-1\.0\.0::slow-1\.0\.0: failed: .+", failure)


def test_gitlab_log_has_a_section_for_each_package(builds):
    builds.go.touch()
    out = builds.studio.rezbuild("build", "slow", "-v", GITLAB_CI="true").stdout
    for name in ("low-1.0.0", "slow-1.0.0"):
        # Python's text mode reads the carriage returns as line feeds.
        start = rf"^\x1b\[0Ksection_start:(\d+):{name}\[collapsed=true\]\n\x1b\[0K{name}\n"
        end = rf"^\x1b\[0Ksection_end:(\d+):{name}\n\x1b\[0K\n"
        section = re.search(f"(?ms){start}(.*?){end}", out)
        assert section, out
        assert f"{name}:   01-" in section[2]
        assert int(section[1]) <= int(section[3])


@pytest.fixture
def slow_source(samples: Samples) -> Iterator[dict[str, str]]:
    """Yield the variables for the package ``big``, whose source comes in three seconds."""
    samples.add("big", "1.0.0", {**LOW, "data": random.Random(1).randbytes(400_000).hex()})
    with slow_server(samples.mirror, pace=0.5) as server:
        yield {"REZBUILD_MIRRORS": server.url, "REZBUILD_OFFLINE": ""}


@pytest.mark.parametrize("columns", [40, 80])
def test_download_shows_its_rate_and_the_time_left(builds, slow_source, columns):
    bar = re.compile(r" *[━╸╺]+ +\d+\.\d/456\.9 kB \d+\.\d kB/s 00:0[1-3]")
    with builds.open_terminal("big", command="fetch", columns=columns, **slow_source) as terminal:
        terminal.until(lambda lines: bar.fullmatch(lines[-1]), "a bar with a rate and a time")
        terminal.until(lambda lines: re.search(r"\n  ok, .* in 3.* s\n", "\n".join(lines)), "ok")
        assert not any("━" in line for line in terminal.lines())


@pytest.mark.parametrize("env", [{}, {"FORCE_COLOR": "1", "NO_COLOR": ""}])
def test_download_prints_plain_lines_in_a_pipe(builds, slow_source, env):
    done = builds.studio.rezbuild("fetch", "big", **slow_source, **env)
    text = done.stdout + done.stderr
    assert re.search(r"(?m)^fetch big-1\.0\.0\.tar\.gz from .* \(.* kB\)\n  ok, ", text)
    assert not re.search("[━\x1b\r]", text)


# Commands that print tables, and a pattern of a line at 40 columns.
TABLES = {
    ("versions", "low"): r"  version: 1\.0\.0",
    ("store", "list"): r"  profile: fast",
    ("manifest", "low"): r"  RELRO: full",
    ("cache", "size"): r" sources +\S+ kB +\d+ +archives of",
    ("bench", *PAIR, "--only", "start", "--rounds", "1"): r"  ratio: \d\.\d+",
}


@pytest.fixture
def stored(builds: Builds, tmp_path: Path) -> Builds:
    """Return a user who has built and stored ``low``."""
    store = tmp_path / "store"
    store.mkdir()
    for env in (builds.env, builds.studio.env):
        env["REZBUILD_STORE"] = str(store)
    builds.studio.rezbuild("build", "low")
    return builds


@pytest.mark.parametrize("env", [{}, {"NO_COLOR": "1"}])
def test_tables_fit_a_narrow_terminal(stored, env):
    for (command, *words), line in TABLES.items():
        with stored.open_terminal(*words, command=command, columns=40, **env) as terminal:
            terminal.until(lambda lines, at=line: any(re.match(at, one) for one in lines), line)
            assert all(len(line) <= 40 and "…" not in line for line in terminal.lines())
            assert not (env and colors(terminal)), command


def test_force_color_changes_no_text_of_a_table(stored):
    stored.studio.env.pop("NO_COLOR", None)
    for words in ([*words] for words in TABLES if words[0] != "bench"):
        plain = stored.studio.rezbuild(*words).stdout
        shown = stored.studio.rezbuild(*words, FORCE_COLOR="1").stdout
        assert "\x1b" not in plain
        assert "\x1b[" in shown, words
        assert re.sub(r"\x1b\[[0-9;]*m", "", shown) == plain
