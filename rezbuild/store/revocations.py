"""Payloads that were found to be bad, and that nobody takes any more.

A file in the store tells all who use it. A person who can write the store can remove that file, or
serve an old copy of the store. So REZBUILD_STORE_REVOKED names a file of the studio's own, which is
given to the build boxes as the keys are.
"""

from __future__ import annotations

import re
from pathlib import Path

from rezbuild.errors import MachineError, StoreError
from rezbuild.files import safe_files
from rezbuild.store.files import Files
from rezbuild.store.timeouts import PlaceError
from rezbuild.util.terminal import printable_line

# The folder beside those of the packages.
FOLDER = "revoked"
# Bytes of the reason.
_MOST = 10_000
_SUM = re.compile(r"[0-9a-f]{64}")


def revocation_place(payload: str) -> str:
    """Return where a store says that a payload is revoked."""
    return f"{FOLDER}/{payload}"


class Revocations:
    """The revoked payloads of a store.

    Args:
        files: Of the store.
        own: A file of sums, one a line; a line may go on with a comment after a space.

    Raises:
        MachineError: The file cannot be read.
    """

    def __init__(self, files: Files, own: Path | None) -> None:
        self._files = files
        self._own = _read(own) if own else {}

    def check(self, payload: str) -> None:
        """Compare the sum of a payload with those that are revoked.

        Raises:
            StoreError: It is revoked.
            PlaceError: The store cannot be read.
        """
        why = self._own.get(payload)
        try:
            if why is None:
                found = self._files.read(revocation_place(payload), _MOST)
                why = found.decode("utf-8", "replace").strip()
        except PlaceError as error:
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
            advice=["set it to a file that is there, or unset it"],
        ) from None
    found = {}
    for line in lines:
        payload, _, why = line.strip().partition(" ")
        if _SUM.fullmatch(payload):
            found[payload] = why.strip()
        elif payload and not payload.startswith("#"):
            raise MachineError(
                f"REZBUILD_STORE_REVOKED: {file} has a line that is no sum: {line[:80]!r}",
                advice=["write the sums of payloads, which rezbuild store list --json shows"],
            )
    return found
