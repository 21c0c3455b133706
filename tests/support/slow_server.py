"""A slow server of sources."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_BLOCKS = 6


class SlowServer(http.server.ThreadingHTTPServer):
    """A server that sends each file of a folder in blocks, with pauses.

    Attributes:
        url: The address, to be used as a mirror.
        pace: The seconds between two blocks.
        asked: The names of files that a client requested from the first byte on.
    """

    daemon_threads = True

    def __init__(self, folder: Path, pace: float) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.pace = pace
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.asked: list[str] = []

    def handle_error(self, *_: object) -> None:
        """Ignore errors, since tests kill clients."""


class _Handler(http.server.BaseHTTPRequestHandler):
    """A handler that supports Range requests without an end."""

    server: SlowServer

    def do_GET(self) -> None:
        path = self.server.folder / Path(self.path).name
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        begin = int(self.headers.get("Range", "bytes=0-")[len("bytes=") : -1])
        if begin == 0:
            self.server.asked.append(path.name)
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - begin))
        self.end_headers()
        size = len(data) // _BLOCKS + 1
        for start in range(begin, len(data), size):
            time.sleep(self.server.pace)
            self.wfile.write(data[start : start + size])

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def slow_server(folder: Path, pace: float = 0.05) -> Iterator[SlowServer]:
    """Run a server during the block."""
    with SlowServer(folder, pace) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
