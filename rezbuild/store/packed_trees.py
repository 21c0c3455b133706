"""Packed trees: each is checked against changes while it is packed, and against its inputs."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rezbuild.errors import StoreError
from rezbuild.files import pack
from rezbuild.files.hashing import sha256
from rezbuild.payload import manifest
from rezbuild.store.entry import Packed


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """Create a folder in TMPDIR, and remove it afterwards."""
    with tempfile.TemporaryDirectory(prefix="rezbuild-store-") as folder:
        yield Path(folder)


def pack_tree(root: Path, file: Path) -> Packed:
    """Pack a tree into a file.

    Raises:
        StoreError: The tree has changed meanwhile.
    """
    before = pack.digest(root)
    with file.open("wb") as stream:
        pack.pack(root, stream)
    if pack.digest(root) != before:
        raise StoreError(f"{root} has changed while it was packed")
    return Packed(before, sha256(file), file.stat().st_size)


def check_record(payload: Path, name: str, version: str, inputs: Mapping[str, Any]) -> None:
    """Check that the record of a payload matches its inputs.

    Raises:
        StoreError: It does not.
    """
    record = manifest.read(payload) or {}
    wanted_of = {"name": name, "version": version}
    if "fingerprint" in inputs:
        wanted_of["fingerprint"] = inputs["fingerprint"]
    for what, wanted in wanted_of.items():
        if record.get(what) != wanted:
            raise StoreError(
                f"its {manifest.MANIFEST} says {what} {record.get(what)!r}, not {wanted!r}"
            )
