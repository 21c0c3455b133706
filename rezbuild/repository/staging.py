"""The folder ``.rezbuild`` of a repository, in which variants are staged. Rez does not see it.

It is on the file system of the repository, so a finished variant is moved by a rename. For Rez, a
folder with such a name is not a package. Only users who can write the repository can enter it.

- ``staged/<package>/<run>/`` is a repository for one build; it is removed when the build ends.
- ``swapping/<package>.<random>/<place>`` is a variant that is being replaced, if the file system
  cannot exchange two names in one step (NFS cannot). After a crash, the next build restores it.
- ``old/`` keeps variants that releases have replaced for a week: processes on other hosts may use
  them.

The name of a variant in ``swapping/`` is its place in the repository, quoted as in a URL. So one
rename moves the variant and records its place.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, unquote

from rezbuild.errors import MachineError
from rezbuild.files import atomic_swap, locks, safe_files
from rezbuild.util import words

FOLDER = ".rezbuild"
# The name of rezbuild's build process for Rez.
PROCESS = "staged"
# If it is 1, a release replaces the released variant; `rezbuild build --replace` sets it.
REPLACE = "REZBUILD_REPLACE"
# Seconds that replaced variants are kept.
KEPT = 7 * 24 * 3600


@contextlib.contextmanager
def locked(repository: Path, package: str, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock for builds of a package (``name-version``) into a repository."""
    with lock(repository, f"{package}.staged", say) as held:
        held.acquire(f"{package}: waiting for another build of it into {repository}")
        _recover(repository, package, say)
        yield


@contextlib.contextmanager
def lock(repository: Path, name: str, say: Callable[[str], None]) -> Iterator[locks.Lock]:
    """Yield a lock of a repository that is not taken yet, and release it at the end."""
    found = open_lock(repository, name, say)
    try:
        yield found
    finally:
        found.release()


def open_lock(repository: Path, name: str, say: Callable[[str], None]) -> locks.Lock:
    """Return a lock of a repository that is not taken yet."""
    return locks.open_lock(_private(repository) / f"{name}.lock", say)


@contextlib.contextmanager
def stage(repository: Path, package: str) -> Iterator[Path]:
    """Yield an empty repository for one build; remove those of killed builds. Requires `locked`."""
    folder = _private(repository, "staged", package)
    for left in folder.iterdir():
        safe_files.remove(left)
    run = Path(tempfile.mkdtemp(prefix="", dir=folder))
    run.chmod(0o755)
    try:
        yield run
    finally:
        safe_files.remove(run)
        with contextlib.suppress(OSError):
            folder.rmdir()


def stage_of(place: Path) -> Path | None:
    """Return the stage that contains ``place``, or None."""
    parts = place.parts
    for number in range(len(parts) - 3):
        if parts[number : number + 2] == (FOLDER, "staged"):
            return Path(*parts[: number + 4])
    return None


def final_place(place: Path) -> Path:
    """Return the final path of a variant that is staged at ``place``."""
    run = stage_of(place)
    return place if run is None else run.parents[3] / place.relative_to(run)


def put(arrived: Path, place: Path, repository: Path, package: str, *, keep: bool) -> None:
    """Move a folder of a stage to ``place`` in the repository; if possible, in one step.

    Args:
        arrived: The finished folder.
        place: Relative to the repository: ``name/version``, or a folder below it.
        repository: The repository.
        package: ``name-version``; it must be `locked`.
        keep: Keep the folder that is replaced for a week.
    """
    target = repository / place
    share(target.parent, repository)
    # A folder that only this process uses.
    swapping = Path(tempfile.mkdtemp(prefix=f"{package}.", dir=_private(repository, "swapping")))
    try:
        old = atomic_swap.swap(arrived, target, swapping / quote(str(place), safe=""))
        if old and keep:
            old.rename(_private(repository, "old") / f"{package}-{time.time_ns()}")
        elif old:
            safe_files.remove(old)
    finally:
        with contextlib.suppress(OSError):
            swapping.rmdir()


