"""What is installed and older than the catalogue, and what was built against something older."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rez.version import Version

from rezbuild.catalogue.sources_toml import Recipe, Release
from rezbuild.errors import FetchError
from rezbuild.plan.resolve import Recipes, same_series, series
from rezbuild.repository import installed as repository
from rezbuild.versions.upstream import Upstream


@dataclass(frozen=True)
class Finding:
    """Something newer than what is in use.

    Attributes:
        name, version: A package; its newest pin of a series where ``repository`` is empty.
        repository: Where it is installed; empty where upstream is newer than the catalogue.
        library: What the package was built against, which is old; empty: the package itself is.
        has: The old version.
        newest: The newest one of the same series, in the catalogue or upstream.
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
    """What is older than the newest pin of its series, in all repositories of ``paths``.

    A package beside a newer one of its series is no finding: that one has arrived.
    """
    for name in names:
        recipe = recipes[name]
        # They have another one's versions, and go with it.
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
    """The newest pin of the series, where it is newer; else an empty text."""
    pinned = same_series(recipe, version)
    return pinned[0].version if pinned and Version(pinned[0].version) > Version(version) else ""


def upstream(
    recipes: Recipes, names: Sequence[str], asked: Upstream, fail: Callable[[FetchError], object]
) -> Iterator[Finding]:
    """Series of the catalogue that upstream has a newer version of; ``fail`` takes the others."""
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
