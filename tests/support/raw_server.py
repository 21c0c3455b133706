"""Servers on loopback that scripts control byte by byte, and a real HTTP proxy."""

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
class Connection:
    """A connection that a script controls.

    Attributes:
        number: The number of earlier connections.
        sent: How many bytes the client has received.
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

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)
        self.sent += len(data)

    def send_slowly(self, data: bytes, pause: float) -> None:
        """Send one byte after another."""
        for number in range(len(data)):
            if self.closing.wait(pause):
                return
            self.send(data[number : number + 1])

    def send_endlessly(self, data: bytes) -> None:
        """Send the same bytes until the client disconnects, at most a gigabyte."""
        while not self.closing.is_set() and self.sent < 10**9:
            self.send(data)

    def wait(self) -> None:
        self.closing.wait(20)

    def reset(self) -> None:
        """End the connection with RST instead of FIN (socket(7), SO_LINGER)."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


Script = Callable[[Connection], None]


class RawServer:
    """A server that runs a script for each connection.

    Attributes:
        connections: All connections, in order.
    """

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None) -> None:
        self.script, self.tls = script, tls
        self.connections: list[Connection] = []
        self.closing = threading.Event()
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.socket.settimeout(0.05)
        self.address = f"127.0.0.1:{self.socket.getsockname()[1]}"
        self.url = f"{'https' if tls else 'http'}://{self.address}"
        self.threads = [threading.Thread(target=self._accept)]
        self.threads[0].start()

    def _accept(self) -> None:
        while not self.closing.is_set():
            with contextlib.suppress(OSError):  # a timeout, to check self.closing
                client, _ = self.socket.accept()
                client.settimeout(20)
                connection = Connection(client, self.closing, len(self.connections))
                self.connections.append(connection)
                self.threads.append(threading.Thread(target=self._serve, args=(connection,)))
                self.threads[-1].start()

    def _serve(self, connection: Connection) -> None:
        with contextlib.suppress(OSError):  # the client may disconnect
            if self.tls:
                connection.socket = self.tls.wrap_socket(connection.socket, server_side=True)
            self.script(connection)
        connection.socket.close()

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
    """An HTTP proxy that supports CONNECT and absolute addresses.

    Attributes:
        name: The required ``NAME:PASSWORD``, or "".
        refuses: The status for all requests, or 0 to forward them.
        log: Methods and targets of the forwarded requests.
        asked: The number of requests.
    """

    name: str = ""
    refuses: int = 0
    log: list[str] = field(default_factory=list)
    asked: int = 0
    address: str = ""

    def status_for(self, given: str) -> int:
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

    def _is_allowed(self) -> bool:
        status = self.state.status_for(self.headers.get("Proxy-Authorization", ""))
        if status:
            self.send_response(status, "a secret of the proxy")
            self.send_header("Proxy-Authenticate", 'Basic realm="studio"')
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self.state.log.append(f"{self.command} {self.path}")
        return not status

    def do_CONNECT(self) -> None:
        if not self._is_allowed():
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
        if not self._is_allowed():
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
