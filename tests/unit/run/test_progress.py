"""Output of parallel builds for the user."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from rezbuild.reporter import Event
from rezbuild.run import progress
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
    facts = {"name": "zlib-1.3.1", "step": "", "began": now, "step_began": now}
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
        lines.show_running([long, task(step="01-configure")], 2)
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
    ],
)
def test_table_is_for_terminals_only(monkeypatch, tty, env, kind):
    monkeypatch.setattr("sys.stdout.isatty", lambda: tty, raising=False)
    assert type(progress.choose(env)) is kind
