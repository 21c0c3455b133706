"""A store behind a real web server with faults."""

from __future__ import annotations

import contextlib
import functools
import http.server
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from payloads import inputs, payload, put, tree
from raw_server import Connection, RawServer, raw_server

from rezbuild.errors import StoreError
from rezbuild.settings import Settings
from rezbuild.store import Entry, Store, maintain
from rezbuild.store import key as keys

SECRETS = "?token=geheim"


class Handler(http.server.SimpleHTTPRequestHandler):
    """Python's own handler, which may list no folders and records requests."""

    lists = True
    asked: list[str]

    def list_directory(self, path):
        if not self.lists:
            self.send_error(403)
            return None
        return super().list_directory(path)

    def log_message(self, *_: object) -> None:
        self.asked.append(self.path)


@contextlib.contextmanager
def serve(folder: Path, *, lists: bool = True) -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []
    handler = type("Own", (Handler,), {"lists": lists, "asked": asked})
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(handler, directory=str(folder))
    )
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return payload(tmp_path / "payload")


@pytest.fixture
def folder(tmp_path: Path, root: Path) -> Path:
    """Return the folder of a store that a server serves."""
    put(Store(str(tmp_path / "www/store")), root)
    return tmp_path / "www"


def short_timeouts(cache: Path) -> Settings:
    return Settings(cache=cache, connect_timeout=0.5, read_timeout=0.5, retries=0)


def find(store: Store) -> Entry | None:
    return store.find(keys.hash_inputs(inputs()), "thing", "1.0")


def test_web_store_is_read_with_a_secret_address(folder, root, tmp_path):
    said: list[str] = []
    with serve(folder) as (address, asked):
        store = Store(f"http://me:geheim@{address}/store/{SECRETS}", say=said.append)
        entry = find(store)
        store.restore(entry, tmp_path / "taken")
        assert list(store.entries("thing", "1.0")) == [entry]
        assert (maintain.list_packages(store), maintain.list_versions(store, "thing")) == (
            ["thing"],
            ["1.0"],
        )
        assert store.find("0" * 64, "thing", "1.0") is None
        assert list(maintain.verify(store, said.append, remove=False)) == []
        assert said.pop().endswith(".json: ok")
    assert tree(tmp_path / "taken") == tree(root)
    assert store.display_url == f"http://{address}/store/"
    assert all(path.endswith(SECRETS) for path in asked)
    assert said == []


def test_web_store_is_read_only(folder, root, tmp_path):
    said: list[str] = []
    with serve(folder) as (address, _):
        store = Store(f"http://me:geheim@{address}/store", say=said.append)
        put(store, root, other=True)
        (line,) = said
        assert line.startswith(f"thing 1.0: notice: not put into the store http://{address}/store")
        assert line.endswith(": a web server is read-only")
        with pytest.raises(StoreError, match="is read-only"):
            list(maintain.prune(store, days=-1, unused=False))
        assert find(store)


def test_server_without_folder_lists_is_reported(folder, root, tmp_path):
    said: list[str] = []
    with serve(folder, lists=False) as (address, _):
        store = Store(f"http://{address}/store", say=said.append)
        assert list(store.entries("thing", "1.0")) == []
        assert maintain.list_packages(store) == []
        store.restore(find(store), tmp_path / "taken")
    assert tree(tmp_path / "taken") == tree(root)
    assert said == []


def test_damaged_transfer_is_refused(folder, root, tmp_path):
    with serve(folder) as (address, _):
        store = Store(f"http://{address}/store", say=print)
        entry = find(store)
        blob = folder / f"store/payloads/{entry.blob}.tar.zst"
        for spoil, reason in (
            (lambda: blob.write_bytes(b"\0" * entry.size), "its sha256 is"),
            (lambda: blob.write_bytes(b"\0" * 10**6), "it has more bytes"),
            (lambda: blob.write_bytes(b"\0" * 10), "it has 10 bytes"),
            (blob.unlink, "it answered 404 Not Found"),
        ):
            spoil()
            with pytest.raises(StoreError, match=reason):
                store.restore(entry, tmp_path / "taken")
            assert not (tmp_path / "taken").exists()


def test_portal_instead_of_the_store_is_ignored(tmp_path):
    def captive_portal(connection: Connection) -> None:
        connection.request()
        body = b"<html>Log in, please</html>"
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    said: list[str] = []
    with raw_server(captive_portal) as server:
        assert find(Store(server.url, say=said.append, settings=short_timeouts(tmp_path))) is None
    assert "a captive portal or proxy?" in said[0]


def silent(connection: Connection) -> None:
    connection.wait()


def refusing(connection: Connection) -> None:
    connection.request()
    connection.send(b"HTTP/1.1 503 geheim\r\nContent-Length: 0\r\n\r\n")


def resetting(connection: Connection) -> None:
    connection.reset()


def endless_answer(connection: Connection) -> None:
    connection.request()
    connection.send(b"HTTP/1.1 200 OK\r\n\r\n")
    connection.send_endlessly(b" " * 1000)


def slow_body(connection: Connection) -> None:
    connection.request()
    connection.send_slowly(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b" " * 1000, 0.2)


@pytest.mark.parametrize("script", [silent, refusing, resetting, slow_body])
def test_faulty_server_is_asked_once(tmp_path, root, script):
    said: list[str] = []
    with raw_server(script) as server:
        url = f"http://me:geheim@{server.address}/geheim-not/{SECRETS}"
        store = Store(url, say=said.append, settings=short_timeouts(tmp_path))
        began = time.monotonic()
        assert find(store) is None
        assert time.monotonic() - began < 5
        asked = len(server.connections)
        assert find(store) is None
        assert list(store.entries("thing", "1.0")) == []
        put(store, root)
        assert len(server.connections) == asked
    (line,) = said
    assert line.startswith(
        f"notice: the store http://{server.address}/geheim-not/ cannot be used: "
    )
    assert "me:" not in line
    assert "token" not in line


def test_endless_entry_is_refused(tmp_path):
    said: list[str] = []
    with raw_server(endless_answer) as server:
        assert find(Store(server.url, say=said.append, settings=short_timeouts(tmp_path))) is None
    assert "it has more than 1048576 bytes" in said[0]


def test_unreachable_store_is_asked_once(tmp_path, root):
    server = RawServer(silent)
    server.close()
    said: list[str] = []
    store = Store(
        f"http://me:geheim@{server.address}/", say=said.append, settings=short_timeouts(tmp_path)
    )
    assert find(store) is None
    put(store, root)
    assert said == [
        f"notice: the store http://{server.address}/ cannot be used: it refuses connections"
    ]
    with pytest.raises(StoreError, match="cannot be read") as caught:
        maintain.list_packages(store)
    assert "geheim" not in str(caught.value)


def test_hanging_disk_is_given_up(tmp_path, root):
    """Opening a FIFO without a writer waits like a dead NFS server."""
    entry = put(Store(str(tmp_path / "store")), root)
    place = tmp_path / "store" / entry.place
    place.unlink()
    os.mkfifo(place)
    said: list[str] = []
    store = Store(str(tmp_path / "store"), say=said.append, settings=short_timeouts(tmp_path))
    began = time.monotonic()
    assert find(store) is None
    assert time.monotonic() - began < 5
    assert said == [
        f"notice: the store {tmp_path / 'store'} cannot be used: it has not answered within 1 s"
    ]
    # Release the waiting process.
    with place.open("wb"):
        pass
    shutil.rmtree(tmp_path / "store")
