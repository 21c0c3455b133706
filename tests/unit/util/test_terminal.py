"""Colors of terminals and pipes, by NO_COLOR and FORCE_COLOR."""

from __future__ import annotations

import os
import pty
import select
from collections.abc import Callable

import pytest
from rich.table import Table

from rezbuild.reporter import Reporter
from rezbuild.util import tables, terminal

# The values of TERM, NO_COLOR and FORCE_COLOR; then whether a terminal and a pipe have colors.
CASES = [
    ("xterm", None, None, True, False),
    ("xterm", "", "", True, False),
    ("xterm", "1", None, False, False),
    ("xterm", "0", None, False, False),
    ("xterm", None, "1", True, True),
    ("xterm", "1", "1", False, False),
    ("dumb", None, None, False, False),
    (None, None, None, False, False),
    ("dumb", None, "1", True, True),
    (None, None, "true", True, True),
]
names = ("term", "no_color", "force_color", "at_terminal", "in_pipe")
cases = pytest.mark.parametrize(names, CASES)


def set_variables(monkeypatch, term, no_color, force_color) -> None:
    values = {"TERM": term, "NO_COLOR": no_color, "FORCE_COLOR": force_color}
    for name, value in values.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)


def printed_at_a_terminal(monkeypatch, show: Callable[[], None]) -> str:
    """Return what a function prints if standard output is a terminal."""
    ours, theirs = pty.openpty()
    with open(theirs, "w", encoding="utf-8") as stream, monkeypatch.context() as patch:
        patch.setattr("sys.stdout", stream)
        show()
        stream.flush()
        assert select.select([ours], [], [], 10)[0], "nothing was printed"
        said = os.read(ours, 65536).decode()
    os.close(ours)
    return said


def has_codes(text: str) -> bool:
    return "\x1b[" in text


@cases
def test_notices_have_colors(
    monkeypatch, capsys, term, no_color, force_color, at_terminal, in_pipe
):
    del at_terminal
    set_variables(monkeypatch, term, no_color, force_color)
    Reporter().notice("notice: x")
    Reporter().error("\nrezbuild: failed\n  next:  do it")
    said = capsys.readouterr()
    assert said.out == ("\x1b[33mnotice: x\x1b[0m\n" if in_pipe else "notice: x\n")
    first = "\x1b[1;31mrezbuild: failed\x1b[0m" if in_pipe else "rezbuild: failed"
    assert said.err == f"\n{first}\n  next:  do it\n"


@cases
def test_terminal_has_colors(monkeypatch, term, no_color, force_color, at_terminal, in_pipe):
    del in_pipe
    set_variables(monkeypatch, term, no_color, force_color)
    said = printed_at_a_terminal(monkeypatch, lambda: Reporter().notice("notice: x"))
    assert has_codes(said) == at_terminal
    said = printed_at_a_terminal(monkeypatch, lambda: tables.console().print("x", style="red"))
    assert has_codes(said) == at_terminal


@cases
def test_tables_of_pipes_have_colors_without_spaces_at_the_end(
    monkeypatch, capsys, term, no_color, force_color, at_terminal, in_pipe
):
    del at_terminal
    set_variables(monkeypatch, term, no_color, force_color)
    table = Table("name", "long heading", box=None)
    table.add_row("[red]a[/]", "b")
    tables.console().print(table)
    lines = capsys.readouterr().out.splitlines()
    assert has_codes(lines[1]) == in_pipe
    plain = [terminal_text(line) for line in lines]
    assert plain == [" name  long heading", " a     b"]


def terminal_text(line: str) -> str:
    """Return a line without codes."""
    while "\x1b[" in line:
        before, _, rest = line.partition("\x1b[")
        line = before + rest.partition("m")[2]
    return line


def test_styles_are_those_of_rich():
    from rich.style import Style

    for style, code in terminal.STYLES.items():
        assert Style.parse(style).render("x") == f"\x1b[{code}mx\x1b[0m"
