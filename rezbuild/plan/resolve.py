"""Resolve requests to an ordered list of builds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path

from rez.version import Requirement, Version, VersionError, VersionRange

from rezbuild.catalogue import model, sources_toml
from rezbuild.catalogue.model import Recipe, Release
from rezbuild.errors import CatalogueError, FetchError, UsageError
from rezbuild.util import words

Recipes = Mapping[str, Recipe]
# Tells whether a version can be built here: its source can be fetched, or it is installed. It may
# raise a FetchError that says why a source cannot be fetched.
Available = Callable[[Recipe, Release], bool]


# The key of a build among all targets: host, repository, name, version.
Job = tuple[str, str, str, str]


@dataclass(frozen=True)
class Target:
    """A host kind, a build profile and a repository; its packages are built against each other.

    Attributes:
        host: The label of the host kind, e.g. ``debian12``; "": this machine's.
        profile: ``fast`` or ``optimized``; "": the settings and the build type decide.
        repository: The folder of the packages; "": Rez's configured one.
        name: The name for the user if there are several targets.
    """

    host: str = ""
    profile: str = ""
    repository: str = ""
    name: str = field(default="", compare=False)


# The target of a run without a matrix.
DEFAULT_TARGET = Target()


@dataclass(frozen=True)
class Step:
    """One build of a plan.

    Attributes:
        built_against: The exact version of each dependency, by name.
        requested: The user requested the package.
        target: The target that the step belongs to.
        preferred: The version that would be chosen if every source could be fetched.
        missing: Why the source of the preferred version cannot be fetched; "" if it was chosen.
    """

    recipe: Recipe
    release: Release
    built_against: Mapping[str, str]
    requested: bool
    target: Target = DEFAULT_TARGET
    preferred: str = ""
    missing: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """Name and version, unique in its target."""
        return (self.release.name, self.release.version)

    @property
    def package(self) -> str:
        """Name and version as Rez writes them, e.g. ``zlib-1.3.1``."""
        return "-".join(self.key)

    @cached_property
    def job(self) -> Job:
        """The key of the step, unique in the plan.

        It has no profile, because a repository has each variant once, in one profile.
        """
        return (self.target.host, self.target.repository, *self.key)

    @property
    def needs(self) -> list[Job]:
        """The keys of the steps that must be done before it."""
        place = (self.target.host, self.target.repository)
        return [(*place, *needed) for needed in self.built_against.items()]

    def __str__(self) -> str:
        return f"{self.package}@{self.target.name}" if self.target.name else self.package


def recipes(folder: Path) -> Recipes:
    """Return all recipes in a folder, by name.

    Raises:
        CatalogueError: A recipe is invalid, or the folder has none.
    """
    found = [sources_toml.load(path.parent) for path in sorted(folder.glob(f"*/{model.FILE_NAME}"))]
    if not found:
        raise CatalogueError(
            f"{folder} contains no recipes",
            advice=[
                "run the command in a clone of the project, or name its packages folder: --recipes"
            ],
        )
    return {recipe.name: recipe for recipe in found}


def plan(
    recipes: Recipes, requests: Sequence[str], available: Available, target: Target = DEFAULT_TARGET
) -> list[Step]:
    """Return the builds, in order, for Rez requests such as ``python-3.11``.

    A range means its newest available version. A bare name and dependencies mean the default, or
    else the newest available version of the default's series.

    Raises:
        UsageError: A request is invalid.
        CatalogueError: A package or version does not exist.
        FetchError: None of the versions is available.
    """
    planner = _Planner(recipes, available, target)
    wanted = [planner.choose(request, exact=_is_range(request)) for request in requests]
    for recipe, release in wanted:
        planner.pins.setdefault(recipe.name, []).append(release.version)
    for recipe, release in wanted:
        planner.add(recipe, release, requested=True)
    return list(planner.steps.values())


def versions_in(recipe: Recipe, request: str) -> list[Release]:
    """Return the versions of a recipe that a request allows, newest first."""
    allowed = requirement(request).range or VersionRange()
    found = [r for r in recipe.releases.values() if allowed.contains_version(_version(r.version))]
    return sorted(found, key=lambda release: _version(release.version), reverse=True)


def series(version: str, *, rolling: bool = False) -> str:
    """Return the series of a version: 3.11 of 3.11.2, 3.5 of 3.5.6, 8 of 8.2.

    Args:
        version: e.g. ``3.11.2``.
        rolling: Upstream maintains only the newest release of a major version: 3 of 3.53.4.
    """
    parts = Version(version)
    return str(parts.trim(1 if rolling else max(1, len(parts) - 1)))


def same_series(recipe: Recipe, version: str) -> list[Release]:
    """Return the versions of the series of ``version``, newest first.

    A rolling series ends with the default: newer versions count once they are the default.
    """
    wanted, rolling = series(version, rolling=recipe.rolling), recipe.rolling
    last = max(_version(version), _version(recipe.default))
    return [
        release
        for release in versions_in(recipe, recipe.name)
        if series(release.version, rolling=rolling) == wanted
        and not (rolling and _version(release.version) > last)
    ]


class _Planner:
    def __init__(self, recipes: Recipes, available: Available, target: Target) -> None:
        self.recipes = recipes
        self.available = available
        self.target = target
        self.pins: dict[str, list[str]] = {}
        self.steps: dict[tuple[str, str], Step] = {}
        # Many packages have the same dependencies: check each version and read each request once.
        self.checked: dict[tuple[str, str], bool] = {}
        self.chosen: dict[str, tuple[Recipe, Release]] = {}
        # The preferred version, and why it is missing, by name and chosen version.
        self.fallbacks: dict[tuple[str, str], tuple[str, str]] = {}
        self.errors: dict[tuple[str, str], FetchError] = {}

    def add(
        self, recipe: Recipe, release: Release, *, requested: bool, path: tuple[str, ...] = ()
    ) -> None:
        step = self.steps.get((recipe.name, release.version))
        if step is None:
            against = self._needs(recipe, release, path)
            fallback = self.fallbacks.get((recipe.name, release.version), (release.version, ""))
            step = Step(recipe, release, against, requested, self.target, *fallback)
        elif requested:
            step = replace(step, requested=True)
        self.steps[step.key] = step

    def _needs(self, recipe: Recipe, release: Release, path: tuple[str, ...]) -> dict[str, str]:
        """Add the dependencies of a version, and return their versions."""
        if recipe.name in path:
            raise CatalogueError(
                f"packages depend on each other: {' → '.join((*path, recipe.name))}"
            )
        against = {}
        for request in release.requires:
            try:
                needed, version = self._need(request)
            except UsageError as error:  # the request is in the catalogue, not in the command
                raise CatalogueError(
                    f"{recipe.folder / model.FILE_NAME}: requires of {release.version}: "
                    f"{error.message}",
                    advice=["see docs/reference/catalogue.md"],
                ) from None
            self.add(needed, version, requested=False, path=(*path, recipe.name))
            against[needed.name] = version.version
        return against

    def _need(self, request: str) -> tuple[Recipe, Release]:
        if request not in self.chosen:
            self.chosen[request] = self.choose(request, exact=False)
        return self.chosen[request]

    def choose(self, request: str, *, exact: bool) -> tuple[Recipe, Release]:
        """Return the version for a request; ``exact``: prefer the newest to the default."""
        recipe = self._recipe(requirement(request).name)
        candidates = versions_in(recipe, request)
        if not candidates:
            raise CatalogueError(
                f"no version of {recipe.name} matches {request!r}",
                advice=[f"choose a version: {', '.join(recipe.releases)}", "run rezbuild versions"],
            )
        if not exact:
            order = [*self.pins.get(recipe.name, []), recipe.default]
            order += [release.version for release in same_series(recipe, recipe.default)]
            last = len(order)
            candidates.sort(key=lambda r: order.index(r.version) if r.version in order else last)
        for release in candidates:
            if self._is_available(recipe, release):
                if release is not (first := candidates[0]):
                    missing = self._reason(first) or "its source cannot be fetched here"
                    self.fallbacks[release.name, release.version] = (first.version, missing)
                return recipe, release
        raise FetchError(
            f"no version of {recipe.name} in {request!r} can be fetched here",
            tried=[self._line(release) for release in candidates],
            advice=_advice(candidates[0]),
        )

    def _is_available(self, recipe: Recipe, release: Release) -> bool:
        key = (recipe.name, release.version)
        if key not in self.checked:
            try:
                self.checked[key] = self.available(recipe, release)
            except FetchError as error:
                self.checked[key], self.errors[key] = False, error
        return self.checked[key]

    def _line(self, release: Release) -> str:
        """Return a version, and why its source cannot be fetched."""
        reason = self._reason(release)
        return f"{release.version}: {reason}" if reason else release.version

    def _reason(self, release: Release) -> str:
        error = self.errors.get((release.name, release.version))
        tried = error.tried if error else ()
        return "; ".join(line for line in tried if not line.startswith("cache: no "))

    def _recipe(self, name: str) -> Recipe:
        try:
            return self.recipes[name]
        except KeyError:
            raise CatalogueError(
                f"no recipe for {name}", advice=[f"choose a recipe: {', '.join(self.recipes)}"]
            ) from None


def _advice(release: Release) -> list[str]:
    """Return advice if no version can be fetched, for the preferred one."""
    archive = release.archives[0]
    where = f" from {archive.urls[0]}" if archive.urls else ""
    return [
        f"put {archive.file}{where} into a folder, and set REZBUILD_MIRRORS to the folder",
        "or fill a folder on a machine with a network: rezbuild fetch --to DIR",
        f"run rezbuild versions {release.name} for the versions and their sources",
    ]


# All targets of a plan parse the same versions, and Rez is slow.
_version = lru_cache(maxsize=100_000)(Version)


@lru_cache(maxsize=100_000)
def requirement(request: str) -> Requirement:
    """Parse a Rez request.

    Raises:
        UsageError: The request is invalid, or requests no package.
    """
    try:
        requirement = Requirement(request.strip())
    except (VersionError, ValueError) as error:  # int() refuses numbers of 5000 digits
        raise UsageError(
            f"{request[:80]!r} is not a Rez request: {words.reason(error)[:200]}",
            advice=["write a request such as python-3.11"],
        ) from None
    if not requirement.name:
        raise UsageError("empty request", advice=["write a request such as python-3.11"])
    if requirement.conflict or requirement.weak:
        raise UsageError(
            f"{request!r} excludes a package; it requests none",
            advice=["write a request such as python-3.11"],
        )
    return requirement


def _is_range(request: str) -> bool:
    allowed = requirement(request).range
    return allowed is not None and not allowed.is_any()
