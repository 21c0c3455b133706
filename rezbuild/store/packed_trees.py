"""A payload's way into one file: what is packed is what was there, and what its inputs speak of."""

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
def temporary() -> Iterator[Path]:
    """A folder in TMPDIR, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="rezbuild-store-") as folder:
        yield Path(folder)


def packed(root: Path, file: Path) -> Packed:
    """Packs a tree into a file.

    Raises:
        StoreError: It has changed meanwhile.
    """
    before = pack.digest(root)
    with file.open("wb") as stream:
        pack.pack(root, stream)
    if pack.digest(root) != before:
        raise StoreError(f"{root} has changed while it was packed")
    return Packed(before, sha256(file), file.stat().st_size)


def check_record(payload: Path, name: str, version: str, inputs: Mapping[str, Any]) -> None:
    """Sees that a payload is the one that inputs speak of, as far as it says itself.

    Raises:
        StoreError: It is another one.
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
