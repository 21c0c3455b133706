"""Revoked payloads: found to be bad, and refused.

A file in the store tells all of its users. A person who can write the store can remove that file,
or
serve an old copy of the store. So REZBUILD_STORE_REVOKED names a file of the studio, which reaches
the build machines as the keys do.
"""

from __future__ import annotations

import re
from pathlib import Path

from rezbuild.errors import MachineError, StoreError
from rezbuild.files import safe_files
from rezbuild.store.files import Files
from rezbuild.store.timeouts import StoreFileError
from rezbuild.util.terminal import printable_line

# The folder beside the folders of the packages.
FOLDER = "revoked"
# Bytes of the reason.
_MOST = 10_000
_SUM = re.compile(r"[0-9a-f]{64}")


def revocation_place(payload: str) -> str:
    """Return the place of the file that revokes a payload."""
    return f"{FOLDER}/{payload}"


class Revocations:
    """The revoked payloads of a store.

    Args:
        files: The store's files.
        own: A file with one checksum a line; a comment may follow after a space.

    Raises:
        MachineError: The file cannot be read.
    """

    def __init__(self, files: Files, own: Path | None) -> None:
        self._files = files
        self._own = _read(own) if own else {}

    def check(self, payload: str) -> None:
        """Check that a payload is not revoked.

        Raises:
            StoreError: It is revoked.
            StoreFileError: The store cannot be read.
        """
        why = self._own.get(payload)
        try:
            if why is None:
                found = self._files.read(revocation_place(payload), _MOST)
                why = found.decode("utf-8", "replace").strip()
        except StoreFileError as error:
            if error.missing:
                return
            if not error.damaged:
                raise
            why = ""
        raise StoreError(f"its payload was revoked ({printable_line(why) or 'no reason given'})")


def _read(file: Path) -> dict[str, str]:
    try:
        lines = safe_files.read(file.resolve()).decode("utf-8", "replace").splitlines()
    except OSError as error:
        raise MachineError(
            f"REZBUILD_STORE_REVOKED: {file} cannot be read: {error.strerror}",
            advice=["set it to an existing file, or unset it"],
        ) from None
    found = {}
    for line in lines:
        payload, _, why = line.strip().partition(" ")
        if _SUM.fullmatch(payload):
            found[payload] = why.strip()
        elif payload and not payload.startswith("#"):
            raise MachineError(
                f"REZBUILD_STORE_REVOKED: {file} has a line without a checksum: {line[:80]!r}",
                advice=["write the hashes of payloads, which rezbuild store list --json shows"],
            )
    return found
