"""A loopback HTTP server that does as it is told: it lies, stalls, cuts and counts."""

from __future__ import annotations

import re
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import unquote


@dataclass(frozen=True)
class Answer:
    """What the server answers to one request.

    Attributes:
        sent: Bytes of the body that really go out; the length announced is the whole body's.
        stalls: Then nothing more comes, with the connection open.
        pause: Seconds before the body.
        ranges: Range requests are honoured.
        shift: Bytes by which a range begins elsewhere than asked.
        framing: "length", "chunked", or "none": the connection's end ends the body.
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
class Asked:
    path: str
    headers: Mapping[str, str]


class LyingServer:
    """Serves ``answers``: by path, one after the other; the last one stays.

    Attributes:
        log: Every request, in order.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.log: list[Asked] = []
        self.closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"{'https' if tls else 'http'}://{self.address}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> LyingServer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def at(self, path: str, *answers: Answer) -> str:
        """Tells what is answered at ``path`` and returns its address."""
        self.answers[path] = list(answers)
        return self.url + path

    def next_answer(self, path: str) -> Answer:
        left = self.answers.get(path, [Answer(status=404)])
        return left.pop(0) if len(left) > 1 else left[0]

    def paths(self) -> list[str]:
        return [asked.path for asked in self.log]


def _handler(owner: LyingServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            owner.log.append(Asked(self.path, dict(self.headers)))
            answer = owner.next_answer(unquote(self.path.partition("?")[0]))
            owner.closing.wait(answer.pause)
            self.close_connection = True
            try:
                self._answer(answer)
            except OSError:
                pass  # the client went away, as it may

        def _answer(self, answer: Answer) -> None:
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            begin, status = 0, answer.status
            if asked and answer.ranges and status == 200:
                begin, status = int(asked[1]) + answer.shift, 206
            if begin >= len(answer.body) and status == 206:
                begin, status = len(answer.body), 416
            self.send_response(status)
            if status == 206:
                last, total = len(answer.body) - 1, len(answer.body)
                self.send_header("Content-Range", f"bytes {begin}-{last}/{total}")
            self._send(answer, answer.body[begin:])

        def _send(self, answer: Answer, body: bytes) -> None:
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if answer.framing == "length":
                self.send_header("Content-Length", str(len(body)))
            elif answer.framing == "chunked":
                self.send_header("Transfer-Encoding", "chunked")
            self.send_header("Connection", "close")
            self.end_headers()
            out = body[: answer.sent]
            if answer.framing == "chunked":
                out = b"%x\r\n%s\r\n" % (len(out), out)
                out += b"0\r\n\r\n" if answer.sent is None else b""
            self.wfile.write(out)
            if answer.stalls:
                owner.closing.wait(30)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
            """Keeps quiet."""

    return Handler
