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
    """A table of a TOML file; its errors name file and key."""

    def __init__(self, path: Path, key: str, data: object) -> None:
        self.path, self.key = path, key
        if not isinstance(data, dict):
            raise self.wrong("", "is not a table")
        self.data: dict[str, Any] = data

    def wrong(self, key: str, reason: str) -> CatalogueError:
        where = ".".join(part for part in (self.key, key) if part)
        return CatalogueError(
            f"{self.path}: {where or 'the file'} {reason}",
            advice=["see docs/reference/catalogue.md"],
        )

    def only(self, allowed: set[str]) -> None:
        for key in self.data:
            if key not in allowed:
                raise self.wrong(key, f"is unknown; known keys: {', '.join(sorted(allowed))}")

    def table(self, key: str) -> Table:
        return Table(self.path, f"{self.key}.{key}" if self.key else key, self.data.get(key, {}))

    def text(self, key: str, pattern: re.Pattern[str] | None = None, expected: str = "") -> str:
        value = self.data.get(key)
        if value is None:
            raise self.wrong(key, "is missing")
        if not isinstance(value, str) or not value:
            raise self.wrong(key, "is not a text")
        if pattern is not None and not pattern.fullmatch(value):
            raise self.wrong(key, f"is not {expected}: {value!r}")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        value = self.data.get(key, [])
        if not isinstance(value, list) or not all(isinstance(v, str) and v for v in value):
            raise self.wrong(key, "is not a list of texts")
        return tuple(value)

    def size(self) -> int | None:
        value = self.data.get("size")
        if value is not None and (type(value) is not int or value <= 0):
            raise self.wrong("size", f"is not a number of bytes: {value!r}")
        return value

    def switch(self, key: str) -> bool:
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
        return self.text("sha256", _SHA256, "64 lower-case hex digits")
