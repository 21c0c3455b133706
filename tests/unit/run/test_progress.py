"""Output of parallel builds for the user."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from rezbuild.reporter import Event
from rezbuild.run import ci_log, progress
from rezbuild.util.processes import TaskUpdate

EVENTS = [
    Event("build"),
    Event("step", step="01-configure"),
    Event("step-end", "01-configure ... 3 s", "01-configure"),
    Event("notice", "zlib-1.3.1: waiting for another build of it into /packages"),
    Event("of a later version", "more"),
]


def task(**values):
    now = time.monotonic()
    facts = {"name": "zlib-1.3.1", "step": "", "worker": "", "began": now, "step_began": now}
    return SimpleNamespace(**facts | {"log": Path("/a/rez.log")} | values)


def test_events_with_a_text_are_shown(capsys):
    progress.LineProgress().show_update(task(), TaskUpdate(None, ["Resolving ..."], EVENTS))
    assert capsys.readouterr().out.splitlines() == [
        "zlib-1.3.1: 01-configure ... 3 s",
        "zlib-1.3.1: zlib-1.3.1: waiting for another build of it into /packages",
        "zlib-1.3.1: more",
    ]


def test_quiet_lines_are_the_notices_only(capsys):
    lines = progress.LineProgress(quiet=True)
    lines.info("building")
    lines.show_update(task(), TaskUpdate(None, ["Resolving ..."], EVENTS))
    assert capsys.readouterr().out.splitlines() == [
        "zlib-1.3.1: zlib-1.3.1: waiting for another build of it into /packages"
    ]


def test_verbose_lines_are_all_that_a_build_prints(capsys):
    lines = progress.LineProgress(verbose=True)
    lines.show_update(task(), TaskUpdate(None, ["Resolving ...", "  01-configure ... 3 s"], EVENTS))
    assert capsys.readouterr().out.splitlines() == [
        "zlib-1.3.1: Resolving ...",
        "zlib-1.3.1:   01-configure ... 3 s",
    ]


def test_interrupted_builds_have_groups(capsys):
    groups = progress.GroupProgress(ci_log.GitHubLog())
    with groups.live():
        running = task(seconds=65.0)
        groups.show_update(running, TaskUpdate(None, [], EVENTS))
        # Notices do not wait for the end of a build.
        assert "waiting for another build" in capsys.readouterr().out
    assert capsys.readouterr().out.splitlines() == [
        "::group::zlib-1.3.1 (65 s)",
        "zlib-1.3.1: 01-configure ... 3 s",
        "zlib-1.3.1: more",
        "::endgroup::",
    ]


def test_line_of_a_build_cannot_be_a_command_of_a_service(capsys):
    groups = progress.GroupProgress(ci_log.GitHubLog(), verbose=True)
    groups.show_update(task(seconds=1.0), TaskUpdate(0, ["make", "  ::stop-commands::x"], []))
    assert capsys.readouterr().out.splitlines()[1:3] == [
        "zlib-1.3.1: make",
        "zlib-1.3.1:   ::stop-commands::x",
    ]


def test_quiet_terminal_has_no_table(monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert type(progress.choose({"TERM": "xterm"}, quiet=True)) is progress.LineProgress


def test_terminal_shows_steps_in_the_table_only(capsys):
    progress.TableProgress().show_update(task(), TaskUpdate(None, ["Resolving ..."], EVENTS))
    out = capsys.readouterr().out
    assert "waiting" in out
    assert "01-configure" not in out


def test_long_step_prints_a_line_at_intervals(capsys):
    lines = progress.LineProgress()
    long = task(step="02-make", step_began=time.monotonic() - progress.SILENCE - 1)
    for _ in range(3):
        lines.show_running([long, task(step="01-configure")], progress.State(2, 3))
    seconds = progress.SILENCE + 1
    said = f"zlib-1.3.1: 02-make ... still running, {seconds} s: /a/rez.log\n"
    assert capsys.readouterr().out == said


@pytest.mark.parametrize(
    ("tty", "env", "kind"),
    [
        (True, {"TERM": "xterm"}, progress.TableProgress),
        (False, {"TERM": "xterm"}, progress.LineProgress),
        (True, {"TERM": "dumb"}, progress.LineProgress),
        (True, {}, progress.LineProgress),
        (True, {"TERM": "xterm", "CI": "true"}, progress.LineProgress),
        (False, {"CI": "true", "GITHUB_ACTIONS": "true"}, progress.GroupProgress),
        (False, {"CI": "true", "GITLAB_CI": "true"}, progress.GroupProgress),
    ],
)
def test_table_is_for_terminals_only(monkeypatch, tty, env, kind):
    monkeypatch.setattr("sys.stdout.isatty", lambda: tty, raising=False)
    assert type(progress.choose(env)) is kind


def shown(tasks, state, columns: int, elapsed: float = 60.0) -> list[str]:
    """Return the lines of the table on a terminal of some columns."""
    console = Console(width=columns, force_terminal=True, no_color=True, color_system=None)
    with console.capture() as captured:
        console.print(progress._table(tasks, time.monotonic()))
        console.print(progress._sum(state, elapsed))
    return [line.rstrip() for line in captured.get().splitlines()]


STATE = progress.State(3, 17, lambda: 180.0)


def test_table_shows_bar_and_time_left():
    *_, last = shown([task()], STATE, 80)
    # A quarter of 30 columns. Without colors, Rich leaves the rest empty.
    assert last == f"14 of 17 packages  {'━' * 7}╸{' ' * 22}  about 3:00 left"


def test_unknown_time_is_not_shown():
    *_, last = shown([task()], progress.State(1, 1), 80)
    assert last == "0 of 1 package"


def test_table_names_the_workers_of_a_farm():
    first, second, _ = shown(
        [task(worker="build02", step="02-make"), task(name="bzip2-1.0.8")], STATE, 80
    )
    assert first == "zlib-1.3.1   build02  0 s  02-make ... 0 s"
    assert second == "bzip2-1.0.8           0 s"


def test_worker_cannot_write_codes_to_the_terminal():
    first, _ = shown([task(worker="evil\x1b[2J[red]\n")], STATE, 80)
    assert r"evil\x1b[2J[red]\n" in first


@pytest.mark.parametrize("columns", [1, 12, 30, 50])
def test_table_fits_narrow_terminals(columns):
    lines = shown([task(worker="build02", step="02-make-install")] * 2, STATE, columns)
    assert len(lines) == 3
    assert all(len(line) <= columns for line in lines)


KINDS = pytest.mark.parametrize("kind", [progress.LineProgress, progress.TableProgress])


def skip(lines: progress.LineProgress, *names: str) -> None:
    for name in names:
        lines.skip(f"{name}: nothing to do, installed from the same inputs in /packages")


@KINDS
def test_run_with_nothing_to_do_has_one_summary(kind, capsys):
    lines = kind()
    lines.notice("notice: another cache is older")
    skip(lines, "zlib-1.3.1", "bzip2-1.0.8")
    assert lines.skipped() == "nothing to do, 2 packages installed"
    assert capsys.readouterr().out.splitlines() == ["notice: another cache is older"]


@KINDS
def test_skipped_steps_are_one_line_before_the_next_line(kind, capsys):
    lines = kind()
    skip(lines, "zlib-1.3.1", "bzip2-1.0.8")
    lines.info("python-3.11.2: building, it is not installed")
    # The build of another package gave what was there.
    skip(lines, "python_tests-3.11.2")
    lines.info("timeline: /cache/timelines/1.svg")
    assert capsys.readouterr().out.splitlines() == [
        "2 packages installed already from the same inputs",
        "python-3.11.2: building, it is not installed",
        "1 package installed already from the same inputs",
        "timeline: /cache/timelines/1.svg",
    ]
    assert lines.skipped() == ""


def test_quiet_run_has_no_line_about_skipped_steps(capsys):
    lines = progress.LineProgress(quiet=True)
    skip(lines, "zlib-1.3.1")
    lines.notice("python 3.11.17 was wanted, 3.11.2 taken")
    assert capsys.readouterr().out == "python 3.11.17 was wanted, 3.11.2 taken\n"


@KINDS
def test_verbose_progress_lists_skipped_steps(kind, capsys):
    kind(verbose=True).skip("zlib-1.3.1: nothing to do")
    assert capsys.readouterr().out == "zlib-1.3.1: nothing to do\n"
