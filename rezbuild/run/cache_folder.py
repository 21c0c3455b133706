"""The folder REZBUILD_CACHE: what it holds, how much space that takes, and its removal."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import shlex
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from rezbuild.errors import UsageError
from rezbuild.files import cache_lock, safe_files
from rezbuild.plan.resolve import Recipes

_DAY = 24 * 3600.0
# Bytes. stat(2) counts blocks of this size.
_BLOCK = 512


@dataclass(frozen=True)
class Kind:
    """A kind of files in the cache.

    Attributes:
        name: The name for users.
        meaning: What the files are.
        items: Patterns of files and folders that are removed as a whole.
        kept: Removed only if a user names the kind: a build cannot make the files again, or an
            air-gapped site cannot fetch them.
    """

    name: str
    meaning: str
    items: tuple[str, ...]
    kept: bool = False

    def has(self, entry: str) -> bool:
        """Whether an entry of the cache has files of this kind."""
        return any(fnmatch.fnmatchcase(entry, item.partition("/")[0]) for item in self.items)


SOURCES = "sources"
KINDS = (
    Kind(SOURCES, "archives of sources", ("sources/*/*",)),
    Kind("ccache", "objects of compilers", ("ccache/?/**/*",)),
    Kind("debian", "lists of Debian's source archive", ("debian/*",)),
    Kind("glibc", "files for builds for an older glibc", ("glibc/*",)),
    Kind("stage", "builds of rezbuild export", ("stage/*/*",)),
    Kind("bench", "programs of rezbuild bench", ("bench/*/*",)),
    Kind("farm", "payloads for jobs of a farm", ("farm/payloads/*", "farm/store/*")),
    Kind("stock", "Pythons that tests compare with", ("stock/*",)),
    Kind("unfinished", "files of killed commands", ("pin-*", "apt-*")),
    Kind("configure", "answers of configure scripts, from old versions", ("configure",)),
    Kind("debug", "debug data of installed payloads", ("debug/*/*",), kept=True),
    Kind("profiles", "PGO profiles of optimized builds", ("profiles/*",), kept=True),
    Kind("timelines", "pictures of builds", ("timelines/*",), kept=True),
    Kind("durations", "times of builds, for rezbuild plan", ("durations.json",), kept=True),
)
OTHER = Kind("other", "other files, which are never removed", ())


@dataclass(frozen=True)
class Usage:
    """The disk space of a kind.

    Attributes:
        kind: The kind.
        files: The number of files.
        size: Their bytes on the disk.
    """

    kind: Kind
    files: int
    size: int


def usage(cache: Path) -> list[Usage]:
    """Return the disk space of each kind that the cache holds, the largest first."""
    found: dict[Kind, list[os.stat_result]] = {}
    for path in sorted(cache.iterdir()) if cache.is_dir() else ():
        kind = next((kind for kind in KINDS if kind.has(path.name)), OTHER)
        # A link at the top of the cache may lead to another disk.
        found.setdefault(kind, []).extend(_facts(path.resolve()))
    used = [Usage(kind, *_sum(facts)) for kind, facts in found.items()]
    return sorted(used, key=lambda one: one.size, reverse=True)


def check_cleanable(cache: Path) -> None:
    """Refuse a folder that holds more than a cache: names such as ``sources`` are not rare.

    Raises:
        UsageError: The folder is ``/``, the user's home, a folder above it, or a checkout of Git;
            it is no folder; or rezbuild has not created it.
    """
    home = Path(os.path.expanduser("~")).resolve()  # noqa: PTH111 (Path.home may raise an error)
    advice = ["set REZBUILD_CACHE to a folder for the cache alone"]
    if cache.resolve() in (home, *home.parents) or (cache / ".git").exists():
        reason = "is a folder for other files, too"
    elif cache.exists() and not cache.is_dir():
        reason = "is not a folder"
    elif _is_foreign(cache):
        marker = shlex.quote(str(cache / cache_lock.MARKER))
        reason = "had files before rezbuild used it"
        advice.append(f"or, if rezbuild alone writes files there, mark it: touch {marker}")
    else:
        return
    raise UsageError(
        f"the cache {cache} {reason}, so rezbuild removes nothing",
        advice=advice,
    )


def _is_foreign(cache: Path) -> bool:
    """Return whether a folder has files, but not the marker of a cache of rezbuild."""
    if cache == Path(platformdirs.user_cache_dir("rezbuild")) or not cache.is_dir():
        return False
    names = os.listdir(cache)
    return bool(names) and cache_lock.MARKER not in names


def clean(
    cache: Path,
    names: Iterable[str],
    needed: Callable[[Path], bool],
    *,
    days: float = 0.0,
    dry_run: bool = False,
) -> Iterator[tuple[Path, Usage]]:
    """Remove files of the cache; yield each removed item.

    Args:
        cache: The folder. The caller holds its lock, except for a dry run.
        names: The kinds that the user names; empty: all but those that are kept.
        needed: Whether a source is kept unless the user names the sources.
        days: Keep what was written in the last days.
        dry_run: Remove nothing.
    """
    wanted = set(names)
    for kind in KINDS:
        if kind.name in wanted or not (wanted or kind.kept):
            for path in _items(cache, kind, links=kind.name in wanted):
                if kind.name == SOURCES and not wanted and needed(path):
                    continue
                facts = list(_facts(path))
                newest = max((one.st_mtime for one in facts), default=0.0)
                if time.time() - newest < days * _DAY:
                    continue
                if not dry_run:
                    safe_files.remove(path)
                # Files of other users may stay.
                if dry_run or not os.path.lexists(path):
                    yield path, Usage(kind, *_sum(facts))


def source_filter(recipes: Recipes, cache: Path) -> Callable[[Path], bool]:
    """Return a function that says whether a version needs an archive, or a signature beside it."""
    needed = {
        cache / "sources" / release.home / archive.file
        for recipe in recipes.values()
        for release in recipe.releases.values()
        for archive in release.archives
    }
    return lambda path: path in needed or path.with_suffix("") in needed


def _items(cache: Path, kind: Kind, *, links: bool) -> Iterator[Path]:
    """Yield the items of a kind.

    A link at the top of the cache may lead to a folder that others use, e.g. a mirror, so its files
    are left out unless ``links`` is true.
    """
    for pattern in kind.items:
        if not links and (cache / pattern.partition("/")[0]).is_symlink() and "/" in pattern:
            continue
        for path in sorted(cache.glob(pattern)):
            # Another process may wait for a lock. The pattern ** also finds folders.
            if path.suffix != ".lock" and not ("**" in pattern and path.is_dir()):
                yield path


def _facts(path: Path) -> Iterator[os.stat_result]:
    """Yield the facts of a file or link, or of a folder and all that is below it."""
    for one in _paths(path):
        # A build may remove files meanwhile.
        with contextlib.suppress(FileNotFoundError):
            yield one.lstat()


def _paths(path: Path) -> Iterator[Path]:
    yield path
    if not path.is_symlink():
        for folder, folders, files in os.walk(path):
            yield from (Path(folder, name) for name in (*folders, *files))


def _sum(facts: Iterable[os.stat_result]) -> tuple[int, int]:
    """Return the number of files, and the bytes on the disk; hard links count once."""
    unique = {(one.st_dev, one.st_ino): one for one in facts}.values()
    files = sum(not stat.S_ISDIR(one.st_mode) for one in unique)
    return files, sum(one.st_blocks for one in unique) * _BLOCK
