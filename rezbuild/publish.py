"""Puts a finished payload where the old one was, in one step, and keeps the old one until then."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rezbuild.errors import MachineError

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def move_into_place(staging: Path, target: Path) -> None:
    """Moves ``staging`` to ``target``; what stood there is gone afterwards, never before.

    A staging folder on another file system is first copied beside the target.

    Raises:
        MachineError: The repository cannot be written; the target is as it was.
    """
    try:
        _move(staging, target)
    except OSError as error:
        raise MachineError(
            f"{target} cannot be written: {error.strerror}",
            advice=["check the space and the rights of the repository, then run it again"],
        ) from None


@contextlib.contextmanager
def kept(target: Path) -> Iterator[None]:
    """Whatever goes wrong inside, ``target`` is afterwards what it was before.

    Rez deletes an installed variant when a build of it fails (rezplugins/build_process/local.py).
    A tree of hard links stands beside it meanwhile, which costs no space and no reader notices.
    """
    recover(target)
    copy = _copy_of(target)
    existed = target.is_dir()
    if existed:
        with _hidden(target) as folder:
            tree = folder / "copy"
            shutil.copytree(target, tree, symlinks=True, copy_function=_link)
            # Where a copy stands under its name, it is whole: see `recover`.
            tree.rename(copy)
    try:
        yield
    except BaseException:
        if not existed:
            shutil.rmtree(target, ignore_errors=True)
        recover(target)
        raise
    shutil.rmtree(copy, ignore_errors=True)


def interrupted(target: Path) -> bool:
    """Whether a process was killed inside `kept`, and `recover` has something to do."""
    return _copy_of(target).is_dir()


def recover(target: Path) -> None:
    """Puts back what `kept` left behind when its process was killed.

    What stands at ``target`` then may be half deleted or half made; the copy is neither.
    """
    if interrupted(target):
        with _hidden(target) as folder:
            _swap(_copy_of(target), target, folder)


def _copy_of(target: Path) -> Path:
    return target.with_name(f".rezbuild-kept-{target.name}")


@contextlib.contextmanager
def _hidden(target: Path) -> Iterator[Path]:
    """A folder beside the target that is gone afterwards, with all that is left in it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".rezbuild-", dir=target.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _link(source: str, target: str) -> str:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # a file system without hard links
        shutil.copy2(source, target, follow_symlinks=False)
    return target


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
        _swap(arrived, target, folder)


def _swap(arrived: Path, target: Path, folder: Path) -> None:
    """Puts ``arrived`` at ``target``, at no moment nothing where that is possible.

    What was there before ends up in ``folder``.
    """
    if not target.exists():
        arrived.rename(target)
        return
    if not _exchange(arrived, target):
        old = folder / "old"
        target.rename(old)
        try:
            arrived.rename(target)
        except OSError:
            old.rename(target)
            raise
    elif arrived.parent != folder:
        arrived.rename(folder / "old")


def _exchange(one: Path, other: Path) -> bool:
    """renameat2(2) with RENAME_EXCHANGE; False where kernel, C library or file system lack it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    done = libc.renameat2(
        _AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE
    )
    return bool(done == 0)
