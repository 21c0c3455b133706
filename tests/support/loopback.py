"""A web server on loopback with a certificate of an unknown authority."""

from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import trustme


class Authority:
    """A certificate authority with one certificate for ``localhost``.

    Attributes:
        file: The authority's certificate (PEM).
        issued: The certificate for ``localhost``.
    """

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.file = folder / "authority.pem"
        self.issued = folder / "localhost.pem"
        authority.cert_pem.write_to_path(str(self.file))
        self._leaf = authority.issue_cert("localhost")
        self._leaf.cert_chain_pems[0].write_to_path(str(self.issued))

    def context(self) -> ssl.SSLContext:
        """Return the context of a server that speaks TLS 1.3 only."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        self._leaf.configure_cert(context)
        return context


class _Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        body = cast(_Server, self.server).body
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    body = b"hello"

    def handle_error(self, *_: Any) -> None:
        """Ignore errors, since some clients refuse the certificate on purpose."""


class TlsServer:
    """The address of a server, and its authority."""

    def __init__(self, authority: Authority, server: _Server) -> None:
        self.authority = authority.file
        self.issued = authority.issued
        self.port = server.server_address[1]
        self._server = server

    def set_body(self, body: bytes) -> None:
        """Change the served content."""
        self._server.body = body

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}/"


@contextmanager
def serving(folder: Path) -> Iterator[TlsServer]:
    """Serve ``hello`` during the block, with the certificates of ``folder``."""
    authority = Authority(folder)
    with _Server(("127.0.0.1", 0), _Hello) as server:
        server.socket = authority.context().wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield TlsServer(authority, server)
        finally:
            server.shutdown()
            thread.join()
