"""Contents of a folder, for comparisons."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

# Where Rez writes the time and the folders of the build.
REZS_OWN = {"variant.json", "build.rxt"}


def tree(folder: Path) -> dict[str, str]:
    """Return mode and checksum, or link target, of each file by its path."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.name in REZS_OWN or (path.is_dir() and not path.is_symlink()):
            continue
        data = os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
        if path.name == "package.py":
            # In no order, and with the time.
            lines = [line for line in data.split(b"\n") if not line.startswith(b"timestamp")]
            data = b"\n".join(sorted(lines))
        mode = path.lstat().st_mode
        found[str(path.relative_to(folder))] = f"{mode:o} {hashlib.sha256(data).hexdigest()}"
    return found
