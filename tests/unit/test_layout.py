"""Folders of the code, of the unit tests, and of the page that describes them."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = {path.parent.name for path in (ROOT / "rezbuild").glob("*/__init__.py")}


def test_unit_tests_have_the_folders_of_the_code() -> None:
    tested = {path.parent.name for path in (ROOT / "tests/unit").glob("*/test_*.py")}
    assert tested <= FOLDERS | {"docs", "packages"}
    assert tested >= FOLDERS


def test_pytest_searches_each_folder_of_tests(pytestconfig: pytest.Config) -> None:
    """pytest leaves out tests/unit/build, unless our configuration says otherwise."""
    left_out = pytestconfig.getini("norecursedirs")
    for path in (ROOT / "tests").rglob("test_*.py"):
        for name in path.relative_to(ROOT).parent.parts:
            assert not any(fnmatch(name, pattern) for pattern in left_out), path


def test_architecture_page_lists_each_folder_and_existing_files() -> None:
    page = (ROOT / "docs/development/architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"(?m)^\| `(\w+)/` \| [^|]* \| (.*) \|$", page)
    assert {folder for folder, _ in rows} == FOLDERS
    for folder, files in rows:
        for name in re.findall(r"`(\w+\.py)`", files):
            assert (ROOT / "rezbuild" / folder / name).is_file(), (folder, name)
    for name in re.findall(r"`(rezbuild/[\w/]+\.py)`", page):
        assert (ROOT / name).is_file(), name
