"""rez-release in a clone of this repository, with the real recipe, Rez and git."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from git_clone import IDENTITY, commit, git, make_clone
from host_tools import require_tool
from moves import DEFAULTS, hide
from studio import ROOT, Studio

pytestmark = pytest.mark.e2e


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Make a git repository with our recipes and rezbuild, and a remote."""
    require_tool("git")
    folder = tmp_path / "clone"
    for name in ("packages", "rezbuild"):
        ignored = shutil.ignore_patterns("build", "__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    (folder / ".gitignore").write_text("build/\n__pycache__/\n")
    make_clone(folder, tmp_path / "remote.git")
    commit(folder, "As it is")
    return folder


@pytest.fixture
def releasing(studio: Studio) -> Studio:
    studio.env |= IDENTITY
    for family in ("platform", "arch"):
        studio.rez("bind", "-r", family)
    return studio


def test_real_package_is_released(releasing, clone, tmp_path):
    version = DEFAULTS["xz"]
    out = releasing.rez("release", "-m", "first", cwd=clone / "packages/xz").stdout
    for line in ("ok      audit", "ok      xz", "ok      read-only"):
        assert line in out
    assert git(clone, "tag").split() == [f"xz-{version}"]
    (root,) = (releasing.released / f"xz/{version}").glob("platform-*/arch-*")
    record = json.loads((root / "rezbuild.json").read_text())
    text = (root.parents[1] / "package.py").read_text()
    for fact in (record["recipe"], record["source"]["sha256"], "first", "'profile'"):
        assert (fact in text) is (fact != "'profile'"), fact
    with hide(clone):
        said = releasing.in_env(releasing.released, "xz", "xz", "--version").stdout
        assert f"liblzma {version}" in said
        releasing.rez("test", f"xz-{version}", cwd=tmp_path)
    # The second run releases nothing.
    done = releasing.rez("release", "-m", "again", cwd=clone / "packages/xz")
    assert "is released already: skipped" in done.stdout + done.stderr
    assert json.loads((root / "rezbuild.json").read_text()) == record


def test_real_year_is_released(releasing, clone):
    releasing.rez("release", "-m", "the year", cwd=clone / "packages/vfxplatform")
    assert git(clone, "tag").split() == ["vfxplatform-2026"]
    found = releasing.released / "vfxplatform/2026/package.py"
    assert "~python-3.13" in found.read_text()
