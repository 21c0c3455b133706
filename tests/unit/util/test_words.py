"""Numbers of things, reasons, and tables in pipes."""

from __future__ import annotations

import asyncio
import errno
import struct

import pytest
from rich.table import Table

from rezbuild.errors import MachineError, UsageError
from rezbuild.util import tables, words


def test_plural_is_right():
    assert [words.count(n, "package") for n in (0, 1, 2)] == [
        "0 packages",
        "1 package",
        "2 packages",
    ]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (TimeoutError(), "timeout error"),
        (asyncio.CancelledError(), "cancelled error"),
        (OSError(), "OS error"),
        (EOFError(""), "EOF error"),
        (ValueError(" "), "value error"),
        (struct.error(), "error"),
    ],
)
def test_reason_of_an_exception_without_text_is_its_type_in_words(error, said):
    assert words.reason(error) == said


def test_reason_of_an_error_of_rezbuild_has_no_advice():
    assert words.reason(UsageError("no", tried=["a"], advice=["b"])) == "no"


def test_reason_has_no_object_of_dask():
    text = (
        "in <distributed.comm.tcp.TLSConnector object at 0x7f48>: ConnectionRefusedError: refused"
    )
    assert words.reason(OSError(text)) == "refused"
    assert words.reason(OSError("<a> in b: c")) == "<a> in b: c"


def test_reason_has_no_number_of_the_system():
    error = FileNotFoundError(errno.ENOENT, "No such file or directory", "/x")
    assert words.reason(error) == "No such file or directory: '/x'"
    assert words.reason(OSError("in <a object at 0x7f>: OSError: [Errno 111] refused")) == "refused"


def test_reason_is_of_the_error_if_its_cause_has_no_text():
    error = OSError("timed out after 10 s")
    error.__cause__ = asyncio.CancelledError()
    assert words.reason_of_cause(error) == "timed out after 10 s"
    error.__cause__ = OSError("refused")
    assert words.reason_of_cause(error) == "refused"


def test_error_of_the_machine_has_a_reason():
    assert MachineError.from_os_error(TimeoutError()).message == "timeout error"


def test_lines_in_a_pipe_have_no_spaces_at_their_ends(capsys):
    table = Table("name", "text", box=None)
    table.add_row("short", "x")
    table.add_row("long", "y" * 500)
    tables.console().print(table)
    lines = capsys.readouterr().out.splitlines()
    assert [line.rstrip() for line in lines] == lines
    assert max(map(len, lines)) > 500
