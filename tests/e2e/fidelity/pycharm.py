"""The side of PyCharm in its debugger's protocol: lines of a number, a sequence and arguments."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterator
from typing import TextIO
from urllib.parse import unquote

# Commands of pydevd, see pydevd_comm.py.
_RUN, _SUSPENDED, _RESUME, _BREAK, _VERSION = 101, 105, 106, 111, 501
_FRAME = re.compile(r'<frame id="\d+" name="([^"]*)" file="([^"]*)" line="(\d+)"')


@contextlib.contextmanager
def listen() -> Iterator[socket.socket]:
    """Yield a socket to which a program connects."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.settimeout(60)
        yield server


def stops(server: socket.socket, breakpoints: dict[str, list[int]], count: int) -> list[list]:
    """Accept a program, set breakpoints, and return the frames of the first stops."""
    connection, _ = server.accept()
    connection.settimeout(30)
    with connection, connection.makefile("rw", encoding="utf-8", newline="\n") as stream:
        _send(stream, _VERSION, "0.1\tUNIX\tID")
        number = 0
        for path, lines in breakpoints.items():
            for line in lines:
                number += 1
                where = f"{number}\tpython-line\t{path}\t{line}\tNone\tNone\tNone"
                _send(stream, _BREAK, where)
        _send(stream, _RUN, "")
        return [_stop(stream) for _ in range(count)]


def _send(stream: TextIO, command: int, arguments: str) -> None:
    # PyCharm's sequence numbers are odd; this program does not match answers.
    stream.write(f"{command}\t1\t{arguments}\n")
    stream.flush()


def _stop(stream: TextIO) -> list:
    for line in stream:
        command, _, rest = line.partition("\t")
        if int(command) == _SUSPENDED:
            text = unquote(unquote(rest))
            thread = re.search(r'thread id="([^"]*)"', text)
            assert thread, text
            _send(stream, _RESUME, thread[1])
            return [list(frame) for frame in _FRAME.findall(text)]
    raise AssertionError("the program ended before a stop")
