"""Whose files a build takes from its cache.

Archives are held to their sums. Nothing of the kind protects debug data, stored profiles, what
ccache keeps and payloads that wait to be staged; and whoever owns a folder may put another file in
the place of the one that was just looked at.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from rezbuild.errors import MachineError
from rezbuild.settings import Settings

# The deepest files are those of a worker's store: farm/store/<name>/<version>/<file>.
_LEVELS = 5


def check(settings: Settings, paths: Iterable[Path]) -> None:
    """Check that those of some paths that are there belong to the caller or to root.

    A group that may write is the caller's own choice: it takes part in the build.

    Raises:
        MachineError: One belongs to another user, or anyone may write it.
    """
    if settings.trust_cache:
        return
    for path in paths:
        problem, shared = _problem(path), settings.cache / "sources"
        if problem:
            raise MachineError(
                f"the cache {settings.cache} is not this user's alone: {problem}",
                advice=[
                    "set REZBUILD_CACHE to a folder of your own",
                    f"REZBUILD_MIRRORS={shared} copies its archives from there, and checks them",
                    "where those who share it are trusted, set REZBUILD_TRUST_CACHE=1",
                ],
            )


def check_folder(settings: Settings, folder: Path, *, levels: int = _LEVELS) -> None:
    """Check a folder and what is in it, also files that no build reads yet.

    Args:
        settings: Name the cache, and whether others are trusted.
        folder: The cache, or a folder of builds.
        levels: How deep. What is deeper is in folders that nobody else can write.

    Raises:
        MachineError: Something in it belongs to another user, or anyone may write it.
    """
    if not settings.trust_cache:
        check(settings, _below(folder, levels))


def _below(folder: Path, levels: int) -> Iterator[Path]:
    """The folder and all paths in it; links are not followed."""
    yield folder
    if levels and folder.is_dir():
        with contextlib.suppress(PermissionError), os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                path = Path(entry.path)
                if entry.is_dir(follow_symlinks=False):
                    yield from _below(path, levels - 1)
                elif not entry.name.endswith(".lock"):  # nobody reads what is in it
                    yield path


def _problem(path: Path) -> str:
    """What is wrong with a path; "" where nothing is, or nothing is there."""
    # The link counts as well as what it leads to: its owner may turn it elsewhere.
    for status in (_status(path, follow=False), _status(path, follow=True)):
        if status is None:
            continue
        if status.st_uid not in (os.geteuid(), 0):
            return f"{path} belongs to {_name(status.st_uid)}"
        # In a folder with the sticky bit, nobody can touch what is not theirs.
        free = status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX
        if free and not stat.S_ISLNK(status.st_mode):
            return f"anyone may write {path}"
    return ""


def _status(path: Path, *, follow: bool) -> os.stat_result | None:
    try:
        return path.stat() if follow else path.lstat()
    except FileNotFoundError:
        return None


def _name(user: int) -> str:

    try:
        return f"the user {pwd.getpwuid(user).pw_name}"
    except KeyError:
        return f"the user with the number {user}"
