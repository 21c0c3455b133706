"""Advice of messages and pages how to install optional libraries."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from rezbuild.util import extras, toml

ROOT = Path(__file__).parents[3]
PROJECT = toml.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.mark.parametrize("extra", ["bench", "farm", "signatures"])
def test_advice_in_a_clone_installs_from_the_clone(extra):
    assert extra in PROJECT["optional-dependencies"]
    pip = [sys.executable, "-m", "pip", "install"]
    assert shlex.split(extras.install_command(extra)) == [*pip, "-e", f"{ROOT}[{extra}]"]


def test_advice_without_a_clone_names_the_distribution(tmp_path):
    assert extras.install_command("farm", tmp_path).endswith(
        f"pip install '{PROJECT['name']}[farm]'"
    )


def test_pages_advise_no_extra_of_another_project():
    """On a package index, rezbuild is another project."""
    for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        found = re.findall(r"([\w./-]+)\[(bench|dev|farm|signatures)\]", page.read_text("utf-8"))
        names = {name for name, _ in found if not name.startswith("/")}
        assert names <= {".", PROJECT["name"]}, page
