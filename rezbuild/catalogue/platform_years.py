"""Packages that consist of requests: the years of the VFX Reference Platform.

``packages/<name>/platform.toml`` has the versions:

    [versions."2025"]
    requires = ["~python-3.11"]   # Rez requests; weak ones (~) pin a package without adding it
    glibc = "2.28"                # the newest glibc that its packages may need
    draft = true                  # it may still change: a request must name its version
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
    """One version of a platform package.

    Attributes:
        requires: Rez requests.
        glibc: The newest glibc that its payloads may need.
        draft: It may still change.
    """

    name: str
    version: str
    folder: Path
    requires: tuple[str, ...]
    glibc: str
    draft: bool

    @property
    def builds(self) -> tuple[str, ...]:
        """The requests of the packages to build: without ``~``."""
        return tuple(request.lstrip("~") for request in self.requires)

    def __str__(self) -> str:
        return f"{self.name}-{self.version}"


def load(folder: Path) -> list[Platform]:
    """Return the versions of the package in ``folder``, oldest first.

    Raises:
        CatalogueError: The file is invalid; the message names file, key and reason.
    """
    path = folder / FILE_NAME
    try:
        data = toml.loads(path.read_text(encoding="utf-8"))
    except toml.UNREADABLE as error:
        raise toml.unreadable(path, error) from None
    entries = data.get("versions")
    if not isinstance(entries, dict) or not entries or set(data) != {"versions"}:
        raise _wrong(f"{path} must contain the table 'versions' and nothing else")
    found = [_platform(folder, version, entry) for version, entry in entries.items()]
    return sorted(found, key=lambda platform: [int(part) for part in platform.version.split(".")])


def choose(platforms: list[Platform], version: str | None = None) -> Platform:
    """Return the named version, or the newest one that is not a draft.

    Raises:
        CatalogueError: No such version exists.
    """
    named = [p for p in platforms if p.version == version]
    if version is None:
        named = [p for p in platforms if not p.draft]
    if not named:
        raise CatalogueError(
            f"{platforms[0].name} has no version {version or 'that is not a draft'}",
            advice=[f"choose a version: {', '.join(p.version for p in platforms)}"],
        )
    return named[-1]


def find(recipes: Path) -> dict[str, list[Platform]]:
    """Return all platform packages in a folder of recipes, by name."""
    return {path.parent.name: load(path.parent) for path in sorted(recipes.glob(f"*/{FILE_NAME}"))}


def expand(
    known: Mapping[str, list[Platform]], requests: Sequence[str]
) -> tuple[list[Platform], list[str]]:
    """Return the requested platforms, and the requests with platforms replaced by their requests.

    A request for a package overrides the platform's request for it.

    Raises:
        CatalogueError: A requested version does not exist.
    """
    parts = [re.split(r"-|==", request.strip(), maxsplit=1) for request in requests]
    chosen = [choose(known[p[0]], p[1] if p[1:] else None) for p in parts if p[0] in known]
    others = [request for request, p in zip(requests, parts) if p[0] not in known]
    named = {p[0] for p in parts}
    meant = [r for platform in chosen for r in platform.builds if r.partition("-")[0] not in named]
    return chosen, [*others, *dict.fromkeys(meant)]


def _wrong(message: str) -> CatalogueError:
    return CatalogueError(message, advice=["see docs/reference/catalogue.md"])


def _platform(folder: Path, version: str, entry: Any) -> Platform:
    where = f"{folder / FILE_NAME}: versions.{version}"
    if not _VERSION.fullmatch(version):
        raise _wrong(f"{where}: invalid version {version!r}; expected e.g. 2025")
    if not isinstance(entry, Mapping) or set(entry) - {"requires", "glibc", "draft"}:
        raise _wrong(f"{where} must be a table of 'requires', 'glibc' and 'draft'")
    requires, glibc, draft = entry.get("requires"), entry.get("glibc"), entry.get("draft", False)
    if not isinstance(requires, list) or not all(
        isinstance(request, str) and _REQUEST.fullmatch(request) for request in requires
    ):
        raise _wrong(f"{where}.requires must be a list of requests such as '~python-3.11'")
    if not isinstance(glibc, str) or not GLIBC.fullmatch(glibc):
        raise _wrong(f"{where}.glibc must be a version such as '2.28'")
    if not isinstance(draft, bool):
        raise _wrong(f"{where}.draft must be true or false")
    return Platform(folder.name, version, folder, tuple(requires), glibc, draft)
