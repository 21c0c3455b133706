"""What a store knows of one payload: a small file of JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rezbuild.errors import StoreError
from rezbuild.files import safe_files
from rezbuild.store import key as keys

SUFFIX = ".json"
# The folder beside those of the packages.
BLOBS = "payloads"
BLOB_SUFFIX = ".tar.zst"
_SHA256 = re.compile(r"[0-9a-f]{64}")
# Names of folders in the store, so nothing that leads out of it.
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}")
_SIGNATURE = re.compile(r"[A-Za-z0-9+/=]{0,200}")
# Bytes. A real one has two thousand.
MOST = 1 << 20
# No tree that is larger is unpacked.
_MOST_PACKED = 4 << 30


@dataclass(frozen=True)
class Packed:
    """A tree that lies in the store as one file.

    Attributes:
        tree: Its sum, by `rezbuild.files.pack.digest`.
        blob: The packed file's sha256.
        size: Bytes of the packed file.
    """

    tree: str
    blob: str
    size: int


@dataclass(frozen=True)
class Entry:
    """One payload.

    Attributes:
        key: The hash of ``inputs``.
        name, version: Of the package.
        profile: ``fast`` or ``optimized``; None where that makes no difference.
        payload: The sum of the tree, by `rezbuild.files.pack.digest`.
        size: Bytes of the packed payload.
        blob: The packed payload's sha256.
        inputs: All that went into the key; see `rezbuild.store.key`.
        debug: Its debug data, where it has some; see `rezbuild.payload.debug_data`.
        signature: Over all else, in base64, or "".
    """

    key: str
    name: str
    version: str
    profile: str | None
    payload: str
    size: int
    blob: str
    inputs: Mapping[str, Any]
    debug: Packed | None = None
    signature: str = ""

    @property
    def place(self) -> str:
        """Where it is in a store."""
        return entry_place(self.name, self.version, self.key)

    @property
    def packed(self) -> Packed:
        """The payload's own file."""
        return Packed(self.payload, self.blob, self.size)

    def signed(self) -> bytes:
        """What a signature is over."""
        return keys.canonical({**asdict(self), "signature": ""})

    def to_json(self) -> str:
        """For `from_json`, and for people."""
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Entry:
        """Reads an entry, which may hold anything.

        Raises:
            StoreError: It is none, or its inputs are not those of its key.
        """
        try:
            data = safe_files.parse_json(text)
            debug = data.pop("debug")
            entry = cls(debug=Packed(**debug) if debug is not None else None, **data)
            entry._check()
        except (ValueError, TypeError, AttributeError, KeyError):
            raise StoreError("it is no entry that can be read") from None
        return entry

    def _check(self) -> None:
        """Raises StoreError or ValueError."""
        packed = [self.packed, *([self.debug] if self.debug else [])]
        sums = [self.key, *(s for p in packed for s in (p.tree, p.blob))]
        fits = [
            *(_SHA256.fullmatch(text) for text in sums),
            *(_PLAIN.fullmatch(text) for text in (self.name, self.version)),
            *(type(p.size) is int and 0 < p.size <= _MOST_PACKED for p in packed),
            self.profile is None or _PLAIN.fullmatch(self.profile),
            _SIGNATURE.fullmatch(self.signature),
            isinstance(self.inputs, dict),
        ]
        if not all(fits):
            raise ValueError
        # Those of a build say all of it.
        own = {"name": self.name, "version": self.version, "profile": self.profile}
        if any(self.inputs.get(what, value) != value for what, value in own.items()):
            raise StoreError("its inputs are those of another package")
        if keys.key(self.inputs) != self.key:
            raise StoreError("its inputs do not hash to its key")


def entry_place(name: str, version: str, key: str) -> str:
    """Where an entry is in a store."""
    return f"{name}/{version}/{key}{SUFFIX}"


def blob_place(blob: str) -> str:
    """Where a packed tree is in a store."""
    return f"{BLOBS}/{blob}{BLOB_SUFFIX}"
