"""The version control of the recipes: checks before a release, and tags that releases lack.

Rez checks the clone too (rezplugins/release_vcs/git.py), but package by package, without the words
of git, and creates a tag only after the package is published.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import subprocess
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rez.exceptions import RezError as RezsOwnError
from rez.release_vcs import create_release_vcs

from rezbuild.errors import ReleaseError
from rezbuild.repository import installed
from rezbuild.util import words
from rezbuild.util.processes import capture


@dataclass(frozen=True)
class Released:
    """A released package, as its package.py describes it."""

    name: str
    version: str
    commit: str
    message: str

    @classmethod
    def find(cls, name: str, version: str, repository: Path) -> Released | None:
        """Return the package, or None if it was not released from git, e.g. copied by hand."""
        wanted = ("vcs", "revision", "release_message")
        found = installed.attributes(name, version, [str(repository)], wanted)
        revision = found.get("revision")
        commit = dict(revision).get("commit") if isinstance(revision, dict) else None
        if found.get("vcs") != "git" or not commit:
            return None
        return cls(name, version, str(commit), str(found.get("release_message") or ""))


def open_clone(recipe: Path) -> Any:
    """Return Rez's object for the version control of a recipe's folder.

    Raises:
        ReleaseError: There is none that Rez can use.
    """
    try:
        return create_release_vcs(str(recipe))
    except RezsOwnError as error:
        done = git(recipe, "rev-parse", "--show-toplevel")
        said = _words(done) if done.returncode else words.reason(error).splitlines()
    advice = [f"run: {line}" for line in said if line.startswith("git config ")]
    raise ReleaseError(
        f"{recipe} is not in a clone that packages can be released from",
        tried=said,
        advice=[*advice, "run the command in a clone of the recipes' git repository"],
    )


@contextlib.contextmanager
def _without_debug_lines() -> Iterator[None]:
    """Hide the output of a failed git, which Rez logs before it raises the error."""
    logger = logging.getLogger("rez.utils.logging_")
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)


@_without_debug_lines()
def check(clone: Any, tags: Collection[str], *, retag: bool) -> None:
    """Check that a release will succeed in its clone, before anything is built.

    Args:
        clone: Of `open_clone`.
        tags: The tags that the release will create.
        retag: Accept tags that exist, even if Rez is configured to refuse them.

    Raises:
        ReleaseError: The error of the first check that fails, with the words of git.
    """
    folder = Path(clone.pkg_root)
    if clone.name() == "git":
        _check_identity(folder)
        _check_branch(clone, folder)
        _check_changes(folder)
    try:
        clone.validate_repostate()
    except (RezsOwnError, ValueError) as error:  # ValueError: the upstream is a local branch
        raise ReleaseError(
            f"the clone {clone.vcs_root} is not ready for a release",
            tried=words.reason(error).splitlines(),
            advice=["push or pull the commits, and set an upstream branch: git push -u"],
        ) from None
    taken = [tag for tag in tags if clone.tag_exists(tag)]
    if taken and clone.type_settings.check_tag and not retag:
        raise ReleaseError(
            f"{', '.join(taken)}: tags of packages that are not released here exist already",
            advice=["delete the tags, or release other versions"],
        )
    if clone.name() == "git":
        _check_push(clone, folder, [tag for tag in tags if tag not in taken])


def tag_of(clone: Any, name: str, version: str) -> str | None:
    """Return the tag for a release, or None if Rez's setting has other fields than these."""
    facts = {"name": name, "version": version, "qualified_name": f"{name}-{version}"}
    try:
        return str(clone.type_settings.tag_name.format(**facts))
    except (LookupError, ValueError, AttributeError):
        return None


