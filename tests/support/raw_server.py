"""Servers on loopback below HTTP: single bytes, resets, endless data; and a real proxy."""

from __future__ import annotations

import base64
import contextlib
import http.client
import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@dataclass
class Talk:
    """One connection, for a script.

    Attributes:
        number: How many came before.
        sent: The bytes that the client took.
    """

    socket: socket.socket
    closing: threading.Event
    number: int
    sent: int = 0

    def request(self) -> bytes:
        """Read the client's request up to the empty line."""
        data = b""
        while b"\r\n\r\n" not in data:
            block = self.socket.recv(4096)
            if not block:
                break
            data += block
        return data

    def say(self, data: bytes) -> None:
        self.socket.sendall(data)
        self.sent += len(data)

    def drip(self, data: bytes, pause: float) -> None:
        """Send one byte after another."""
        for number in range(len(data)):
            if self.closing.wait(pause):
                return
            self.say(data[number : number + 1])

    def for_ever(self, data: bytes) -> None:
        """Send the same bytes until the client disconnects, at most a gigabyte."""
        while not self.closing.is_set() and self.sent < 10**9:
            self.say(data)

    def wait(self) -> None:
        self.closing.wait(20)

    def reset(self) -> None:
        """End the connection with RST instead of FIN (socket(7), SO_LINGER)."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


Script = Callable[[Talk], None]


class RawServer:
    """A server that runs ``script`` for each connection.

    Attributes:
        talks: Every connection, in order.
    """

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None) -> None:
        self.script, self.tls = script, tls
        self.talks: list[Talk] = []
        self.closing = threading.Event()
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.socket.settimeout(0.05)
        self.address = f"127.0.0.1:{self.socket.getsockname()[1]}"
        self.url = f"{'https' if tls else 'http'}://{self.address}"
        self.threads = [threading.Thread(target=self._accept)]
        self.threads[0].start()

    def _accept(self) -> None:
        while not self.closing.is_set():
            with contextlib.suppress(OSError):  # a timeout, to look up
                connection, _ = self.socket.accept()
                connection.settimeout(20)
                talk = Talk(connection, self.closing, len(self.talks))
                self.talks.append(talk)
                self.threads.append(threading.Thread(target=self._talk, args=(talk,)))
                self.threads[-1].start()

    def _talk(self, talk: Talk) -> None:
        with contextlib.suppress(OSError):  # the client may go away
            if self.tls:
                talk.socket = self.tls.wrap_socket(talk.socket, server_side=True)
            self.script(talk)
        talk.socket.close()

    def close(self) -> None:
        self.closing.set()
        for thread in self.threads:
            thread.join()
        self.socket.close()


@contextlib.contextmanager
def raw_server(script: Script, tls: ssl.SSLContext | None = None) -> Iterator[RawServer]:
    server = RawServer(script, tls)
    try:
        yield server
    finally:
        server.close()


@dataclass
class Proxy:
    """An HTTP proxy with CONNECT and absolute addresses.

    Attributes:
        name: ``NAME:PASSWORD`` that it asks for, or empty.
        refuses: A status for all that it is asked for, or 0.
        log: Methods and targets that it let through.
        asked: How many requests came.
    """

    name: str = ""
    refuses: int = 0
    log: list[str] = field(default_factory=list)
    asked: int = 0
    address: str = ""

    def verdict(self, given: str) -> int:
        self.asked += 1
        wanted = f"Basic {base64.b64encode(self.name.encode()).decode()}"
        return 407 if self.name and given != wanted else self.refuses


@contextlib.contextmanager
def proxy(name: str = "", refuses: int = 0) -> Iterator[Proxy]:
    state = Proxy(name, refuses)
    handler = type("Handler", (_ProxyHandler,), {"state": state})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    state.address = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _ProxyHandler(BaseHTTPRequestHandler):
    state: Proxy

    def _let_through(self) -> bool:
        status = self.state.verdict(self.headers.get("Proxy-Authorization", ""))
        if status:
            self.send_response(status, "a secret of the proxy")
            self.send_header("Proxy-Authenticate", 'Basic realm="studio"')
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self.state.log.append(f"{self.command} {self.path}")
        return not status

    def do_CONNECT(self) -> None:
        if not self._let_through():
            return
        name, _, port = self.path.partition(":")
        with socket.create_connection((name, int(port)), 5) as there:
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):
                self._relay(self.connection, there)

    def _relay(self, here: socket.socket, there: socket.socket) -> None:
        other = {here: there, there: here}
        while True:
            for ready in select.select(list(other), [], [], 10)[0]:
                block = ready.recv(1 << 16)
                if not block:
                    return
                other[ready].sendall(block)

    def do_GET(self) -> None:
        if not self._let_through():
            return
        parts = urlsplit(self.path)
        connection = http.client.HTTPConnection(parts.netloc, timeout=5)
        connection.request("GET", parts.path)
        with contextlib.closing(connection), connection.getresponse() as answer:
            body = answer.read()
            self.send_response(answer.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        """Write no log."""
