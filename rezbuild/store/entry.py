"""An entry of a store: a small JSON file that describes one payload."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rezbuild.errors import StoreError
from rezbuild.files import safe_files
from rezbuild.store import key as keys
from rezbuild.util import glibc_version

SUFFIX = ".json"
# The folder of packed trees, beside the folders of the packages.
BLOBS = "payloads"
BLOB_SUFFIX = ".tar.zst"
_SHA256 = re.compile(r"[0-9a-f]{64}")
# Names of folders in the store; none may lead out of it.
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}")
_SIGNATURE = re.compile(r"[A-Za-z0-9+/=]{0,200}")
# Bytes. A valid entry has about two thousand.
MOST = 1 << 20
# Bytes. Larger packed trees are refused.
_MOST_PACKED = 4 << 30


@dataclass(frozen=True)
class Packed:
    """A tree that is stored as one file.

    Attributes:
        tree: The checksum of the tree, by `rezbuild.files.pack.digest`.
        blob: The sha256 of the packed file.
        size: The bytes of the packed file.
    """

    tree: str
    blob: str
    size: int


@dataclass(frozen=True)
class Entry:
    """The description of one payload.

    Attributes:
        key: The hash of ``inputs``.
        name, version: The package.
        profile: ``fast`` or ``optimized``; None if the profile makes no difference.
        payload: The checksum of the tree, by `rezbuild.files.pack.digest`.
        size: The bytes of the packed payload.
        blob: The sha256 of the packed payload.
        inputs: All inputs of the key; see `rezbuild.store.key`.
        glibc: The oldest glibc that the payload runs on, e.g. ``2.28``; "" if it is unknown.
        debug: The debug data, if there is some; see `rezbuild.payload.debug_data`.
        signature: The signature over all other attributes, in base64, or "".
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
    glibc: str = ""

    @property
    def place(self) -> str:
        """The entry's place in a store."""
        return entry_place(self.name, self.version, self.key)

    @property
    def packed(self) -> Packed:
        """The packed payload."""
        return Packed(self.payload, self.blob, self.size)

    def signed(self) -> bytes:
        """Return the bytes that a signature covers."""
        return keys.canonical_json({**self.as_data(), "signature": ""})

    def to_json(self) -> str:
        """Return the entry as text, which people can read, too."""
        return json.dumps(self.as_data(), indent=1, sort_keys=True) + "\n"

    def as_data(self) -> dict[str, Any]:
        """Return the entry as plain data. Older entries have no glibc, and are signed so."""
        data = asdict(self)
        if not self.glibc:
            del data["glibc"]
        return data

    @classmethod
    def from_json(cls, text: str | bytes) -> Entry:
        """Read an entry; the text may hold anything.

        Raises:
            StoreError: It is invalid, or its inputs do not match its key.
        """
        try:
            data = safe_files.parse_json(text)
            debug = data.pop("debug")
            entry = cls(debug=Packed(**debug) if debug is not None else None, **data)
            entry._check()
        except (ValueError, TypeError, AttributeError, KeyError):
            raise StoreError("the entry is invalid") from None
        return entry

    def _check(self) -> None:
        """Check types and values; raise ValueError, or StoreError with a reason."""
        packed = [self.packed, *([self.debug] if self.debug else [])]
        sums = [self.key, *(s for p in packed for s in (p.tree, p.blob))]
        fits = [
            *(_SHA256.fullmatch(text) for text in sums),
            *(_PLAIN.fullmatch(text) for text in (self.name, self.version)),
            *(type(p.size) is int and 0 < p.size <= _MOST_PACKED for p in packed),
            self.profile is None or _PLAIN.fullmatch(self.profile),
            _SIGNATURE.fullmatch(self.signature),
            self.glibc == "" or glibc_version.PATTERN.fullmatch(self.glibc),
            isinstance(self.inputs, dict),
        ]
        if not all(fits):
            raise ValueError
        # The inputs of a build also name the package.
        own = {"name": self.name, "version": self.version, "profile": self.profile}
        if any(self.inputs.get(what, value) != value for what, value in own.items()):
            raise StoreError("its inputs are those of another package")
        if keys.hash_inputs(self.inputs) != self.key:
            raise StoreError("its inputs do not hash to its key")


def entry_place(name: str, version: str, key: str) -> str:
    """Return the place of an entry in a store."""
    return f"{name}/{version}/{key}{SUFFIX}"


def blob_place(blob: str) -> str:
    """Return the place of a packed tree in a store."""
    return f"{BLOBS}/{blob}{BLOB_SUFFIX}"
