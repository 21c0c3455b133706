"""Contents of a folder, for comparisons."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

# Files in which Rez records time and folders of a build.
REZS_OWN = {"variant.json", "build.rxt"}


def tree(folder: Path) -> dict[str, str]:
    """Return mode and checksum, or link target, of each file by its path."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.name in REZS_OWN or (path.is_dir() and not path.is_symlink()):
            continue
        data = os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
        if path.name == "package.py":
            # These have no order and contain the time.
            lines = [line for line in data.split(b"\n") if not line.startswith(b"timestamp")]
            data = b"\n".join(sorted(lines))
        mode = path.lstat().st_mode
        found[str(path.relative_to(folder))] = f"{mode:o} {hashlib.sha256(data).hexdigest()}"
    return found
