"""Advice of messages and pages how to install optional libraries."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
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


def test_copy_that_differs_from_the_clone_is_named(tmp_path):
    clone, copy = tmp_path / "clone", tmp_path / "site-packages/rezbuild"
    for folder in (clone / "rezbuild", copy):
        shutil.copytree(ROOT / "rezbuild", folder, ignore=shutil.ignore_patterns("__pycache__"))
    recipes = clone / "packages"
    assert extras.outdated_copy(recipes, copy) == ""
    assert extras.outdated_copy(recipes, clone / "rezbuild") == ""
    assert extras.outdated_copy(tmp_path / "elsewhere/packages", copy) == ""
    (clone / "rezbuild/cli/new.py").touch()
    found = extras.outdated_copy(recipes, copy)
    assert found.startswith(f"{copy} is a copy that differs from {clone / 'rezbuild'}; install")
    assert shlex.split(found.rpartition(": ")[2])[1:] == ["-m", "pip", "install", "-e", str(clone)]


def test_build_and_doctor_name_an_outdated_copy(tmp_path):
    """The copy comes first on the module search path, as one in site-packages would."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "rezbuild", tmp_path / "rezbuild", ignore=ignore)
    (tmp_path / "rezbuild/util/svg.py").write_text("")
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "REZBUILD_RECIPES": str(ROOT / "packages")}
    for argv in (["plan", "zlib"], ["doctor"]):
        done = subprocess.run(
            [sys.executable, "-m", "rezbuild", *argv],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert f"{tmp_path / 'rezbuild'} is a copy that differs from" in done.stdout + done.stderr


def test_pages_advise_no_extra_of_another_project():
    """On a package index, rezbuild is another project."""
    for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        found = re.findall(r"([\w./-]+)\[(bench|dev|farm|signatures)\]", page.read_text("utf-8"))
        names = {name for name, _ in found if not name.startswith("/")}
        assert names <= {".", PROJECT["name"]}, page


def test_pages_install_a_clone_in_editable_mode():
    """A copy stays old after ``git pull``."""
    for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        assert not re.findall(r"pip install '?\.", page.read_text("utf-8")), page
