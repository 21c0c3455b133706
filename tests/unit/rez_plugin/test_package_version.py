"""The version of a ``package.py`` without rezbuild's driver."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from rezbuild.catalogue.model import Recipe
from rezbuild.catalogue.sources_toml import load
from rezbuild.rez_plugin import package_definition

TEXT = """\
default = "1.2.3"
license = "MIT"
file = "thing-{version}.tar.gz"
urls = ["https://example.invalid/{file}"]
[versions."1.2.1"]
sha256 = "%s"
size = 4
[versions."1.2.2"]
sha256 = "%s"
[versions."1.2.3"]
sha256 = "%s"
[versions."1.3.0"]
sha256 = "%s"
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    folder = tmp_path / "thing"
    folder.mkdir()
    (folder / "sources.toml").write_text(TEXT % tuple(c * 64 for c in "0123"), encoding="utf-8")
    monkeypatch.setenv("REZBUILD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("REZBUILD_MIRRORS", str(tmp_path / "mirror"))
    monkeypatch.delenv("REZBUILD_THING_VERSION", raising=False)
    return load(folder)


def put(folder: Path, version: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"thing-{version}.tar.gz").write_bytes(b"data")


def version(recipe: Recipe) -> str:
    """Return the version that a new process computes."""
    package_definition._versions.clear()
    return package_definition._version(recipe)


def test_version_without_sources_is_the_default(recipe):
    assert version(recipe) == "1.2.3"


def test_version_is_the_newest_local_source_of_the_default_series(recipe, tmp_path):
    put(tmp_path / "mirror", "1.3.0")
    assert version(recipe) == "1.2.3"
    put(tmp_path / "mirror", "1.2.1")
    assert version(recipe) == "1.2.1"
    put(tmp_path / "cache/sources/thing", "1.2.2")
    assert version(recipe) == "1.2.2"


def test_file_of_another_size_is_not_the_source(recipe, tmp_path):
    put(tmp_path / "mirror", "1.2.1")
    (tmp_path / "mirror/thing-1.2.1.tar.gz").write_bytes(b"cut")
    assert version(recipe) == "1.2.3"


def test_variable_sets_the_version(recipe, tmp_path, monkeypatch):
    put(tmp_path / "mirror", "1.2.2")
    monkeypatch.setenv("REZBUILD_THING_VERSION", "1.2.1")
    assert version(recipe) == "1.2.1"


def test_version_is_stable_in_one_process(recipe, tmp_path):
    """Rez evaluates package.py several times, and the build fetches a source in between."""
    put(tmp_path / "mirror", "1.2.1")
    assert version(recipe) == "1.2.1"
    put(tmp_path / "cache/sources/thing", "1.2.3")
    assert package_definition._version(recipe) == "1.2.1"


def test_rez_release_takes_the_default(recipe, tmp_path, monkeypatch):
    """A release must not depend on the cache of one machine."""
    put(tmp_path / "mirror", "1.2.1")
    monkeypatch.setitem(sys.modules, "rez.cli.release", sys)
    assert version(recipe) == "1.2.3"
