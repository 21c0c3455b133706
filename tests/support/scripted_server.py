"""An HTTP server on loopback whose answers are scripted, e.g. wrong, slow or incomplete."""

from __future__ import annotations

import contextlib
import re
import ssl
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote


@dataclass(frozen=True)
class Answer:
    """The answer of the server to one request.

    Attributes:
        sent: How many bytes of the body the server sends; it announces the whole length.
        stalls: The connection stays open after these bytes.
        pause: Seconds before the body.
        ranges: The server supports Range requests.
        shift: How many bytes after the requested position a range begins.
        framing: "length", "chunked", or "none" (the end of the connection ends the body).
    """

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    sent: int | None = None
    stalls: bool = False
    pause: float = 0.0
    ranges: bool = True
    shift: int = 0
    framing: str = "length"


@dataclass(frozen=True)
class Request:
    path: str
    headers: Mapping[str, str]


class ScriptedServer:
    """A server with a list of answers for each path; it repeats the last answer.

    Attributes:
        log: All requests, in order.
    """

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.log: list[Request] = []
        self.closing = threading.Event()
        handler = type("Handler", (_Handler,), {"owner": self})
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        if tls is not None:
            self.http.socket = tls.wrap_socket(self.http.socket, server_side=True)
        self.address = f"127.0.0.1:{self.http.server_address[1]}"
        self.url = f"{'https' if tls else 'http'}://{self.address}"

    def at(self, path: str, *answers: Answer) -> str:
        """Set the answers at ``path``, and return its address."""
        self.answers[path] = list(answers)
        return self.url + path

    def next_answer(self, path: str) -> Answer:
        left = self.answers.get(path, [Answer(status=404)])
        return left.pop(0) if len(left) > 1 else left[0]

    def paths(self) -> list[str]:
        return [asked.path for asked in self.log]


@contextlib.contextmanager
def scripted_server(tls: ssl.SSLContext | None = None) -> Iterator[ScriptedServer]:
    server = ScriptedServer(tls)
    thread = threading.Thread(target=server.http.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.http.shutdown()
        thread.join()
        server.http.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: ScriptedServer

    def do_GET(self) -> None:
        self.owner.log.append(Request(self.path, dict(self.headers)))
        answer = self.owner.next_answer(unquote(self.path.partition("?")[0]))
        self.owner.closing.wait(answer.pause)
        self.close_connection = True
        with contextlib.suppress(OSError):  # the client may go away
            self._send(answer, *self._begin(answer))

    def _begin(self, answer: Answer) -> tuple[int, int]:
        """Return the status, and the position of the first byte of the body."""
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if not asked or not answer.ranges or answer.status != 200:
            return answer.status, 0
        begin = int(asked[1]) + answer.shift
        return (206, begin) if begin < len(answer.body) else (416, len(answer.body))

    def _send(self, answer: Answer, status: int, begin: int) -> None:
        body, total = answer.body[begin:], len(answer.body)
        headers = {**answer.headers, "Connection": "close"}
        if status == 206:
            headers["Content-Range"] = f"bytes {begin}-{total - 1}/{total}"
        if answer.framing == "length":
            headers["Content-Length"] = str(len(body))
        out = body[: answer.sent]
        if answer.framing == "chunked":
            headers["Transfer-Encoding"] = "chunked"
            out = b"%x\r\n%s\r\n" % (len(out), out)
            out += b"0\r\n\r\n" if answer.sent is None else b""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(out)
        if answer.stalls:
            self.owner.closing.wait(30)

    def log_message(self, *_args: object) -> None:
        """Write no log."""
