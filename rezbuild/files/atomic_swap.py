"""Replace a folder in one step: an atomic swap."""

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
# Tokens that ld.so replaces, also in the name of a folder, ld.so(8).
_TOKEN = re.compile(r"\$\{?(?:ORIGIN|LIB|PLATFORM)(?![A-Za-z0-9_])")


def check_place(target: Path) -> None:
    """Check that programs can run in a folder.

    Raises:
        UsageError: ld.so would replace a part of its name.
    """
    token = _TOKEN.search(str(target))
    if token:
        raise UsageError(
            f"programs in {target} cannot find their libraries: the dynamic linker replaces "
            f"{token[0]} in the name of a folder",
            advice=["choose another folder or repository"],
        )


def check_for_rez(path: Path) -> None:
    """Check that Rez can use a path: it writes paths between double quotes for a shell.

    Raises:
        UsageError: The shell would run or replace a part of the path.
    """
    found = re.search(r"[$`]", str(path))
    if found:
        raise UsageError(
            f"Rez cannot work in {path}: its shell would run or replace the text after {found[0]}",
            advice=["choose another folder or repository, or rename it"],
        )


def move_into_place(staging: Path, target: Path) -> None:
    """Move ``staging`` to ``target``, and remove the old folder there after that.

    A staging folder on another file system is first copied beside the target.

    Raises:
        MachineError: The repository cannot be written; the target has not changed.
    """
    try:
        _move(staging, target)
    except OSError as error:
        why = MachineError.from_os_error(error)
        raise MachineError(
            f"{target} cannot be written: {why.message}",
            advice=["check the free space and permissions of the repository, then run it again"],
        ) from None


@contextlib.contextmanager
def _hidden(target: Path) -> Iterator[Path]:
    """Yield a temporary folder beside the target."""
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
    """Replace ``target`` by ``arrived``; if possible, ``target`` exists at every moment.

    Returns:
        The path of the replaced folder: ``arrived``, or ``aside`` if the file system cannot
        exchange two names; None if there was no folder.
    """
    if not target.exists():
        arrived.rename(target)
        return None
    # After a power failure, the new files must have their contents.
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
    """Rename a folder, or copy it: a lower layer of an overlay file system has no rename."""
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
    """Write the entries of a folder to the disk, if the file system can do so."""
    with contextlib.suppress(OSError):
        number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _sync_disk(folder: Path) -> None:
    """Write the whole file system to the disk: syncfs(2) is faster than fsync(2) for each file."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        ctypes.CDLL(None).syncfs(number)
    finally:
        os.close(number)


def exchange(one: Path, other: Path) -> bool:
    """Exchange two names with renameat2(2); return False if the system does not support it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    done = libc.renameat2(
        _AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE
    )
    return bool(done == 0)
