"""Lock files that one process at a time may hold, or several that share them.

They also work on file systems without locks.

A lock is flock(2) on a file. A user who can open the file could hold the lock forever, so only
users who may write the folder can open it. On some shares flock fails (ENOLCK, EOPNOTSUPP, ENOSYS).
Then the lock is in a folder of this host, and a notice says that other hosts do not wait for it.

The library filelock is not used: its releases for Python 3.9 follow links, and all releases
truncate the file.
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
from rezbuild.util import words
from rezbuild.util.terminal import printable_line

if TYPE_CHECKING:
    from typing_extensions import Self

# Seconds to wait for a lock. The longest build, an optimized python, takes hours on a slow host.
LIMIT = 12 * 3600.0
# Seconds between two attempts.
_PAUSE = 0.1
# Bytes of the holder's name in the file.
_MOST = 200
# Folders for which the notice was printed.
_told: set[Path] = set()


class Lock:
    """The lock of one file.

    Args:
        path: The file; it is created if it is missing.
        say: Prints a line for the user if the lock is not free.
        shared: Hold the lock together with others that share it.
    """

    def __init__(self, path: Path, say: Callable[[str], None], *, shared: bool = False) -> None:
        self._path = path
        self._say = say
        self._shared = shared
        self._file: int | None = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def take(self) -> bool:
        """Take the lock if it is free; return whether it was taken.

        Raises:
            OSError: The file cannot be opened.
            MachineError: The file is a link or not a regular file.
        """
        file = _open(self._path)
        try:
            kind = fcntl.LOCK_SH if self._shared else fcntl.LOCK_EX
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except OSError as error:
            os.close(file)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            return False
        self._file = file
        if self._shared:  # it has no single holder
            return True
        os.ftruncate(file, 0)
        with contextlib.suppress(OSError):  # a full disk: the lock has no holder's name
            os.pwrite(file, f"process {os.getpid()} of {_user(os.getuid())}".encode(), 0)
        return True

    def acquire(self, waiting: str = "", limit: float = LIMIT) -> None:
        """Wait for the lock and take it.

        Args:
            waiting: A message for the user, who also gets the holder's name.
            limit: Seconds to wait.

        Raises:
            OSError: The file cannot be opened.
            MachineError: Another process has held the lock for that time.
        """
        end, told = time.monotonic() + limit, False
        while not self.take():
            if time.monotonic() > end:
                raise MachineError(
                    f"{self._path} was locked for {limit:.0f} s",
                    tried=[f"the holder is {self.holder()}"],
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
                if not self._shared:
                    os.ftruncate(self._file, 0)
            os.close(self._file)
            self._file = None

    def holder(self) -> str:
        """Return the holder of the lock, e.g. ``process 1234 of alice on box7``."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            return _process_of(self._path.stat().st_ino)
        with contextlib.suppress(OSError):
            said = safe_files.read(self._path, _MOST).decode("utf-8", "replace")
            if said:
                return printable_line(said)
        return "a process on another host"


def open_lock(path: Path, say: Callable[[str], None], *, shared: bool = False) -> Lock:
    """Return the lock of a file, or the lock of this host that replaces it.

    Args:
        path: The lock file. Its folder exists and can be written.
        say: Prints a notice once for each folder whose file system has no locks, unless the lock
            is shared.
        shared: See `Lock`.

    Raises:
        OSError: The folder cannot be written.
        MachineError: The folder for locks of this host belongs to another user.
    """
    missing = missing_support(path.parent)
    if not missing:
        return Lock(path, say, shared=shared)
    # Holders of a shared lock wait only for a clean-up.
    if not shared and path.parent not in _told:
        _told.add(path.parent)
        say(
            f"notice: no locks on the file system of {path.parent} ({missing}): rezbuild waits for "
            "other builds and downloads of this host only"
        )
    name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]
    return Lock(_of_this_host() / f"{name}.lock", say, shared=shared)


def missing_support(folder: Path) -> str:
    """Return the reason why the file system of a folder has no locks; "" if it has locks.

    Raises:
        OSError: The folder cannot be written.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return error.strerror or words.reason(error)
    return ""


def _open(path: Path) -> int:
    """Open a lock file that only users who may write its folder can open."""
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
    # With a second name, the file may be another user's data.
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(file)
        raise _unfit(path, "not a regular file with one name")
    if status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) != mode:
        os.fchmod(file, mode)
    return file


def _mode(folder: Path) -> int:
    """Return the mode of a lock file: read and write for each class that may write the folder."""
    mode = folder.stat().st_mode
    group = 0o060 if mode & stat.S_IWGRP else 0
    return 0o600 | group | (0o006 if mode & stat.S_IWOTH else 0)


def _unfit(path: Path, what: str) -> MachineError:
    return MachineError(
        f"{path} is {what}, and cannot be a lock file",
        advice=["find out who put it there, then remove it"],
    )


def _process_of(inode: int) -> str:
    """Return the process of this host that holds the lock of a file.

    Raises:
        ValueError: No process of this host holds it.
    """
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
    # Not in TMPDIR: each run has a separate one, see `rezbuild.files.temp_folders`.
    folder = Path(f"/tmp/rezbuild-locks-{os.getuid()}")  # noqa: S108 (its owner is checked)
    folder.mkdir(mode=0o700, exist_ok=True)
    if not safe_files.is_own_folder(folder):
        raise MachineError(
            f"the folder for locks of this host, {folder}, belongs to another user",
            advice=["remove it, or set REZBUILD_CACHE to a folder on a file system with locks"],
        )
    return folder
