"""A client of the Debug Adapter Protocol (DAP), which editors use to control debugpy."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from typing import Any, BinaryIO

import pytest


@contextlib.contextmanager
def connect(port: int, seconds: float = 60) -> Iterator[Client]:
    """Wait until debugpy listens on the port, and return a client."""
    end = time.monotonic() + seconds
    with socket.socket() as connection:
        connection.settimeout(30)
        while connection.connect_ex(("127.0.0.1", port)):
            if time.monotonic() > end:
                pytest.fail(f"nothing listens on port {port}")
            time.sleep(0.05)
        with connection.makefile("rwb") as stream:
            yield Client(stream)


class Client:
    """The requests that an editor sends to set breakpoints and to read a stopped program."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._number = 0
        self._events: list[dict[str, Any]] = []
        self._answers: dict[int, dict[str, Any]] = {}

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Send a request; return the body of its response."""
        return self.answer(self.send(command, **arguments))

    def send(self, command: str, **arguments: Any) -> int:
        """Send a request; return its number."""
        self._number += 1
        message = {
            "seq": self._number,
            "type": "request",
            "command": command,
            "arguments": arguments,
        }
        body = json.dumps(message).encode()
        self._stream.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self._stream.flush()
        return self._number

    def answer(self, number: int) -> dict[str, Any]:
        """Wait for the response to a request; return its body."""
        while number not in self._answers:
            self._receive()
        message = self._answers.pop(number)
        assert message["success"], message
        body: dict[str, Any] = message.get("body") or {}
        return body

    def event(self, name: str) -> dict[str, Any]:
        """Wait for the next event of that name; return its body."""
        while True:
            for message in self._events:
                if message["event"] == name:
                    self._events.remove(message)
                    body: dict[str, Any] = message.get("body") or {}
                    return body
            self._receive()

    def _receive(self) -> None:
        length = 0
        while (line := self._line()) != b"\r\n":
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        message = json.loads(self._stream.read(length))
        if message["type"] == "event":
            self._events.append(message)
        elif message["type"] == "response":
            self._answers[message["request_seq"]] = message

    def _line(self) -> bytes:
        line = self._stream.readline()
        assert line, "debugpy closed the connection"
        return line

    def attach(self, breakpoints: dict[str, list[int]]) -> None:
        """Attach to the program, set breakpoints by file and line, and let the program continue.

        Without justMyCode=False, debugpy ignores breakpoints in the standard library.
        """
        self.ask("initialize", adapterID="tests", clientID="tests", pathFormat="path")
        attaching = self.send("attach", justMyCode=False)
        self.event("initialized")
        for path, lines in breakpoints.items():
            places = [{"line": line} for line in lines]
            self.ask("setBreakpoints", source={"path": path}, breakpoints=places)
        self.ask("configurationDone")
        self.answer(attaching)

    def stop(self) -> dict[str, Any]:
        """Wait until the program stops; return its frames and the innermost frame's variables."""
        stopped = self.event("stopped")
        thread = stopped["threadId"]
        frames = self.ask("stackTrace", threadId=thread)["stackFrames"]
        scopes = self.ask("scopes", frameId=frames[0]["id"])["scopes"]
        names = self.ask("variables", variablesReference=scopes[0]["variablesReference"])
        found = {
            "reason": stopped["reason"],
            "frames": [[f["name"], f["source"]["path"], f["line"]] for f in frames],
            "locals": {v["name"]: v["value"] for v in names["variables"]},
        }
        self.ask("continue", threadId=thread)
        return found
