"""Packages that hold requests and nothing else: the years of the VFX Reference Platform.

``packages/<name>/platform.toml`` says which versions there are:

    [versions."2025"]
    requires = ["~python-3.11"]   # Rez requests; weak ones pin what is asked for and bring nothing
    glibc = "2.28"                # the newest glibc that what is built for it may need
    draft = true                  # it may change yet: not taken where no version is named
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rezbuild.errors import CatalogueError
from rezbuild.settings import GLIBC
from rezbuild.util import toml

FILE_NAME = "platform.toml"
_VERSION = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})*")
_REQUEST = re.compile(r"~?[a-z][a-z0-9_]*-[0-9A-Za-z.+<>=,|]+")


@dataclass(frozen=True)
class Platform:
    """One version of such a package.

    Attributes:
        requires: Rez requests.
        glibc: The newest glibc that a payload for it may need.
        draft: It may change yet.
    """

    name: str
    version: str
    folder: Path
    requires: tuple[str, ...]
    glibc: str
    draft: bool

    @property
    def builds(self) -> tuple[str, ...]:
        """The same requests, as of what is to be built."""
        return tuple(request.lstrip("~") for request in self.requires)

    def __str__(self) -> str:
        return f"{self.name}-{self.version}"


def load(folder: Path) -> list[Platform]:
    """The versions of the package in ``folder``, oldest first.

    Raises:
        CatalogueError: The file is wrong; the message names file, key and reason.
    """
    path = folder / FILE_NAME
    try:
        data = toml.loads(path.read_text(encoding="utf-8"))
    except toml.UNREADABLE as error:
        raise toml.unreadable(path, error) from None
    entries = data.get("versions")
    if not isinstance(entries, dict) or not entries or set(data) != {"versions"}:
        raise _wrong(f"{path}: a table 'versions', and nothing else, is expected")
    found = [_platform(folder, version, entry) for version, entry in entries.items()]
    return sorted(found, key=lambda platform: [int(part) for part in platform.version.split(".")])


def choose(platforms: list[Platform], version: str | None = None) -> Platform:
    """The version that is named, or the newest that is no draft.

    Raises:
        CatalogueError: There is none.
    """
    named = [p for p in platforms if p.version == version]
    if version is None:
        named = [p for p in platforms if not p.draft]
    if not named:
        raise CatalogueError(
            f"{platforms[0].name} has no version {version or 'that is not a draft'}",
            advice=[f"versions: {', '.join(p.version for p in platforms)}"],
        )
    return named[-1]


def find(recipes: Path) -> dict[str, list[Platform]]:
    """All such packages in a folder of recipes, by name."""
    return {path.parent.name: load(path.parent) for path in sorted(recipes.glob(f"*/{FILE_NAME}"))}


def expand(
    known: Mapping[str, list[Platform]], requests: Sequence[str]
) -> tuple[list[Platform], list[str]]:
    """The platforms among the requests, and the requests with what those name in their place.

    What is requested besides goes before what a platform says of that package.

    Raises:
        CatalogueError: There is no such version.
    """
    parts = [re.split(r"-|==", request.strip(), maxsplit=1) for request in requests]
    chosen = [choose(known[p[0]], p[1] if p[1:] else None) for p in parts if p[0] in known]
    others = [request for request, p in zip(requests, parts) if p[0] not in known]
    named = {p[0] for p in parts}
    meant = [r for platform in chosen for r in platform.builds if r.partition("-")[0] not in named]
    return chosen, [*others, *dict.fromkeys(meant)]


def _wrong(message: str) -> CatalogueError:
    return CatalogueError(message, advice=["docs/reference/catalogue.md describes each key"])


def _platform(folder: Path, version: str, entry: Any) -> Platform:
    where = f"{folder / FILE_NAME}: versions.{version}"
    if not _VERSION.fullmatch(version):
        raise _wrong(f"{where}: {version!r} is no version such as 2025")
    if not isinstance(entry, Mapping) or set(entry) - {"requires", "glibc", "draft"}:
        raise _wrong(f"{where}: the keys are 'requires', 'glibc' and 'draft'")
    requires, glibc, draft = entry.get("requires"), entry.get("glibc"), entry.get("draft", False)
    if not isinstance(requires, list) or not all(
        isinstance(request, str) and _REQUEST.fullmatch(request) for request in requires
    ):
        raise _wrong(f"{where}.requires: a list of requests such as '~python-3.11'")
    if not isinstance(glibc, str) or not GLIBC.fullmatch(glibc):
        raise _wrong(f"{where}.glibc: a version such as '2.28'")
    if not isinstance(draft, bool):
        raise _wrong(f"{where}.draft: true or false")
    return Platform(folder.name, version, folder, tuple(requires), glibc, draft)
