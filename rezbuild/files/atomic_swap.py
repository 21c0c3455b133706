"""Puts a finished payload where the old one was, in one step, and keeps the old one until then."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from rezbuild.errors import MachineError, UsageError
from rezbuild.files import temp_folders

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
# What ld.so puts something in the place of; in DT_NEEDED it does so twice (ld.so(8)).
_TOKEN = re.compile(r"\$\{?(?:ORIGIN|LIB|PLATFORM)(?![A-Za-z0-9_])")


def check_place(target: Path) -> None:
    """Sees that programs can run at ``target``.

    Raises:
        UsageError: They cannot, because of its name.
    """
    token = _TOKEN.search(str(target))
    if token:
        raise UsageError(
            f"no program finds its libraries in {target}: to the dynamic linker, {token[0]} in "
            "the name of a folder is not that name",
            advice=["choose another folder or repository"],
        )


def check_for_rez(path: Path) -> None:
    """Sees that Rez takes a path for what it is: it puts paths between double quotes for a shell.

    Raises:
        UsageError: The shell would run part of its name, or put something in its place.
    """
    found = re.search(r"[$`]", str(path))
    if found:
        raise UsageError(
            f"Rez cannot work in {path}: the shell that it starts takes {found[0]} in the name of "
            "a folder for a command or a variable, and runs it",
            advice=["choose another folder or repository, or give it another name"],
        )


def move_into_place(staging: Path, target: Path) -> None:
    """Moves ``staging`` to ``target``; what stood there is gone afterwards, never before.

    A staging folder on another file system is first copied beside the target.

    Raises:
        MachineError: The repository cannot be written; the target is as it was.
    """
    try:
        _move(staging, target)
    except OSError as error:
        why = MachineError.from_os_error(error)
        raise MachineError(
            f"{target} cannot be written: {why.message}",
            advice=["check the space and the rights of the repository, then run it again"],
        ) from None


@contextlib.contextmanager
def _hidden(target: Path) -> Iterator[Path]:
    """A folder beside the target that is gone afterwards, with all that is left in it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with temp_folders.private(target.parent, f".rezbuild-{target.name}-") as folder:
        yield folder


def _move(staging: Path, target: Path) -> None:
    with _hidden(target) as folder:
        arrived = folder / "payload"
        try:
            staging.rename(arrived)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            shutil.copytree(staging, arrived, symlinks=True)
            shutil.rmtree(staging)
        swap(arrived, target, folder / "old")


def swap(arrived: Path, target: Path, aside: Path) -> Path | None:
    """Put ``arrived`` at ``target``, at no moment nothing where that is possible.

    Returns:
        Where the replaced folder is now: at ``arrived``, or at ``aside`` where the file system
        cannot exchange two names; None where there was none.
    """
    if not target.exists():
        arrived.rename(target)
        return None
    # A power failure must not leave the names of the new files without their contents.
    _sync_disk(arrived)
    if exchange(arrived, target):
        sync_folder(target.parent)
        return arrived
    _move_aside(target, aside)
    sync_folder(aside.parent)
    try:
        arrived.rename(target)
    except OSError:
        aside.rename(target)
        raise
    sync_folder(target.parent)
    return aside


def _move_aside(target: Path, aside: Path) -> None:
    """Rename a folder; copy it where it is on a lower layer of an overlay, which has no rename."""
    try:
        target.rename(aside)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        partial = aside.with_name(f".{aside.name}")
        shutil.copytree(target, partial, symlinks=True)
        _sync_disk(partial)
        partial.rename(aside)
        shutil.rmtree(target)


def sync_folder(folder: Path) -> None:
    """Write the names in a folder to the disk, as far as the file system can."""
    with contextlib.suppress(OSError):
        number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _sync_disk(folder: Path) -> None:
    """Write the disk of a folder: syncfs(2), which is faster than fsync(2) of each file."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        ctypes.CDLL(None).syncfs(number)
    finally:
        os.close(number)


def exchange(one: Path, other: Path) -> bool:
    """renameat2(2) with RENAME_EXCHANGE; False where kernel, C library or file system lack it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    done = libc.renameat2(
        _AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE
    )
    return bool(done == 0)
