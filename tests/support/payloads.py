"""Small payloads, and stores with them."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any

from rezbuild.payload import debug_data
from rezbuild.settings import Settings
from rezbuild.store import Entry, Store
from rezbuild.store.key import hash_inputs

FINGERPRINT = "0123456789abcdef"


def payload(folder: Path, name: str = "thing", version: str = "1.0", **record: Any) -> Path:
    """Make a tree with each kind of file that payloads have."""
    (folder / "lib/empty").mkdir(parents=True)
    (folder / "bin").mkdir()
    said = {"name": name, "version": version, "fingerprint": FINGERPRINT, **record}
    (folder / "rezbuild.json").write_text(json.dumps(said))
    (folder / "bin/program").write_text("#!/bin/sh\necho 42\n")
    (folder / "bin/program").chmod(0o755)
    (folder / "bin/link").symlink_to("program")
    (folder / "lib/library.so").write_bytes(bytes(range(256)) * 64)
    (folder / "lib/library.so").chmod(0o555)
    (folder / "lib/nothing").touch()
    return folder


def inputs(name: str = "thing", version: str = "1.0", **more: Any) -> dict[str, Any]:
    """Return the inputs of a payload, as a store reads them."""
    return {"name": name, "version": version, "profile": None, "fingerprint": FINGERPRINT, **more}


def put(store: Store, root: Path, **more: Any) -> Entry:
    """Upload a payload; ``more`` changes the inputs."""
    record = json.loads((root / "rezbuild.json").read_text())
    made = inputs(record["name"], record["version"], **more)
    return store.put(record["name"], record["version"], None, hash_inputs(made), made, root)


def tree(root: Path) -> dict[str, object]:
    """Return everything below a folder, except times and owners."""
    found: dict[str, object] = {}
    for path in root.rglob("*"):
        place, mode = path.relative_to(root).as_posix(), stat.S_IMODE(path.lstat().st_mode)
        if path.is_symlink():
            found[place] = os.readlink(path)
        else:
            data = b"" if path.is_dir() else path.read_bytes()
            found[place] = (path.is_dir(), mode, hashlib.sha256(data).hexdigest())
    return found


def with_debug(root: Path, settings: Settings) -> Path:
    """Add build ids to a payload, and its debug data to the cache."""
    ids = {"bin/program": "ab" * 20, "lib/library.so": "cd" * 20}
    said = json.loads((root / "rezbuild.json").read_text())
    (root / "rezbuild.json").write_text(json.dumps({**said, "build_ids": ids}))
    for number, build_id in enumerate(ids.values()):
        place = settings.cache / "debug" / debug_data.path_of(build_id)
        place.parent.mkdir(parents=True)
        place.write_text(f"data {number}")
    return root
