"""Files and folders in places where other users may write.

A user who can write a folder can put a link, a FIFO or a device at a name that rezbuild is going to
use. So these functions never follow a link in the last part of a path, never write into an existing
file, and read regular files only, up to a limit.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

# Bytes. The largest record of a payload, the list of a python's files, has less than a megabyte.
MOST = 32 << 20
# Levels of JSON. A bill of materials has about ten.
_DEEPEST = 40


def read(path: Path, most: int = MOST) -> bytes:
    """Return the content of a regular file that has at most ``most`` bytes.

    Raises:
        OSError: The file cannot be read, is a link, a FIFO or a device, or is larger.
    """
    # Without O_NONBLOCK, opening a FIFO waits for its writer.
    number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    with open(number, "rb") as file:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"it has more than {most} bytes", str(path))
    return data


def parse_json(data: str | bytes) -> Any:
    """Return what JSON text holds, unless it is nested more deeply than any real one.

    Raises:
        ValueError: It is not JSON, or is nested too deeply: to write it again would fail.
    """
    try:
        found = json.loads(data)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    level = [found]
    for _ in range(_DEEPEST):
        inner: list[Any] = []
        for value in level:
            if isinstance(value, (list, dict)):
                inner += value.values() if isinstance(value, dict) else value
        level = inner
        if not level:
            return found
    raise ValueError("it is nested too deeply")


def walk(root: Path) -> Iterator[Path]:
    """Yield the paths of all files and folders below a folder.

    Raises:
        OSError: A folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise error

    for folder, folders, names in os.walk(root, onerror=refuse):
        yield from (Path(folder, name) for name in (*folders, *names))


def create(path: Path) -> BinaryIO:
    """Open a new file for writing.

    Raises:
        OSError: The name is taken, also by a dangling link.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return open(os.open(path, flags, 0o644), "wb")


def resume(path: Path) -> BinaryIO:
    """Open a file for reading and appending; create it if it is missing.

    Raises:
        OSError: The path is a link, a FIFO, a device, or a file with two names.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    number = os.open(path, flags, 0o644)
    status = os.fstat(number)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(number)
        raise OSError(errno.EINVAL, "it is not a regular file with one name", str(path))
    return open(number, "a+b")


def replace(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file with a temporary name, then rename it to ``path``.

    A link at ``path`` is replaced; its target does not change.

    Raises:
        OSError: The folder cannot be written, or ``path`` is a folder.
    """
    if path.is_dir() and not path.is_symlink():
        # The error of rename(2) would name the temporary file.
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    number, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(number, "wb") as file:
            file.write(data)
            os.fchmod(number, mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def remove(path: Path) -> None:
    """Remove a file, a link, or the caller's part of a tree.

    Folders of the caller are made writable first. Links are removed and never followed. Folders of
    other users stay, with their contents.
    """
    with contextlib.suppress(OSError):
        parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _remove(parent, path.name)
        finally:
            os.close(parent)


def _remove(parent: int, name: str) -> None:
    # O_PATH can open a folder that cannot be read.
    flags = os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC
    try:
        folder = os.open(name, flags, dir_fd=parent)
    except NotADirectoryError:
        os.unlink(name, dir_fd=parent)
        return
    try:
        status = os.fstat(folder)
        if status.st_uid != os.geteuid():
            return
        if status.st_mode & stat.S_IRWXU != stat.S_IRWXU:
            # Change this folder, even if its name leads to another folder now.
            os.chmod(f"/proc/self/fd/{folder}", stat.S_IRWXU)
        listed = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
        try:
            for inner in os.listdir(listed):
                with contextlib.suppress(OSError):
                    _remove(listed, inner)
        finally:
            os.close(listed)
    finally:
        os.close(folder)
    os.rmdir(name, dir_fd=parent)


@contextlib.contextmanager
def open_folder(root: Path, *names: str) -> Iterator[int]:
    """Yield a descriptor of a folder below ``root``; follow no link on the way.

    Raises:
        OSError: A name is missing, or is a link.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    folder = os.open(root, flags)
    try:
        for name in names:
            above, folder = folder, os.open(name, flags | os.O_NOFOLLOW, dir_fd=folder)
            os.close(above)
        yield folder
    finally:
        os.close(folder)


def is_own_folder(path: Path) -> bool:
    """Return whether a path is a folder of the caller, and not a link."""
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
