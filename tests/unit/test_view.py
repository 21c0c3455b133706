"""What a user sees of builds that run at once."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from rezbuild import view
from rezbuild.reporter import Event

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
    view.Lines().heard(task(), EVENTS)
    assert capsys.readouterr().out.splitlines() == [
        "zlib-1.3.1: 01-configure ... 3 s",
        "zlib-1.3.1: zlib-1.3.1: waiting for another build of it into /packages",
        "zlib-1.3.1: more",
    ]


def test_terminal_shows_steps_in_the_table_only(capsys):
    view.Terminal().heard(task(), EVENTS)
    out = capsys.readouterr().out
    assert "waiting" in out
    assert "01-configure" not in out


def test_a_step_that_takes_long_is_spoken_of_now_and_then(capsys):
    lines = view.Lines()
    long = task(step="02-make", step_began=time.monotonic() - view.PATIENCE - 1)
    for _ in range(3):
        lines.show([long, task(step="01-configure")], 2)
    seconds = view.PATIENCE + 1
    said = f"zlib-1.3.1: 02-make ... still running, {seconds} s: /a/rez.log\n"
    assert capsys.readouterr().out == said


@pytest.mark.parametrize(
    ("tty", "env", "kind"),
    [
        (True, {"TERM": "xterm"}, view.Terminal),
        (False, {"TERM": "xterm"}, view.Lines),
        (True, {"TERM": "dumb"}, view.Lines),
        (True, {}, view.Lines),
        (True, {"TERM": "xterm", "CI": "true"}, view.Lines),
    ],
)
def test_the_table_is_for_terminals(monkeypatch, tty, env, kind):
    monkeypatch.setattr("sys.stdout.isatty", lambda: tty, raising=False)
    assert type(view.choose(env)) is kind
