"""Statements of provenance: they are made only of the facts that the build wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rezbuild.errors import UsageError
from rezbuild.payload import manifest, provenance, sbom

RECORD = {"name": "zlib", "version": "1.3.2", "fingerprint": "0" * 64}


@pytest.fixture
def built(tmp_path: Path) -> Path:
    (tmp_path / manifest.MANIFEST).write_text(json.dumps(RECORD), encoding="utf-8")
    (tmp_path / sbom.FILE).write_text("{}", encoding="utf-8")
    manifest.write_contents(tmp_path)
    return tmp_path


def test_statement_names_the_package(built):
    (subject,) = provenance.statement(built, RECORD, {})["subject"]
    assert subject["name"] == "zlib-1.3.2"


@pytest.mark.parametrize("name", [manifest.MANIFEST, sbom.FILE])
def test_changed_file_gives_no_statement(name, built):
    with (built / name).open("a", encoding="utf-8") as stream:
        stream.write(" ")
    with pytest.raises(UsageError, match=f"{name} was changed after the build"):
        provenance.statement(built, RECORD, {})


def test_empty_list_of_checksums_gives_no_statement(built):
    (built / manifest.SUMS).write_text("", encoding="utf-8")
    with pytest.raises(UsageError, match="was changed after the build"):
        provenance.statement(built, RECORD, {})
