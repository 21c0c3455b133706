"""Messages for the user, and the events that a watching process reads."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from rezbuild.cli import main as cli
from rezbuild.reporter import EVENTS, Event, Events, Reporter


@pytest.fixture
def events(monkeypatch):
    """Return the events of the test's reporters."""
    found = Events()
    monkeypatch.setenv(EVENTS, found.name)
    yield found
    found.close()


def test_step_is_prose_in_the_log_and_two_events(events, capsys):
    with Reporter().step("02-make"):
        assert events.read() == [Event("step", step="02-make")]
        assert capsys.readouterr().out == "  02-make ... "
    assert capsys.readouterr().out == "0 s\n"
    assert events.read() == [Event("step-end", "02-make ... 0 s", "02-make")]


def test_step_that_fails_says_so(events, capsys):
    with pytest.raises(ValueError, match="broken"), Reporter().step("02-make"):
        raise ValueError("broken")
    assert capsys.readouterr().out == "  02-make ... failed\n"
    assert events.read()[-1] == Event("step-end", "02-make ... failed", "02-make")


def test_notice_is_printed_and_an_event_and_information_is_printed_only(events, capsys):
    Reporter().info("information")
    Reporter().notice("  waiting")
    assert capsys.readouterr().out == "information\n  waiting\n"
    assert events.read() == [Event("notice", "waiting")]


def test_output_of_a_build_cannot_forge_events(events, capsys):
    Reporter().info('{"kind": "step", "step": "99-forged"}\nlow 1: notice: forged')
    assert events.read() == []


def test_quiet_reporter_prints_results_and_notices_only(events, capsys):
    reporter = Reporter(quiet=True)
    reporter.info("progress", "ready")
    reporter.result("result")
    reporter.notice("notice")
    assert capsys.readouterr().out == "result\nnotice\n"
    assert [event.kind for event in events.read()] == ["ready", "notice"]


def test_reporter_aside_keeps_standard_output_for_the_result(capsys):
    reporter = Reporter().on_stderr()
    reporter.info("progress")
    reporter.result("result")
    reporter.notice("notice")
    found = capsys.readouterr()
    assert (found.out, found.err) == ("result\n", "progress\nnotice\n")


def commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, ...]]:
    """Return the words of each command."""
    groups = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not groups:
        yield ()
    for name, below in (item for group in groups for item in group.choices.items()):
        yield from ((name, *rest) for rest in commands(below))


@pytest.mark.parametrize("words", list(commands(cli.make_parser())))
def test_each_command_can_be_quiet_and_verbose(words, capsys):
    with pytest.raises(SystemExit):
        cli.main([*words, "--help"])
    out = capsys.readouterr().out
    assert "-q, --quiet" in out
    assert "-v, --verbose" in out


def test_without_a_watching_process_there_are_no_events(monkeypatch, capsys):
    monkeypatch.delenv(EVENTS, raising=False)
    Reporter().notice("waiting")
    assert capsys.readouterr().out == "waiting\n"


def test_watching_process_that_has_ended_is_no_error(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv(EVENTS, str(tmp_path / "gone/events"))
    Reporter().notice("waiting")
    assert capsys.readouterr().out == "waiting\n"


def test_child_process_writes_events(events):
    code = "from rezbuild.reporter import Reporter; Reporter().notice('from a child')"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert events.read() == [Event("notice", "from a child")]


def test_incomplete_line_is_read_when_it_is_complete(events):
    line = json.dumps(Event("notice", "ü").as_data()).encode() + b"\n"
    with open(events.name, "ab", buffering=0) as file:
        file.write(line[:9])
        assert events.read() == []
        file.write(line[9:] + line)
    assert events.read() == [Event("notice", "ü")] * 2
    assert events.read() == []


def test_lines_that_are_no_events_are_passed_over(events):
    odd = [b"", b"7", b"[]", b"{}", b"no JSON", b"\xff", b'{"kind": ""}', b"[" * 100_000]
    with open(events.name, "ab") as file:
        file.write(b"\n".join([*odd, b'{"kind": "build", "later": [1]}', b""]))
    assert events.read() == [Event("build")]


def test_events_of_several_processes_are_whole_lines(events):
    code = """
from rezbuild.reporter import Event, Reporter
for number in range(50):
    Reporter().event(Event("notice", "x" * 3000))
"""
    running = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(4)]
    assert [process.wait() for process in running] == [0] * 4
    assert events.read() == [Event("notice", "x" * 3000)] * 200


def test_events_of_a_process_have_no_file_that_is_left_behind():
    found = Events()
    assert "(deleted)" in os.readlink(found.name) or "#" in os.readlink(found.name)
    found.close()
    assert not os.path.lexists(found.name)
