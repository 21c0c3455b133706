"""Each patch of a recipe says what it does, where it comes from, and what upstream did with it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PATCHES = sorted((Path(__file__).parents[2] / "packages/python/patches").glob("*.patch"))
# DEP-3, https://dep-team.pages.debian.net/deps/dep3/
FIELD = re.compile(r"(?m)^([A-Z][A-Za-z-]*): (\S.*)$")


def test_recipes_have_patches():
    assert PATCHES


@pytest.mark.parametrize("path", PATCHES, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_patch_has_a_dep3_header(path):
    header = path.read_text(encoding="utf-8").partition("\n--- ")[0]
    fields = dict(FIELD.findall(header.partition("\n\n")[0]))
    assert header.startswith("Description: ")
    assert {"Description", "Origin"} <= set(fields)
    assert {"Forwarded", "Applied-Upstream"} & set(fields)
    # A backport names the change that it brings.
    assert "https://" in fields["Origin"] or fields["Origin"] == "vendor"
