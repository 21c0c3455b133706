"""The headers of all patches: purpose, origin and state at upstream."""

from __future__ import annotations

import email
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PATCHES = sorted(ROOT.glob("packages/*/patches/*.patch"))


@pytest.mark.parametrize("path", PATCHES, ids=[f"{p.parts[-3]}/{p.name}" for p in PATCHES])
def test_each_patch_has_a_dep_3_header(path):
    """A DEP-3 header is like that of a mail: fields, then a blank line."""
    text, _, diff = path.read_text(encoding="utf-8").partition("\n\n")
    header = email.message_from_string(f"{text}\n\n")
    assert not header.defects
    assert header["Description"]
    assert header["Origin"]
    assert header["Forwarded"] or header["Applied-Upstream"]
    assert diff.startswith("--- a/")


@pytest.mark.parametrize("path", PATCHES, ids=[f"{p.parts[-3]}/{p.name}" for p in PATCHES])
def test_each_patch_is_applied_to_a_version(path):
    catalogue = (path.parents[1] / "sources.toml").read_text(encoding="utf-8")
    assert f'"{path.name}"' in catalogue
