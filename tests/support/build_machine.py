"""A build machine that fetches one source."""

from __future__ import annotations

import hashlib
import io
import random
from pathlib import Path
from typing import Any

from rich.console import Console

from rezbuild.catalogue.model import Archive, Release
from rezbuild.settings import Settings
from rezbuild.sources.fetch import Fetched, Fetcher

BODY = random.Random(7).randbytes(300_000)
OTHER = BODY[:-1] + b"?"
SHA256 = hashlib.sha256(BODY).hexdigest()
FILE = "thing-1.0.tar.gz"


class Machine:
    """A build machine, with its settings and its output."""

    def __init__(self, cache: Path, **settings: Any) -> None:
        self.cache = cache
        self.output = io.StringIO()
        values: dict[str, Any] = {"connect_timeout": 2.0, "read_timeout": 2.0, **settings}
        console = Console(file=self.output, width=60)
        self.fetcher = Fetcher(Settings(cache=cache, **values), console, backoff=0.01)

    @property
    def place(self) -> Path:
        return self.cache / "sources" / "thing" / FILE

    def fetch(self, *urls: str, size: int | None = len(BODY)) -> Fetched:
        return self.fetcher.fetch(release(*urls, size=size))

    def file_names(self) -> set[str]:
        return {path.name for path in self.place.parent.iterdir() if path.suffix != ".lock"}


def release(*urls: str, size: int | None = len(BODY)) -> Release:
    return Release("thing", "1.0", (Archive(FILE, SHA256, size, urls),), (), (), "MIT")
