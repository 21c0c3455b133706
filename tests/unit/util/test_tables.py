"""Tables on wide and narrow terminals."""

from __future__ import annotations

import pytest
from rich.console import Console

from rezbuild.payload import describe
from rezbuild.util.tables import TextTable

HEAD = ("package", "version", "", "tested on", "installed in")
ROWS = [
    ("python_freethreading", "3.13.5", "default", "debian12\nrocky8", "/mnt/studio/packages"),
    ("zlib", "1.3.2", "", "", ""),
]


def shown(what: object, columns: int) -> list[str]:
    console = Console(width=columns, color_system=None, force_terminal=True)
    with console.capture() as captured:
        console.print(what)
    return [line.rstrip() for line in captured.get().splitlines()]


def test_wide_terminal_shows_a_table():
    head, first, *_ = shown(TextTable(HEAD, ROWS), 100)
    assert head.split() == ["package", "version", "tested", "on", "installed", "in"]
    assert first.split() == [
        *("python_freethreading", "3.13.5", "default", "debian12", "/mnt/studio/packages"),
    ]


def test_narrow_terminal_shows_a_line_for_each_value():
    assert shown(TextTable(HEAD, ROWS), 40) == [
        "python_freethreading",
        "  version: 3.13.5",
        "  default",
        "  tested on: debian12, rocky8",
        "  installed in: /mnt/studio/packages",
        "zlib",
        "  version: 1.3.2",
    ]


def test_narrow_table_loses_no_text():
    lines = shown(TextTable(("kind", "sum"), [("a", "0123456789" * 5)]), 20)
    assert all(len(line) <= 20 for line in lines)
    assert "".join(line.split()[-1] for line in lines[1:]) == "0123456789" * 5


@pytest.mark.parametrize(
    ("columns", "row"),
    [(100, [" [bold]a  /x[red]"]), (17, ["[bold]a", "  path: /x[red]"])],
)
def test_text_in_brackets_is_not_markup(columns, row):
    lines = shown(TextTable(("kind", "path"), [("[bold]a", "/x[red]")]), columns)
    assert lines[-len(row) :] == row


def test_manifest_shows_whole_checksums_on_a_narrow_terminal():
    record = {"name": "zlib", "version": "1.3.2", "fingerprint": "f" * 64, "recipe": "r"}
    record |= {"source": {"file": "zlib.tar", "sha256": "0123456789abcdef" * 4}}
    console = Console(width=40, color_system=None, force_terminal=True)
    with console.capture() as captured:
        describe.show(console, record, None)
    assert "0123456789abcdef" * 4 in "".join(captured.get().split())
    assert "…" not in captured.get()
