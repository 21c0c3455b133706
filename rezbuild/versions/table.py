"""The catalogue as a table: versions, sources, tests, and what is installed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rezbuild.catalogue.model import Recipe, Release
from rezbuild.catalogue.test_records import Record
from rezbuild.payload import manifest
from rezbuild.plan import resolve
from rezbuild.repository import installed as repository
from rezbuild.settings import Settings
from rezbuild.util.tables import TextTable


@dataclass(frozen=True)
class Row:
    """One version.

    Attributes:
        source: The package whose versions it has, e.g. ``python`` for ``python_debug``; or "".
        tested: Records of its tests; see `rezbuild.catalogue.test_records`.
        had_from: ``cache``, ``upstream``, ``debian``: known places of its source.
        installed: Repositories that have it, with its profile; outdated payloads are marked.
    """

    name: str
    version: str
    default: bool
    source: str
    tested: tuple[Record, ...]
    had_from: tuple[str, ...]
    installed: tuple[str, ...]


def rows(recipes: Iterable[Recipe], settings: Settings) -> list[Row]:
    """Return a row for each version of the recipes, newest first."""
    paths = repository.search_path(release=False)
    return [
        Row(
            name=recipe.name,
            version=release.version,
            default=release.version == recipe.default,
            source=release.source or "",
            tested=release.tested,
            had_from=tuple(_places(release, settings.cache / "sources")),
            installed=tuple(_installed(recipe, release, paths)),
        )
        for recipe in recipes
        for release in resolve.versions_in(recipe, recipe.name)
    ]


def shorten(rows: Sequence[Row]) -> tuple[list[Row], dict[str, str]]:
    """Return the rows without versions of another package, and these packages with the other one.

    Rows of installed versions stay.
    """
    left_out = {row.name: row.source for row in rows if row.source}
    return [row for row in rows if not row.source or row.installed], left_out


def table(rows: Sequence[Row]) -> TextTable:
    """Return the rows as a table for a terminal."""
    return TextTable(
        ("package", "version", "", "tested on", "sources", "installed in"),
        [
            (
                row.name,
                row.version,
                "default" * row.default,
                "\n".join(f"{record.host} {record.on}" for record in row.tested) or "never built",
                ", ".join(row.had_from),
                "\n".join(row.installed),
            )
            for row in rows
        ],
    )


def _places(release: Release, cache: Path) -> Iterable[str]:
    if any((cache / release.home / archive.file).is_file() for archive in release.archives):
        yield "cache"
    if any(archive.urls for archive in release.archives):
        yield "upstream"
    if any(archive.debian for archive in release.archives):
        yield "debian"


def _installed(recipe: Recipe, release: Release, paths: Sequence[str]) -> Iterable[str]:
    for path in paths:
        found = repository.installed(release.name, release.version, [path])
        if found is not None:
            current = found.record.get("recipe") == manifest.recipe_revision(recipe, release)
            facts = [str(found.record.get("profile") or "")]
            facts += [] if current else ["of an older recipe" if found.record else "made elsewhere"]
            note = ", ".join(filter(None, facts))
            yield f"{path} ({note})" if note else path
