"""Run a command on a simulated host: this host with some paths replaced, in a mount namespace.

As a program: ``other_host.py TREE PATH... -- COMMAND...`` in a new mount namespace. TREE looks like
the root of the simulated host. Each PATH shows the file or folder of TREE, or does not exist if
TREE lacks it.
"""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

# <linux/mount.h>
MS_BIND, MS_REC = 4096, 16384


def on_host(tree: Path, replaced: Sequence[str]) -> list[str]:
    """Return a command prefix that runs a command on the simulated host.

    Args:
        tree: A folder with the other content of the replaced paths.
        replaced: Absolute paths; their parents must exist on this host.

    Skips the test if mount namespaces are not available.
    """
    import pytest  # the program below does not need it

    start = unshare()
    if start is None:
        pytest.skip("no mount namespaces: neither as root nor by `unshare --map-root-user`")
    program = [sys.executable, "-I", "-S", __file__]
    return [*start, "--mount", "--", *program, str(tree), *replaced, "--"]


@functools.cache
def unshare() -> list[str] | None:
    """Enter new namespaces as root, or as the root of a user namespace."""
    for start in (["unshare"], ["unshare", "--user", "--map-root-user"]):
        attempt = [*start, "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
        try:
            if subprocess.run(attempt, capture_output=True, check=False).returncode == 0:
                return start
        except FileNotFoundError:
            return None
    return None


def replace_paths(tree: Path, replaced: Sequence[str]) -> None:
    """Replace the paths in the mount namespace of this process."""
    parents: dict[Path, set[str]] = {}
    for path in map(Path, replaced):
        parents.setdefault(path.parent.resolve(), set()).add(path.name)
    aside = Path(tempfile.mkdtemp(dir=tree.parent))
    _mount("tmpfs", aside, "tmpfs")
    for number, (parent, names) in enumerate(parents.items()):
        here = aside / str(number)
        here.mkdir()
        _mount(parent, here, flags=MS_BIND | MS_REC)
        _mount("tmpfs", parent, "tmpfs")
        parent.chmod(0o755)
        for entry in os.scandir(here):
            if entry.name not in names:
                _bind(entry, parent / entry.name)
    for path in replaced:
        source, target = tree / path[1:], Path(path)
        if source.is_symlink():
            target.symlink_to(os.readlink(source))
        elif source.is_dir():
            shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)


def _bind(entry: os.DirEntry[str], place: Path) -> None:
    if entry.is_symlink():
        place.symlink_to(os.readlink(entry.path))
        return
    if entry.is_dir():
        place.mkdir()
    else:
        place.touch()
    _mount(entry.path, place, flags=MS_BIND | MS_REC)


def _mount(source: str | Path, target: Path, kind: str | None = None, flags: int = 0) -> None:
    """Call mount(2); a program would be too slow for hundreds of mounts."""
    libc = ctypes.CDLL(None, use_errno=True)
    words = [os.fsencode(word) if word else None for word in (source, target, kind)]
    if libc.mount(*words, flags, None) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"mount: {os.strerror(number)}", str(target))


def main() -> None:
    words = sys.argv[1:]
    end = words.index("--")
    replace_paths(Path(words[0]), words[1:end])
    os.execvp(words[end + 1], words[end + 1 :])


if __name__ == "__main__":
    main()
