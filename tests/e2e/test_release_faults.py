"""Releases of small packages that git or its server would refuse, and their repair."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from git_clone import IDENTITY, commit, git, tags

pytestmark = pytest.mark.e2e


def published(studio) -> list[str]:
    return sorted(path.parents[1].name for path in studio.released.glob("*/*/package.py"))


def without_identity(studio, clone: Path) -> None:
    for name in IDENTITY:
        del studio.env[name]
    studio.env |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    git(clone, "config", "user.useConfigOnly", "true")


def refuse_tags(clone: Path) -> Path:
    hook = clone / "remote.git/hooks/update"
    hook.write_text("#!/bin/sh\ncase $1 in refs/tags/*) echo no tags today; exit 1;; esac\n")
    hook.chmod(0o755)
    return hook


def rez_release(studio, folder: Path, *, ok: bool = True) -> str:
    done = studio.rez("release", "--no-latest", "-m", "by hand", cwd=folder, ok=ok)
    assert (done.returncode == 0) is ok
    return done.stdout + done.stderr


def test_release_without_identity_builds_nothing(studio, samples, release):
    clone = samples.recipes.parent
    without_identity(studio, clone)
    done = release(ok=False)
    assert done.returncode == 15
    assert "git has no name and address for the tags of releases" in done.stderr
    assert "git config --global user.name" in done.stderr
    assert "building" not in done.stdout
    assert "low" not in published(studio)
    said = rez_release(studio, samples.recipes / "low", ok=False)
    assert "git has no name and address for the tags of releases" in said
    assert "low" not in published(studio)
    studio.env |= IDENTITY
    release()
    assert tags(clone) == ["low-1.0.0", "top-2.0.0"]


def test_next_run_adds_the_tag_that_the_server_refused(studio, samples, release):
    clone = samples.recipes.parent
    hook = refuse_tags(clone)
    done = release("--message", "first", ok=False)
    assert done.returncode == 15
    assert "low-1.0.0 is released, but its tag is missing" in done.stderr
    assert "no tags today" in done.stderr
    assert published(studio).count("low") == 1
    assert release(ok=False).returncode == 15
    hook.unlink()
    commit(clone, "A later commit")
    out = release().stdout
    assert "low-1.0.0: its tag low-1.0.0 is missing: pushed at commit " in out
    assert tags(clone / "remote.git") == ["low-1.0.0", "top-2.0.0"]
    assert git(clone, "tag", "-n", "-l", "low-1.0.0").split() == ["low-1.0.0", "first"]


def test_rez_release_adds_a_missing_tag(studio, samples, release):
    clone = samples.recipes.parent
    release("low")
    for folder in (clone, clone / "remote.git"):
        git(folder, "tag", "-d", "low-1.0.0")
    said = rez_release(studio, samples.recipes / "low")
    assert "is released already: skipped" in said
    assert "low-1.0.0" in tags(clone / "remote.git")


def test_dry_run_checks_the_release_and_changes_nothing(studio, samples, release):
    clone = samples.recipes.parent
    out = release("--dry-run").stdout
    assert "2 packages: 0 already installed, 2 to build" in out
    assert out.endswith("a release is possible\n")
    samples.edit("low/recipe.py", "def build", "# changed\ndef build")
    requests = ("build", "top", "--release", "--dry-run")
    done = studio.rezbuild(*requests, ok=False)
    assert done.returncode == 15
    assert "  tried: M recipes/low/recipe.py" in done.stderr
    assert "2 to build" in done.stdout
    assert not published(studio)
    assert not tags(clone)


def test_dry_run_refuses_what_a_release_would_refuse(studio, samples, release):
    release("--message", "first")
    samples.edit("low/recipe.py", "def build", "# changed\ndef build")
    done = release("--dry-run", ok=False)
    assert done.returncode == 15
    assert "tried: low-1.0.0: rezbuild will refuse it, since it is already released" in done.stderr
    assert release("top-2", "low-1", "--replace", "--dry-run").stdout.endswith("is possible\n")


def test_dry_run_of_a_local_build_prints_the_plan(studio, samples):
    out = studio.rezbuild("build", "top", "--dry-run").stdout
    assert "2 packages: 0 already installed, 2 to build" in out
    assert not studio.local.exists()


def test_work_tree_with_touched_files_releases(studio, samples, release, tmp_path):
    clone = samples.recipes.parent
    commit(clone, "Recipes")
    tree = tmp_path / "tree"
    git(clone, "worktree", "add", "-q", "-b", "work", tree)
    git(clone, "remote", "set-url", "origin", clone / "remote.git")
    git(tree, "push", "-qu", "origin", "work")
    os.utime(tree / "recipes/low/recipe.py", (1, 1))
    studio.env["REZBUILD_RECIPES"] = str(tree / "recipes")
    studio.rezbuild("build", "low", "--release")
    assert published(studio).count("low") == 1
    os.utime(tree / "recipes/top/recipe.py", (1, 1))
    rez_release(studio, tree / "recipes/top")
    assert tags(clone / "remote.git") == ["low-1.0.0", "top-2.0.0"]


def test_rollback_puts_back_what_was_replaced(studio, samples, release):
    """A second rollback undoes the first one; a damaged package is not put back."""

    def answer() -> str:
        return studio.in_env(studio.released, "top", "top").stdout.strip()

    release()
    samples.edit(
        "low/recipe.py", "    b.make", "    b.run('sed', '-i', 's/42/43/', 'low.c')\n    b.make"
    )
    release("top-2", "low-1", "--replace", "--message", "repaired")
    assert answer() == "43"
    out = studio.rezbuild("rollback", "top").stdout
    assert "ok      audit" in out
    assert "top-2.0.0: put back the build that was replaced on " in out
    assert answer() == "42"
    assert "repaired" not in (studio.released / "top/2.0.0/package.py").read_text()
    studio.rezbuild("rollback", "top-2")
    assert answer() == "43"
    assert "repaired" in (studio.released / "top/2.0.0/package.py").read_text()
    (program,) = studio.released.glob(".rezbuild/old/top-2.0.0-*/platform-*/arch-*/bin/top")
    program.write_bytes(program.read_bytes().replace(b"%d", b"%x"))
    done = studio.rezbuild("rollback", "top", ok=False)
    assert done.returncode == 12
    assert answer() == "43"
    done = studio.rezbuild("rollback", "top-3", ok=False)
    assert done.returncode == 15
    assert "no replaced package for top-3" in done.stderr
