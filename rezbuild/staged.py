"""The folder ``.rezbuild`` of a repository: variants are staged there, out of Rez's sight.

It is on the file system of the repository, so that what is ready arrives by a rename; Rez takes no
folder with such a name for a package.

- ``staged/<package>/<run>/`` is a repository for one build, gone when that has ended;
- ``swapping/<package>/`` holds what is being replaced where the file system cannot exchange two
  names in one step, as NFS cannot; a run that finds it there puts it back;
- ``old/`` keeps what was replaced in a release for a week: processes on other hosts may use it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import Timeout

from rezbuild import locks, publish

FOLDER = ".rezbuild"
# The name of the build process that does it, for Rez.
PROCESS = "staged"
# Set to 1, a release puts the variant in the place of the released one; `rezbuild build --replace`.
REPLACE = "REZBUILD_REPLACE"
# Seconds.
KEPT = 7 * 24 * 3600


@contextlib.contextmanager
def locked(repository: Path, package: str, say: Callable[[str], None]) -> Iterator[None]:
    """One build of a package (``name-version``) into a repository at a time."""
    folder = share(repository / FOLDER, repository)
    lock = locks.at(folder / f"{package}.staged.lock", say)
    try:
        lock.acquire(timeout=0.2)
    except Timeout:
        say(f"{package}: waiting for another build of it into {repository}")
        lock.acquire()
    try:
        _recover(repository, package)
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def stage(repository: Path, package: str) -> Iterator[Path]:
    """An empty repository for one build, while `locked`; what killed builds left is cleared."""
    folder = share(repository / FOLDER / "staged" / package, repository)
    for left in folder.iterdir():
        _remove(left)
    run = Path(tempfile.mkdtemp(prefix="", dir=folder))
    # Others may look at it: Rez's tests of a package may run as anyone.
    run.chmod(0o755)
    try:
        yield run
    finally:
        _remove(run)
        with contextlib.suppress(OSError):
            folder.rmdir()


def root(place: Path) -> Path | None:
    """The stage that ``place`` is in, or None."""
    parts = place.parts
    for number in range(len(parts) - 3):
        if parts[number : number + 2] == (FOLDER, "staged"):
            return Path(*parts[: number + 4])
    return None


def final(place: Path) -> Path:
    """Where a variant will stand that is staged at ``place``; the same where it is not staged."""
    run = root(place)
    return place if run is None else run.parents[3] / place.relative_to(run)


def put(arrived: Path, place: Path, repository: Path, package: str, *, keep: bool) -> None:
    """Moves a folder of a stage to ``place`` in the repository, at no moment nothing if possible.

    Args:
        arrived: What is ready.
        place: Relative to the repository.
        repository: Where.
        package: ``name-version``, which is `locked`.
        keep: Keep what stood there for a while.
    """
    target = repository / place
    share(target.parent, repository)
    # For `_recover`, should this be killed where two renames are needed.
    swapping = share(repository / FOLDER / "swapping" / package, repository)
    (swapping / "place").write_text(str(place), encoding="utf-8")
    old = publish.swap(arrived, target, swapping / "payload")
    if old and keep:
        folder = share(repository / FOLDER / "old", repository)
        old.rename(folder / f"{package}-{time.time_ns()}")
    elif old:
        _remove(old)
    _remove(swapping)


def tidy(repository: Path, say: Callable[[str], None]) -> None:
    """Clears what killed builds left of packages that nobody builds now; as far as one may."""
    here = repository / FOLDER
    for package in {path.name for path in (*here.glob("staged/*"), *here.glob("swapping/*"))}:
        with (
            contextlib.suppress(Timeout, OSError),
            locks.at(here / f"{package}.staged.lock", say).acquire(timeout=0),
        ):
            _recover(repository, package)
            _remove(here / "staged" / package)


def prune(repository: Path) -> None:
    """Removes what was replaced long ago."""
    for path in (repository / FOLDER / "old").glob("*"):
        replaced = path.name.rpartition("-")[2]
        if replaced.isdecimal() and time.time() - int(replaced) / 1e9 > KEPT:
            _remove(path)


def share(folder: Path, repository: Path) -> Path:
    """Makes a folder in a repository for all who may write there, as the repository is."""
    repository.mkdir(parents=True, exist_ok=True)
    mode = stat.S_IMODE(repository.stat().st_mode)
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        with contextlib.suppress(FileExistsError):
            path.mkdir()
            path.chmod(mode)
    return folder


def _recover(repository: Path, package: str) -> None:
    """Puts back what a run took away that was killed before the new one had arrived."""
    swapping = repository / FOLDER / "swapping" / package
    old, place = swapping / "payload", swapping / "place"
    if old.exists() and place.exists():
        target = repository / place.read_text(encoding="utf-8")
        if not target.exists():
            old.rename(target)
    _remove(swapping)


def _remove(folder: Path) -> None:
    """Also where folders in it are read-only; what belongs to others may stay."""
    if not folder.exists():
        return
    for path, names, _ in os.walk(folder):
        for name in (".", *names):
            inner = os.path.join(path, name)
            if not os.path.islink(inner):
                with contextlib.suppress(OSError):
                    os.chmod(inner, 0o700)
    shutil.rmtree(folder, ignore_errors=True)
