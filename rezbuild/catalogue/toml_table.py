"""Tables of a TOML file whose errors name the file and the key."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from rezbuild.catalogue import test_records
from rezbuild.catalogue.test_records import Record
from rezbuild.errors import CatalogueError

_SHA256 = re.compile(r"[0-9a-f]{64}")


class Table:
    """A table of a TOML file; its errors name file and key.

    Methods that read a key raise CatalogueError if the value has another type or form.
    """

    def __init__(self, path: Path, key: str, data: object) -> None:
        self.path, self.key = path, key
        if not isinstance(data, dict):
            raise self.wrong("", "is not a table")
        self.data: dict[str, Any] = data

    def wrong(self, key: str, reason: str) -> CatalogueError:
        """Return the error of a key; "" for the table itself."""
        where = ".".join(part for part in (self.key, key) if part)
        return CatalogueError(
            f"{self.path}: {where or 'the file'} {reason}",
            advice=["see docs/reference/catalogue.md"],
        )

    def only(self, allowed: set[str]) -> None:
        """Raise CatalogueError if the table has a key that is not allowed."""
        for key in self.data:
            if key not in allowed:
                raise self.wrong(key, f"is unknown; known keys: {', '.join(sorted(allowed))}")

    def table(self, key: str) -> Table:
        """Return the table under a key; an empty one if the key is missing."""
        return Table(self.path, f"{self.key}.{key}" if self.key else key, self.data.get(key, {}))

    def text(self, key: str, pattern: re.Pattern[str] | None = None, expected: str = "") -> str:
        """Return the text under a key, which must be there and match ``pattern``.

        Args:
            key: The key.
            pattern: For the whole text.
            expected: The pattern in words, e.g. "a package's name".
        """
        value = self.data.get(key)
        if value is None:
            raise self.wrong(key, "is missing")
        if not isinstance(value, str) or not value:
            raise self.wrong(key, "is not a text")
        if pattern is not None and not pattern.fullmatch(value):
            raise self.wrong(key, f"is not {expected}: {value!r}")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Return the list of texts under a key; () if the key is missing."""
        value = self.data.get(key, [])
        if not isinstance(value, list) or not all(isinstance(v, str) and v for v in value):
            raise self.wrong(key, "is not a list of texts")
        return tuple(value)

    def size(self) -> int | None:
        """Return the number of bytes under ``size``, or None."""
        value = self.data.get("size")
        if value is not None and (type(value) is not int or value <= 0):
            raise self.wrong("size", f"is not a number of bytes: {value!r}")
        return value

    def switch(self, key: str) -> bool:
        """Return the boolean under a key; False if the key is missing."""
        value = self.data.get(key, False)
        if not isinstance(value, bool):
            raise self.wrong(key, "is not true or false")
        return value

    def tested(self, key: str) -> tuple[Record, ...]:
        """Return the test records under a key, if any."""
        if key not in self.data:
            return ()

        def wrong(inner: str, reason: str) -> CatalogueError:
            return self.wrong(".".join(filter(None, (key, inner))), reason)

        return test_records.read(self.data[key], wrong)

    def sha256(self) -> str:
        """Return the checksum under ``sha256``, which must be there."""
        return self.text("sha256", _SHA256, "64 lower-case hex digits")
