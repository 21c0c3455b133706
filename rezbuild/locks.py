"""Files that one process at a time may hold, also where the file system has no locks.

flock(2) is what filelock uses; on some shares it fails (ENOLCK, EOPNOTSUPP, ENOSYS), and filelock
then waits for ever, or leaves a file that outlives its holder. There the lock is taken in a folder
of this host's instead, and the user is told what that is worth.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from rezbuild.errors import MachineError

# Folders that the user has been told of.
_told: set[Path] = set()


def at(path: Path, say: Callable[[str], None]) -> FileLock:
    """The lock of a file, or the one of this host that stands for it.

    Args:
        path: Its folder is there and can be written.
        say: Is told once a folder where there are no locks.

    Raises:
        OSError: The folder cannot be written.
        MachineError: There is no place for a lock of this host.
    """
    missing = without(path.parent)
    if not missing:
        # Whoever may write in the folder takes turns, also another user of a shared disk.
        return FileLock(path, mode=0o666)
    if path.parent not in _told:
        _told.add(path.parent)
        say(
            f"notice: no locks on the file system of {path.parent} ({missing}): who builds or "
            "fetches on this host waits for the others here, but not for those of other hosts"
        )
    name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]
    return FileLock(_of_this_host() / f"{name}.lock")


def without(folder: Path) -> str:
    """Why there are no locks on the file system of a folder; "" where there are.

    Raises:
        OSError: The folder cannot be written.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return error.strerror or str(error)
    return ""


def _of_this_host() -> Path:
    # Not TMPDIR: that is another one in each run, see `rezbuild.scratch`.
    folder = Path(f"/tmp/rezbuild-locks-{os.getuid()}")  # noqa: S108 (whose it is, is looked at)
    folder.mkdir(mode=0o700, exist_ok=True)
    there = folder.lstat()
    if not stat.S_ISDIR(there.st_mode) or there.st_uid != os.getuid():
        raise MachineError(
            f"{folder} is not a folder of yours, and holds the locks of this host",
            advice=["remove it, or set REZBUILD_CACHE to a folder on a disk that has locks"],
        )
    return folder
