"""Installed packages that are outdated, or that contain outdated libraries and Python packages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rez.version import Version

from rezbuild.catalogue.model import Recipe, Release
from rezbuild.errors import FetchError
from rezbuild.payload import sbom
from rezbuild.plan.resolve import Recipes, same_series, series
from rezbuild.repository import installed as repository
from rezbuild.repository.installed import Installed
from rezbuild.versions.upstream import Upstream

# The package whose version says which Python packages fit.
PYTHON = "python"


@dataclass(frozen=True)
class Finding:
    """An outdated package, bundled library or pin.

    Attributes:
        name, version: A package; if ``repository`` is "", its newest pin of a series.
        repository: The repository of the package; "" if upstream is newer than the catalogue.
        library: The outdated library or Python package; "": the package itself.
        has: The outdated version.
        newest: The newest version of the same series, in the catalogue or upstream.
        inside: The library came with the source of the package, e.g. pip with CPython's; otherwise
            the package was built against it.
        upstream: The newest version is known from upstream; otherwise it is in the catalogue.
    """

    name: str
    version: str
    repository: str
    library: str
    has: str
    newest: str
    inside: bool = False
    upstream: bool = False

    @property
    def has_update(self) -> bool:
        """Whether a new pin or a new build updates it: pip in CPython's source has no pin."""
        return not (self.inside and self.upstream)

    def __str__(self) -> str:
        package = f"{self.name} {self.version}"
        if not self.repository:
            return f"{package} is the newest pin; upstream has {self.newest}"
        how = "its source contains" if self.inside else "built against"
        library = f"{how} {self.library} {self.has}; " if self.library else ""
        known = f"upstream has {self.newest}" if self.upstream else f"{self.newest} is pinned"
        return f"{package} in {self.repository}: {library}{known}"


def installed(recipes: Recipes, names: Sequence[str], paths: Sequence[str]) -> Iterator[Finding]:
    """Yield the packages of ``paths`` that are older than the newest pin of their series.

    A package is not outdated if the repository also has the newest one of its series.
    """
    for recipe, path in _places(recipes, names, paths):
        there = _versions(recipe, path)
        for version in there:
            newest = _newest(recipe, version)
            if newest and newest not in there:
                yield Finding(recipe.name, version, path, "", version, newest)
            found = repository.installed(recipe.name, version, [path])
            if found:
                yield from _libraries(recipes, recipe.name, version, path, found)


def python_packages(
    recipes: Recipes,
    names: Sequence[str],
    paths: Sequence[str],
    newest: Callable[[str, str], str],
    fail: Callable[[FetchError], object],
) -> Iterator[Finding]:
    """Yield the outdated Python packages that came with a source, e.g. pip with CPython's.

    Args:
        recipes: All recipes.
        names: The packages that may contain some.
        paths: The repositories.
        newest: Returns the newest version of a Python package for a series of Python.
        fail: Gets the errors of ``newest``.
    """
    for recipe, path in _places(recipes, names, paths):
        for version in _versions(recipe, path):
            found = repository.installed(recipe.name, version, [path])
            python = series(version) if PYTHON in {recipe.name, recipe.recipe_of} else ""
            for kind, name, has in _inside(found) if found else ():
                try:
                    there = newest(name, python) if kind == "pypi" else has
                except FetchError as error:
                    fail(error)
                    continue
                if Version(there) > Version(has):
                    place = (recipe.name, version, path)
                    yield Finding(*place, name, has, there, inside=True, upstream=True)


def _places(
    recipes: Recipes, names: Sequence[str], paths: Sequence[str]
) -> Iterator[tuple[Recipe, str]]:
    """Yield recipes and repositories, without the debug data and the tests of another package.

    Their versions and contents are those of the other package, which is reported.
    """
    for recipe in (recipes[name] for name in names):
        borrowed = any(release.source for release in recipe.releases.values())
        if not borrowed or recipe.recipe_of:
            yield from ((recipe, path) for path in paths)


def _versions(recipe: Recipe, path: str) -> list[str]:
    return sorted({version for version, _ in repository.versions(recipe.name, [path])})


def _libraries(
    recipes: Recipes, name: str, version: str, path: str, found: Installed
) -> Iterator[Finding]:
    """Yield the outdated libraries of a payload for which there are recipes."""
    inside = [part[1:] for part in _inside(found) if part[0] == "generic"]
    for parts, own in ((_against(found).items(), False), (inside, True)):
        for library, has in sorted(parts):
            newer = _newest(recipes[library], has) if library in recipes else ""
            if newer:
                yield Finding(name, version, path, library, has, newer, inside=own)


def _against(found: Installed) -> dict[str, str]:
    against = found.record.get("built_against")
    return against if isinstance(against, dict) else {}


def _inside(found: Installed) -> list[tuple[str, str, str]]:
    """Return the parts of a payload's source, from its bill of materials: kind, name, version."""
    return [part for part in sbom.parts(found.root) if part[1] not in _against(found)]


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
                yield Finding(name, pin.version, "", "", pin.version, there, upstream=True)
