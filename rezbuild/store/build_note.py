"""A note beside a finished payload in a build path: the store key that it was built for.

The fingerprint in a payload's record covers less than a store key, and anyone who can write the
build path can change the payload. So a payload of an earlier build is uploaded only if its note
confirms it.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from rezbuild.errors import StoreError
from rezbuild.files import pack, safe_files

NAME = "rezbuild.key"
# Bytes. A valid note has less than two hundred.
_MOST = 1000


class BuildNote:
    """The note of a build path. The caller holds the lock of the build path.

    Args:
        build_path: A folder.
    """

    def __init__(self, build_path: Path) -> None:
        self._file = build_path / NAME

    def begin(self, key: str, *, ready: bool) -> None:
        """Write down the key of the payload that is built next.

        Args:
            key: The key in the store.
            ready: A finished payload is there, and nothing will be built.
        """
        if not ready:
            self._write(key, "")
        elif self._read()[1:] == [""]:
            # The process that built it was killed before `confirms`.
            self.drop()

    def confirms(self, key: str, payload: Path) -> bool:
        """Return whether a payload was built for a key, now or earlier, and is unchanged."""
        said, digest = self._read(), _digest(payload)
        # Another process that had put a payload here since `begin` would have changed the note.
        new = said == [key, ""]
        if new or said != [key, digest]:
            self.drop()
        if new and digest:
            # Without the note, e.g. on a full disk, the next build does not upload this payload.
            with contextlib.suppress(OSError):
                self._write(key, digest)
        return new or said == [key, digest]

    def drop(self) -> None:
        """Remove the note: the payload comes from elsewhere."""
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
    """Return the checksum of a payload; "" if it cannot be read, which packing it will report."""
    try:
        return pack.digest(payload)
    except (StoreError, OSError):
        return ""
