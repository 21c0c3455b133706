"""Files that one process at a time may hold, also where the file system has no locks.

A lock is flock(2) on a file. Anybody who can open that file could hold the lock for ever, so only
those who may write the folder can open it. On some shares flock fails (ENOLCK, EOPNOTSUPP,
ENOSYS). There the lock is taken in a folder of this host instead, and the user is told that other
hosts are not waited for.

The library filelock is not used: its releases for Python 3.9 follow links, and all of its releases
empty the file that they open.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import platform
import pwd
import stat
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rezbuild.errors import MachineError
from rezbuild.files import safe_files
from rezbuild.util.terminal import printable_line

if TYPE_CHECKING:
    from typing_extensions import Self

# Seconds to wait for a lock. The longest build, an optimized python, takes hours on a slow host.
LIMIT = 12 * 3600.0
# Seconds between two attempts.
_PAUSE = 0.1
# Bytes of what a holder says of itself.
_MOST = 200
# Folders that the user has been told of.
_told: set[Path] = set()


class Lock:
    """The lock of one file.

    Args:
        path: The file; it is made where it is not there.
        say: Takes a line for the user when a lock is waited for.
    """

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        self._path = path
        self._say = say
        self._file: int | None = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def take(self) -> bool:
        """Take the lock if nobody holds it; return whether it was taken.

        Raises:
            OSError: The file cannot be opened.
            MachineError: The file is a link or is no regular file.
        """
        file = _open(self._path)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(file)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            return False
        os.ftruncate(file, 0)
        with contextlib.suppress(OSError):  # a full disk: the lock is held without a name
            os.pwrite(file, f"process {os.getpid()} of {_user(os.getuid())}".encode(), 0)
        self._file = file
        return True

    def acquire(self, waiting: str = "", limit: float = LIMIT) -> None:
        """Wait for the lock and take it.

        Args:
            waiting: What the user is told once, with the name of the holder.
            limit: Seconds.

        Raises:
            OSError: The file cannot be opened.
            MachineError: Another process has held the lock for so long.
        """
        end, told = time.monotonic() + limit, False
        while not self.take():
            if time.monotonic() > end:
                raise MachineError(
                    f"{self._path} is locked, and was not released within {limit:.0f} s",
                    tried=[f"it is held by {self.holder()}"],
                    advice=["end that process if it hangs, then run this again"],
                )
            if not told and limit > 1:
                told = True
                words = waiting or f"  waiting for another rezbuild, which holds {self._path}"
                self._say(f"{words} ({self.holder()})")
            time.sleep(_PAUSE)

    def release(self) -> None:
        """Let others take the lock."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, 0)
            os.close(self._file)
            self._file = None

    def holder(self) -> str:
        """Return who holds the lock, as ``process 1234 of alice on box7``."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            return _process_of(self._path.stat().st_ino)
        with contextlib.suppress(OSError):
            said = safe_files.read(self._path, _MOST).decode("utf-8", "replace")
            if said:
                return printable_line(said)
        return "a process on another host"


def at(path: Path, say: Callable[[str], None]) -> Lock:
    """Return the lock of a file, or the lock of this host that replaces it.

    Args:
        path: The lock file. Its folder is there and can be written.
        say: Is told once of a folder whose file system has no locks.

    Raises:
        OSError: The folder cannot be written.
        MachineError: There is no place for a lock of this host.
    """
    missing = without(path.parent)
    if not missing:
        return Lock(path, say)
    if path.parent not in _told:
        _told.add(path.parent)
        say(
            f"notice: no locks on the file system of {path.parent} ({missing}): who builds or "
            "fetches on this host waits for the others here, but not for those of other hosts"
        )
    name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]
    return Lock(_of_this_host() / f"{name}.lock", say)


def without(folder: Path) -> str:
    """Return why there are no locks on the file system of a folder; "" where there are.

    Raises:
        OSError: The folder cannot be written.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return error.strerror or str(error)
    return ""


def _open(path: Path) -> int:
    """Open a lock file for those who may write its folder, and for nobody else."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    mode = _mode(path.parent)
    try:
        try:
            # In a sticky folder, O_CREAT fails for a file of another user (fs.protected_regular).
            file = os.open(path, flags)
        except FileNotFoundError:
            file = os.open(path, flags | os.O_CREAT, mode)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _unfit(path, "a link") from None
        raise
    status = os.fstat(file)
    # A second name may be that of a file which is worth something.
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(file)
        raise _unfit(path, "no regular file with one name")
    if status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) != mode:
        os.fchmod(file, mode)
    return file


def _mode(folder: Path) -> int:
    """Return the mode of a lock file: read and write for each class that may write the folder."""
    there = folder.stat().st_mode
    group = 0o060 if there & stat.S_IWGRP else 0
    return 0o600 | group | (0o006 if there & stat.S_IWOTH else 0)


def _unfit(path: Path, what: str) -> MachineError:
    return MachineError(
        f"{path} is {what}, and cannot be a lock file",
        advice=["find out who put it there, then remove it"],
    )


def _process_of(inode: int) -> str:
    """Return the process of this host that holds the lock of a file; ValueError without one."""
    # proc(5): "1: FLOCK  ADVISORY  WRITE 708 08:01:393273 0 EOF"
    for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
        words = line.split()
        if words[1] == "FLOCK" and words[5].rpartition(":")[2] == str(inode):
            pid = int(words[4])
            return f"process {pid} of {_user(Path(f'/proc/{pid}').stat().st_uid)}"
    raise ValueError


def _user(number: int) -> str:
    """Return a user's name, with the name of this host."""
    try:
        name = pwd.getpwuid(number).pw_name
    except KeyError:
        name = f"the user {number}"
    return f"{name} on {platform.node()}"


def _of_this_host() -> Path:
    # Not TMPDIR: each run has its own, see `rezbuild.files.temp_folders`.
    folder = Path(f"/tmp/rezbuild-locks-{os.getuid()}")  # noqa: S108 (its owner is checked)
    folder.mkdir(mode=0o700, exist_ok=True)
    if not safe_files.is_own_folder(folder):
        raise MachineError(
            f"{folder} is not a folder of yours, and holds the locks of this host",
            advice=["remove it, or set REZBUILD_CACHE to a folder on a disk that has locks"],
        )
    return folder
