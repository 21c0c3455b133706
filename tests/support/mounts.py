"""Small, full and read-only disks in a mount namespace."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from other_host import unshare
from studio import Studio

_FILLER = ".filler"


class Mounts:
    """The mounts of a sleeping process.

    Attributes:
        command: A prefix for commands that should see the mounts.
    """

    def __init__(self, pid: int, users: bool) -> None:
        self._root = Path(f"/proc/{pid}/root")
        # Without --root, nsenter leaves the root folder of a process in a chroot.
        self.command = ["nsenter", f"--target={pid}", "--mount", "--root", f"--wd={Path.cwd()}"]
        self.command += ["--user", "--preserve-credentials"] if users else []

    def outer_path(self, path: Path) -> Path:
        """Return the path by which this process reaches a file of the other mount namespace."""
        return self._root / path.relative_to("/")

    def mount(self, *argv: str | Path) -> None:
        subprocess.run([*self.command, "mount", *map(str, argv)], check=True)

    def disk(self, folder: Path) -> None:
        """Mount a disk of 30 MB at a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        self.mount("-t", "tmpfs", "-o", "size=30m,mode=777", "tmpfs", folder)

    def fill(self, folder: Path, room: int) -> None:
        """Fill the disk, except for some kilobytes."""
        filler = self.outer_path(folder) / _FILLER
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        with filler.open("r+b") as file:
            file.truncate(filler.stat().st_size - room * 1024)

    def empty(self, folder: Path) -> None:
        (self.outer_path(folder) / _FILLER).unlink()

    def writable(self, folder: Path, to: bool) -> None:
        self.mount("-o", f"remount,{'rw' if to else 'ro'}", folder)

    def rezbuild(
        self, studio: Studio, *argv: str, ok: bool = True, before: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run ``rezbuild`` in the mount namespace."""
        program = (sys.executable, "-m", "rezbuild")
        return studio.run(*self.command, *before, *program, *argv, ok=ok)


@contextlib.contextmanager
def mounts() -> Iterator[Mounts]:
    """Skip the test if mount namespaces are not available."""
    start = unshare()
    if start is None:
        pytest.skip("no mount namespaces: neither as root nor by `unshare --map-root-user`")
    words = [*start, "--mount", "sh", "-c", "echo ready && exec sleep 1000"]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == b"ready\n"
            yield Mounts(process.pid, "--user" in start)
        finally:
            process.kill()