def tidy(repository: Path, say: Callable[[str], None]) -> None:
    """Clean up after killed builds: remove stages and restore variants, if no build runs now."""
    here = repository / FOLDER
    packages = {path.name for path in here.glob("staged/*")}
    packages |= {path.name.rpartition(".")[0] for path in here.glob("swapping/*.*")}
    for package in packages:
        with (
            contextlib.suppress(MachineError, OSError),
            lock(repository, f"{package}.staged", say) as held,
        ):
            if held.take():
                _recover(repository, package, say)
                safe_files.remove(here / "staged" / package)


def prune(repository: Path) -> None:
    """Remove variants that were replaced more than a week ago."""
    for path in (repository / FOLDER / "old").glob("*"):
        replaced = path.name.rpartition("-")[2]
        if replaced.isdecimal() and time.time() - int(replaced) / 1e9 > KEPT:
            safe_files.remove(path)


def share(folder: Path, repository: Path) -> Path:
    """Create a folder in a repository with the mode of the repository."""
    repository.mkdir(parents=True, exist_ok=True)
    _make(folder, stat.S_IMODE(repository.stat().st_mode))
    return folder


def _private(repository: Path, *names: str) -> Path:
    """Create a folder in ``.rezbuild`` for users who can write the repository only.

    A link in its place is removed.

    Raises:
        MachineError: The link cannot be removed.
    """
    repository.mkdir(parents=True, exist_ok=True)
    mode = stat.S_IMODE(repository.stat().st_mode)
    writers = 0o700 | (0o070 if mode & stat.S_IWGRP else 0) | (0o007 if mode & stat.S_IWOTH else 0)
    mode = mode & ~0o777 | writers
    folder = repository
    for name in (FOLDER, *names):
        folder /= name
        if folder.is_symlink():
            safe_files.remove(folder)
        _make(folder, mode)
        if folder.is_symlink():
            raise MachineError(
                f"{folder} is a link instead of a folder",
                advice=["find out who put it there, then remove it"],
            )
        if safe_files.is_own_folder(folder) and stat.S_IMODE(folder.lstat().st_mode) != mode:
            folder.chmod(mode)
    return folder


def _make(folder: Path, mode: int) -> None:
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        with contextlib.suppress(FileExistsError):
            path.mkdir()
            path.chmod(mode)


def _recover(repository: Path, package: str, say: Callable[[str], None]) -> None:
    """Restore variants that a killed build has moved away but not replaced.

    Other users may have written anything here. So the place of a variant is its name, places
    outside of the package are refused, and only folders of the caller are moved. Nothing is
    removed: if the place of a variant is taken, it is kept in ``old/``.
    """
    for swapping in (repository / FOLDER / "swapping").glob("*"):
        if package not in (swapping.name, swapping.name.rpartition(".")[0]):
            continue
        try:
            with safe_files.open_folder(repository, *swapping.relative_to(repository).parts) as at:
                for name in os.listdir(at):
                    if not _restore(at, name, repository, package):
                        say(
                            f"notice: {swapping / name} is left alone: it is not a variant of yours"
                        )
        except (OSError, MachineError) as error:
            say(f"notice: {swapping} is left alone: {words.reason(error)}")
        with contextlib.suppress(OSError):
            swapping.rmdir()


def _restore(folder: int, name: str, repository: Path, package: str) -> bool:
    """Move a variant out of an opened folder of ``swapping/``.

    Returns:
        False if it is not a variant of the caller.

    Raises:
        OSError: The variant cannot be moved, or there is a link on the way.
    """
    place = _place(name, package)
    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    own = {os.fstat(folder).st_uid, status.st_uid} == {os.geteuid()}
    if place is None or not own or not stat.S_ISDIR(status.st_mode):
        return False
    target = repository / place
    if target.exists():
        kept = _private(repository, "old")
        target = kept / f"{package}-{time.time_ns()}"
    share(target.parent, repository)
    parents = target.parent.relative_to(repository).parts
    with safe_files.open_folder(repository, *parents) as parent:
        os.rename(name, target.name, src_dir_fd=folder, dst_dir_fd=parent)
        os.fsync(parent)
    os.fsync(folder)
    return True


def _place(name: str, package: str) -> Path | None:
    """Return the place in a repository for a name in ``swapping/``."""
    parts = unquote(name).split("/")
    plain = all(part and not part.startswith(".") and "\0" not in part for part in parts)
    fits = len(parts) > 1 and "-".join(parts[:2]) == package
    return Path(*parts) if plain and fits and quote("/".join(parts), safe="") == name else None
