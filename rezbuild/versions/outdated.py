"""Installed packages that are outdated, or that were built against outdated libraries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rez.version import Version

from rezbuild.catalogue.model import Recipe, Release
from rezbuild.errors import FetchError
from rezbuild.plan.resolve import Recipes, same_series, series
from rezbuild.repository import installed as repository
from rezbuild.versions.upstream import Upstream


@dataclass(frozen=True)
class Finding:
    """An outdated package, bundled library or pin.

    Attributes:
        name, version: A package; if ``repository`` is "", its newest pin of a series.
        repository: The repository of the package; "" if upstream is newer than the catalogue.
        library: The outdated library that the package was built against; "": the package itself.
        has: The outdated version.
        newest: The newest version of the same series, in the catalogue or upstream.
    """

    name: str
    version: str
    repository: str
    library: str
    has: str
    newest: str

    def __str__(self) -> str:
        package = f"{self.name} {self.version}"
        if not self.repository:
            return f"{package} is the newest pin; upstream has {self.newest}"
        against = f"built against {self.library} {self.has}; " if self.library else ""
        return f"{package} in {self.repository}: {against}{self.newest} is pinned"


def installed(recipes: Recipes, names: Sequence[str], paths: Sequence[str]) -> Iterator[Finding]:
    """Yield the packages of ``paths`` that are older than the newest pin of their series.

    A package is not outdated if the repository also has the newest one of its series.
    """
    for name in names:
        recipe = recipes[name]
        # Such a recipe has the versions of another recipe, which is reported.
        if not any(release.source for release in recipe.releases.values()):
            for path in paths:
                yield from _in_repository(recipes, recipe, path)


def _in_repository(recipes: Recipes, recipe: Recipe, path: str) -> Iterator[Finding]:
    there = sorted({version for version, _ in repository.versions(recipe.name, [path])})
    for version in there:
        newest = _newest(recipe, version)
        if newest and newest not in there:
            yield Finding(recipe.name, version, path, "", version, newest)
        found = repository.installed(recipe.name, version, [path])
        against = found.record.get("built_against") if found else None
        for library, has in sorted(against.items()) if isinstance(against, dict) else ():
            newer = _newest(recipes[library], str(has)) if library in recipes else ""
            if newer:
                yield Finding(recipe.name, version, path, library, str(has), newer)


def _newest(recipe: Recipe, version: str) -> str:
    """Return the newest pin of the series if it is newer, else ""."""
    pinned = same_series(recipe, version)
    return pinned[0].version if pinned and Version(pinned[0].version) > Version(version) else ""


def upstream(
    recipes: Recipes, names: Sequence[str], asked: Upstream, fail: Callable[[FetchError], object]
) -> Iterator[Finding]:
    """Yield the series with a newer version upstream; pass failed requests to ``fail``."""
    for name in names:
        newest: dict[str, Release] = {}
        for release in recipes[name].releases.values():
            if release.source:
                continue
            other = newest.setdefault(series(release.version), release)
            if Version(release.version) > Version(other.version):
                newest[series(release.version)] = release
        for pin in newest.values():
            try:
                there = asked.newest(recipes[name], pin)
            except FetchError as error:
                fail(error)
                continue
            if Version(there) > Version(pin.version):
                yield Finding(name, pin.version, "", "", pin.version, there)
