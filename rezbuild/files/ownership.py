"""Check the owners of files in the cache before a build uses them.

Archives are compared with their checksums. Debug data, PGO profiles, ccache's files and payloads
that wait for installation have no checksums. Also, the owner of a folder can replace a file after a
check.
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
    """Check that paths belong to the caller or to root, if they exist.

    Write permission for the group is allowed: the caller has chosen to trust the group.

    Raises:
        MachineError: A path belongs to another user, or is world-writable.
    """
    if settings.trust_cache:
        return
    for path in paths:
        problem, shared = _problem(path), settings.cache / "sources"
        if problem:
            raise MachineError(
                f"the cache {settings.cache} is not safe: {problem}",
                advice=[
                    "set REZBUILD_CACHE to a folder that belongs to you",
                    f"set REZBUILD_MIRRORS={shared} to copy and check its archives",
                    "or set REZBUILD_TRUST_CACHE=1, if you trust all its users",
                ],
            )


def check_folder(settings: Settings, folder: Path, *, levels: int = _LEVELS) -> None:
    """Check a folder and its files, also those that no build reads.

    Args:
        settings: The settings; with ``trust_cache``, nothing is checked.
        folder: The cache, or a folder of builds.
        levels: The number of levels. Deeper files are in folders that others cannot write.

    Raises:
        MachineError: A path belongs to another user, or is world-writable.
    """
    if not settings.trust_cache:
        check(settings, _below(folder, levels))


def _below(folder: Path, levels: int) -> Iterator[Path]:
    """Yield a folder and all paths below it; do not follow links."""
    yield folder
    if levels and folder.is_dir():
        with contextlib.suppress(PermissionError), os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                path = Path(entry.path)
                if entry.is_dir(follow_symlinks=False):
                    yield from _below(path, levels - 1)
                elif not entry.name.endswith(".lock"):  # no build reads a lock file
                    yield path


def _problem(path: Path) -> str:
    """Return what is wrong with a path; "" if nothing is wrong or it does not exist."""
    # Check a link and its target: the owner of a link can change its target.
    for status in (_status(path, follow=False), _status(path, follow=True)):
        if status is None:
            continue
        if status.st_uid not in (os.geteuid(), 0):
            return f"{path} belongs to {_name(status.st_uid)}"
        # In a folder with the sticky bit, users can only change their own files.
        open_to_all = status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX
        if open_to_all and not stat.S_ISLNK(status.st_mode):
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
