"""Checks of a clone before a release, with real clones, remotes and Rez's own classes."""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from git_clone import IDENTITY, commit, git, make_clone, tags

from rezbuild.errors import ReleaseError
from rezbuild.repository import version_control
from rezbuild.repository.version_control import Released

TAG = "low-1.0.0"


@pytest.fixture(autouse=True)
def identity(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let git see no settings of the user, and an identity."""
    for name, value in {**IDENTITY, "HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1"}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Make a clone with one recipe that is committed and pushed."""
    folder = tmp_path / "clone"
    recipe = folder / "packages/low"
    recipe.mkdir(parents=True)
    (recipe / "package.py").write_text('name = "low"\nversion = "1.0.0"\nbuild_command = ""\n')
    make_clone(folder, tmp_path / "remote.git")
    commit(folder, "A recipe")
    return folder


def configure(clone: Path, setting: str) -> None:
    """Set a setting of Rez for releases in the recipe."""
    lines = f"with scope('config') as c:\n    c.plugins.release_vcs.{setting}\n"
    with (clone / "packages/low/package.py").open("a") as file:
        file.write(lines)
    git(clone, "commit", "-qam", "A setting")
    git(clone, "push", "-q", "origin", "HEAD:main")


def check(clone: Path, *, retag: bool = False) -> None:
    found = version_control.open_clone(clone / "packages/low")
    version_control.check(found, [TAG], retag=retag)


def refused(clone: Path) -> str:
    with pytest.raises(ReleaseError) as error:
        check(clone)
    assert error.value.exit_code == 15
    assert error.value.tried
    assert error.value.advice
    return str(error.value)


def test_clean_clone_is_accepted(clone):
    check(clone)
    assert not tags(clone)
    assert not tags(clone.parent / "remote.git")


def test_touched_and_copied_files_are_no_changes(clone, tmp_path):
    recipe = clone / "packages/low/package.py"
    os.utime(recipe, (1, 1))
    check(clone)
    copy = tmp_path / "copy"
    shutil.copytree(clone, copy)
    check(copy)


def test_uncommitted_changes_are_listed(clone):
    (clone / "packages/low/package.py").write_text('name = "low"\nversion = "1.0.0"\n')
    assert "  tried: M packages/low/package.py" in refused(clone)


def test_changed_mode_is_listed(clone):
    (clone / "packages/low/package.py").chmod(0o755)
    assert "  tried: M packages/low/package.py" in refused(clone)


def test_missing_identity_is_refused_with_the_words_of_git(clone, monkeypatch):
    for name in IDENTITY:
        monkeypatch.delenv(name)
    git(clone, "config", "user.useConfigOnly", "true")
    found = refused(clone)
    assert "no email was given" in found
    assert "git config --global user.name" in found


def test_refused_push_is_found_without_a_push(clone, tmp_path):
    hook = tmp_path / "remote.git/hooks/update"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    check(clone)  # only a real push runs the hooks of a server
    git(clone, "remote", "set-url", "--push", "origin", tmp_path / "nowhere.git")
    assert "does not appear to be a git repository" in refused(clone)
    assert not tags(clone)


def test_tag_that_only_the_server_has_is_refused(clone, tmp_path):
    other = tmp_path / "other"
    git(tmp_path, "clone", "-q", tmp_path / "remote.git", other)
    git(other, "checkout", "-q", "-b", "side")
    git(other, "commit", "-q", "--allow-empty", "-m", "side")
    git(other, "push", "-q", "origin", f"HEAD:refs/tags/{TAG}")
    assert "already exists" in refused(clone)


def test_existing_tag_is_refused_only_if_rez_checks_tags(clone):
    git(clone, "tag", TAG)
    check(clone)
    configure(clone, "check_tag = True")
    with pytest.raises(ReleaseError, match="exist already"):
        check(clone)
    check(clone, retag=True)


def test_detached_head_is_refused_unless_rez_needs_no_upstream(clone):
    git(clone, "checkout", "-q", "--detach")
    found = refused(clone)
    assert "HEAD of the clone" in found
    assert "git switch BRANCH" in found
    configure(clone, "git.allow_no_upstream = True")
    check(clone)


def test_unpushed_commit_is_refused(clone):
    git(clone, "commit", "-q", "--allow-empty", "-m", "more")
    assert "1 commits ahead of origin/main" in refused(clone)


def test_clone_of_another_user_is_refused_with_the_command_of_git(clone):
    if os.geteuid() != 0:
        pytest.skip("only root can give files to another user")
    for path in (clone, clone / ".git"):
        os.chown(path, 12345, 12345)
    found = refused(clone)
    assert "dubious ownership" in found
    assert re.search(r"next:  run: git config --global --add safe\.directory \S+/clone\n", found)


def test_folder_without_version_control_is_refused(tmp_path):
    recipe = tmp_path / "packages/low"
    recipe.mkdir(parents=True)
    (recipe / "package.py").write_text('name = "low"\nversion = "1.0.0"\n')
    assert "not a git repository" in refused(tmp_path)


@pytest.mark.parametrize("place", ["elsewhere", "clone/inside"])
def test_work_tree_is_its_own_clone(clone, tmp_path, place):
    tree = tmp_path / place
    git(clone, "worktree", "add", "-q", "-b", "work", tree)
    git(tree, "push", "-qu", "origin", "work")
    found = version_control.open_clone(tree / "packages/low")
    assert (found.name(), Path(found.vcs_root)) == ("git", tree)
    assert found.get_current_revision()["branch"] == "work"
    check(tree)


def test_missing_tag_is_created_at_the_commit_of_the_release(clone, tmp_path):
    released = Released("low", "1.0.0", git(clone, "rev-parse", "HEAD").strip(), "first")
    commit(clone, "A later commit")
    found = version_control.open_clone(clone / "packages/low")
    said: list[str] = []
    version_control.add_missing_tags(found, [released], said.append, dry=True)
    assert not tags(clone)
    version_control.add_missing_tags(found, [released], said.append)
    assert len(said) == 2
    for folder in (clone, tmp_path / "remote.git"):
        assert git(folder, "rev-parse", f"{TAG}^{{commit}}").strip() == released.commit
    assert git(clone, "tag", "-n", "--list", TAG).split() == [TAG, "first"]
    version_control.add_missing_tags(found, [released], said.append)
    assert len(said) == 2


def test_tag_that_was_not_pushed_is_pushed(clone, tmp_path):
    released = Released("low", "1.0.0", git(clone, "rev-parse", "HEAD").strip(), "first")
    git(clone, "tag", "-a", TAG, "-m", "first")
    hook = tmp_path / "remote.git/hooks/update"
    hook.write_text("#!/bin/sh\necho no tags today; exit 1\n")
    hook.chmod(0o755)
    found = version_control.open_clone(clone / "packages/low")
    with pytest.raises(ReleaseError, match="no tags today"):
        version_control.add_missing_tags(found, [released], print)
    hook.unlink()
    version_control.add_missing_tags(found, [released], print)
    assert tags(tmp_path / "remote.git") == [TAG]


def test_tag_that_only_the_server_has_is_not_missing(clone, tmp_path):
    released = Released("low", "1.0.0", git(clone, "rev-parse", "HEAD").strip(), "first")
    git(clone, "tag", "-a", TAG, "-m", "first")
    git(clone, "push", "-q", "origin", TAG)
    git(clone, "tag", "-d", TAG)
    found = version_control.open_clone(clone / "packages/low")
    said: list[str] = []
    version_control.add_missing_tags(found, [released], said.append)
    assert (said, tags(clone), tags(tmp_path / "remote.git")) == ([], [], [TAG])


@pytest.fixture
def rez_log() -> Iterator[list[str]]:
    """Return the lines that Rez logs."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("rez").addHandler(handler)
    yield lines
    logging.getLogger("rez").removeHandler(handler)


@pytest.mark.parametrize("upstream", ["local", "deleted", "none"])
def test_branch_without_upstream_on_a_server_is_refused(clone, upstream, rez_log):
    released = Released("low", "1.0.0", git(clone, "rev-parse", "HEAD").strip(), "first")
    if upstream == "local":
        git(clone, "checkout", "-q", "-b", "side", "--track", "main")
    else:
        git(clone, "checkout", "-q", "-b", "side")
    if upstream == "deleted":
        git(clone, "push", "-qu", "origin", "side")
        git(clone, "push", "-q", "origin", ":side")
        git(clone, "fetch", "-q", "--prune")
    assert "is not ready for a release" in refused(clone)
    found = version_control.open_clone(clone / "packages/low")
    said: list[str] = []
    version_control.add_missing_tags(found, [released], said.append, dry=True)
    assert len(said) == 1
    # Rez logs the output of each failed git.
    assert rez_log == []


def test_release_from_another_clone_gets_no_tag(clone):
    released = Released("low", "1.0.0", "0123456789" * 4, "first")
    found = version_control.open_clone(clone / "packages/low")
    said: list[str] = []
    version_control.add_missing_tags(found, [released], said.append)
    assert not tags(clone)
    assert "this clone does not have its commit" in said[0]


@pytest.mark.parametrize(
    ("pattern", "tag"), [("v{version}", "v1.0.0"), ("{name}_{qualified_name}", f"low_{TAG}")]
)
def test_tag_follows_the_setting_of_rez(clone, pattern, tag):
    configure(clone, f"tag_name = {pattern!r}")
    found = version_control.open_clone(clone / "packages/low")
    assert version_control.tag_of(found, "low", "1.0.0") == tag


def test_tag_with_other_fields_is_left_to_rez(clone):
    configure(clone, 'tag_name = "{description}"')
    found = version_control.open_clone(clone / "packages/low")
    assert version_control.tag_of(found, "low", "1.0.0") is None