@_without_debug_lines()
def add_missing_tags(
    clone: Any, packages: Sequence[Released], say: Callable[[str], None], *, dry: bool = False
) -> None:
    """Create and push the tags that released packages lack, at the commits of their releases.

    A release lacks its tag if git could not create it, e.g. without an identity, or if the server
    refused it. By then, the package is published.

    Args:
        clone: Of `open_clone`.
        packages: Released packages.
        say: Prints a line about each tag.
        dry: Create none.

    Raises:
        ReleaseError: git could not create or push a tag, or read those of the server.
    """
    if clone.name() != "git" or not packages:
        return
    folder = Path(clone.pkg_root)
    remote = _remote(clone)
    pushed = _remote_tags(folder, remote) if remote else None
    for package in packages:
        tag = tag_of(clone, package.name, package.version)
        local = tag is not None and clone.tag_exists(tag)
        if tag is None or (local if pushed is None else tag in pushed):
            continue
        what = f"{package.name}-{package.version}: its tag {tag} is missing"
        if not local and git(folder, "cat-file", "-e", f"{package.commit}^{{commit}}").returncode:
            say(f"{what}, and this clone does not have its commit {package.commit}")
        elif dry:
            say(what)
        else:
            _add_tag(folder, tag, package, remote, local=local)
            say(f"{what}: {'pushed' if remote else 'created'} at commit {package.commit}")


def git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run git in a folder, with English messages."""
    return capture(["git", *arguments], cwd=folder, env={**os.environ, "LC_ALL": "C"})


def _words(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the lines that git printed."""
    return [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]


def _check_identity(folder: Path) -> None:
    done = git(folder, "var", "GIT_COMMITTER_IDENT")
    if done.returncode:
        raise ReleaseError(
            f"git has no name and address for the tags of releases, in {folder}",
            tried=_words(done),
            advice=["set them: git config --global user.name NAME, and user.email ADDRESS"],
        )


def _check_branch(clone: Any, folder: Path) -> None:
    if clone.settings.allow_no_upstream:
        return
    if git(folder, "symbolic-ref", "--quiet", "HEAD").returncode:
        raise ReleaseError(
            f"HEAD of the clone {clone.vcs_root} is detached: Rez releases from a branch",
            tried=_words(git(folder, "status", "--short", "--branch", "--untracked-files=no")),
            advice=[
                "check out the branch: git switch BRANCH",
                "or set plugins.release_vcs.git.allow_no_upstream in Rez: no tag is pushed then",
            ],
        )


def _check_changes(folder: Path) -> None:
    # After touch(1), cp -r or a mount elsewhere, git's index has other times than the files.
    done = git(folder, "update-index", "-q", "--refresh")
    if done.returncode not in {0, 1}:
        raise ReleaseError(
            f"the index of the git clone of {folder} cannot be written",
            tried=_words(done),
            advice=["check the permissions and the free space of the clone"],
        )
    changes = git(folder, "status", "--porcelain", "--untracked-files=no")
    if changes.returncode or changes.stdout.strip():
        raise ReleaseError(
            f"uncommitted changes in the git clone of {folder}",
            tried=_words(changes),
            advice=["commit and push them, or put them aside: git stash"],
        )


def _check_push(clone: Any, folder: Path, tags: Sequence[str]) -> None:
    remote = _remote(clone)
    if remote is None or not tags:
        return
    done = git(folder, "push", "--dry-run", remote, *(f"HEAD:refs/tags/{tag}" for tag in tags))
    if done.returncode:
        raise ReleaseError(
            f"the tags of the release cannot be pushed to {remote}",
            tried=_words(done),
            advice=["check the address and your rights: git remote -v, git push --dry-run"],
        )


def _remote(clone: Any) -> str | None:
    """Return the remote of the current branch, or None if it has no upstream on a server."""
    try:
        remote, _ = clone.get_tracking_branch()
    except (RezsOwnError, ValueError):  # the upstream was deleted, or is a local branch
        return None
    return str(remote) if remote else None


def _remote_tags(folder: Path, remote: str) -> set[str]:
    done = git(folder, "ls-remote", "--tags", "--refs", remote)
    if done.returncode:
        raise ReleaseError(
            f"the tags of {remote} cannot be read",
            tried=_words(done),
            advice=["check the address and your rights: git remote -v"],
        )
    return set(re.findall(r"(?m)\trefs/tags/(.+)$", done.stdout))


def _add_tag(folder: Path, tag: str, package: Released, remote: str | None, *, local: bool) -> None:
    commands: list[tuple[str, ...]] = []
    commands += [] if local else [("tag", "-a", tag, "-m", package.message, package.commit)]
    commands += [("push", remote, f"refs/tags/{tag}")] if remote else []
    for arguments in commands:
        done = git(folder, *arguments)
        if done.returncode:
            raise ReleaseError(
                f"{package.name}-{package.version} is released, but its tag {tag} is missing",
                tried=_words(done),
                advice=["repair the cause, then run the command again, which creates the tag"],
            )
