"""Upstream's lists of versions: pages of real servers, read over loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from scripted_server import Answer, ScriptedServer, scripted_server

from rezbuild.catalogue.model import Archive, Recipe, Release
from rezbuild.cli import main
from rezbuild.errors import FetchError
from rezbuild.plan import resolve
from rezbuild.settings import Settings
from rezbuild.versions import upstream
from rezbuild.versions.upstream import Upstream

PACKAGES = Path(__file__).parents[3] / "packages"
PAGE = {"Content-Type": "text/html; charset=utf-8"}
# Folder lists of Apache and nginx.
FOLDER = b"""<!DOCTYPE HTML><html><body><h1>Index of /ftp</h1>
<a href="3.11.9/">3.11.9/</a> 02-Apr-2024 14:28 <a href="3.11.10/">3.11.10/</a> 07-Sep-2024
<a href="3.12.1/">3.12.1/</a> <a href="3.11.12-rc1/">3.11.12-rc1/</a> <a href="/v3.11.99x/">x</a>
</body></html>"""
FILES = b"""<html><pre><a href="thing-1.2.3.tar.gz">thing-1.2.3.tar.gz</a> 2024-01-01 3.9M
<a href="thing-1.2.4.tar.gz.asc">..</a> <a href="other-thing-1.2.8.tar.gz">..</a>
<a href="thing-1.2.5rc1.tar.gz">..</a> <a href="thing-1.2.1b.tar.gz">..</a>
<a href="thing-1.3.0.tar.gz">..</a></pre>"""
FEED = b"""<?xml version="1.0" encoding="UTF-8"?><feed><entry>
<id>tag:forge.invalid,2008:Repository/7/thing-3.5.10</id>
<link href="https://forge.invalid/o/thing/releases/tag/thing-3.5.10"/></entry><entry>
<id>tag:forge.invalid,2008:Repository/7/thing-3.6.0-beta1</id></entry></feed>"""


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as running:
        yield running


def release(version: str, *urls: str) -> Release:
    archive = Archive("thing.tar.gz", "0" * 64, urls=urls)
    return Release("thing", version, (archive,), (), (), "MIT")


def newest(folder: Path, *pins: Release) -> list[str]:
    said: list[str] = []
    settings = Settings(folder, connect_timeout=1.0, read_timeout=1.0, retries=0)
    asked = Upstream(settings, said.append)
    recipe = Recipe("thing", folder, "1.0", False, {pin.version: pin for pin in pins})
    return [asked.newest(recipe, pin) for pin in pins]


def test_packages_with_the_versions_of_another_one_get_a_line(capsys, monkeypatch):
    monkeypatch.setenv("REZBUILD_RECIPES", str(PACKAGES))
    assert main.main(["versions"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line for line in out if line.startswith("python_")] == [
        f"{name}: the versions of python, which `rezbuild versions {name}` lists"
        for name in ("python_debug", "python_freethreading", "python_tests")
    ]
    assert sum(line.split()[:1] == ["python"] for line in out) > 5
    assert main.main(["versions", "python_debug"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert sum(line.split()[:1] == ["python_debug"] for line in out) > 5


def test_versions_are_read_from_folders(server, tmp_path):
    server.at("/ftp/python/", Answer(FOLDER, headers=PAGE))
    url = f"{server.url}/ftp/python/{{0}}/Python-{{0}}.tar.xz"
    pins = [release(version, url.format(version)) for version in ("3.11.2", "3.12.0")]
    assert newest(tmp_path, *pins) == ["3.11.10", "3.12.1"]
    assert len(server.log) == 1


def test_versions_are_read_from_files_in_one_folder(server, tmp_path):
    server.at("/source/", Answer(FILES, headers=PAGE))
    pin = release("1.2.1", f"{server.url}/source/thing-1.2.1.tar.gz")
    assert newest(tmp_path, pin) == ["1.2.3"]


def test_versions_are_read_from_a_feed(server, tmp_path):
    server.at(
        "/o/thing/releases.atom", Answer(FEED, headers={"Content-Type": "application/atom+xml"})
    )
    url = f"{server.url}/o/thing/releases/download/thing-3.5.6/thing-3.5.6.tar.gz"
    assert newest(tmp_path, release("3.5.6", url)) == ["3.5.10"]


def test_versions_are_read_from_all_pages(server, tmp_path):
    """A feed lists the newest versions only; unreadable pages are skipped."""
    server.at("/a/", Answer(b"thing-1.2.3.tar.gz"))
    server.at("/b/", Answer(b"thing-1.2.4.tar.gz"))
    urls = [f"{server.url}/{place}/thing-1.2.1.tar.gz" for place in ("none", "a", "b")]
    assert newest(tmp_path, release("1.2.1", *urls)) == ["1.2.4"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(status=404), "404"),
        (Answer(b"<html>welcome", headers=PAGE), "has no version of 1.2"),
        (Answer(b"\xff\0thing-9.9.9.tar.gz"), "has no version of 1.2"),
        (Answer(b"x" * 11_000_000), "more than 10 MB"),
        (Answer(FILES, sent=10), "was lost"),
    ],
)
def test_page_without_versions_is_reported(server, tmp_path, answer, reason):
    server.at("/source/", answer)
    with pytest.raises(FetchError, match=reason) as caught:
        newest(tmp_path, release("1.2.1", f"{server.url}/source/thing-1.2.1.tar.gz"))
    assert "upstream's versions of thing 1.2 cannot be read" in caught.value.message


def test_address_without_the_version_is_skipped(tmp_path):
    with pytest.raises(FetchError, match="no address in the catalogue contains the version"):
        newest(tmp_path, release("3.53.4", "https://upstream.invalid/2026/thing-3530400.tar.gz"))


def test_own_addresses_have_a_version_page():
    """Packages whose addresses lack the version are exempt."""
    recipes = resolve.recipes(PACKAGES)
    without = {
        recipe.name
        for recipe in recipes.values()
        if not list(upstream.places(recipe.release(recipe.default)))
    }
    assert without == {"sqlite"}
    (first, *_) = upstream.places(recipes["openssl"].release("3.5.9"))
    assert first[0].endswith("/openssl/openssl/releases.atom")
