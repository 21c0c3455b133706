"""What is remembered, beside a payload that waits in a build path, of where it comes from.

The fingerprint in its record does not hold all that a store's key does, and whoever can write the
build path can change the payload; so nothing that an earlier build has left goes into a store
without this.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from rezbuild.errors import StoreError
from rezbuild.files import pack, safe_files

NAME = "rezbuild.key"
# Bytes. A real one has less than two hundred.
_MOST = 1000


class Note:
    """The note of a build path, which is locked whenever something is called here.

    Args:
        build_path: A folder.
    """

    def __init__(self, build_path: Path) -> None:
        self._file = build_path / NAME

    def begin(self, key: str, *, ready: bool) -> None:
        """Says of which key the payload is going to be that is baked next.

        Args:
            key: In the store.
            ready: None will be baked: there is one.
        """
        if not ready:
            self._write(key, "")
        elif self._read()[1:] == [""]:
            # Whoever baked it was killed, and has not said what came of it.
            self.drop()

    def vouches(self, key: str, payload: Path) -> bool:
        """Whether a payload was baked for a key, just now or before, and is as it was then."""
        said, digest = self._read(), _digest(payload)
        # Whoever else had put a payload here since `begin` would have changed the note.
        new = said == [key, ""]
        if new or said != [key, digest]:
            self.drop()
        if new and digest:
            # On a full disk the next build knows nothing of this one, and that is all.
            with contextlib.suppress(OSError):
                self._write(key, digest)
        return new or said == [key, digest]

    def drop(self) -> None:
        """Says nothing of what is there: it comes from elsewhere."""
        self._file.unlink(missing_ok=True)

    def _write(self, key: str, payload: str) -> None:
        safe_files.replace(self._file, json.dumps([key, payload]).encode())

    def _read(self) -> list[str]:
        try:
            said = safe_files.parse_json(safe_files.read(self._file, _MOST))
        except (OSError, ValueError):
            return []
        return said if isinstance(said, list) else []


def _digest(payload: Path) -> str:
    """The sum; "" where it cannot be had, which whoever packs the payload will tell."""
    try:
        return pack.digest(payload)
    except (StoreError, OSError):
        return ""
