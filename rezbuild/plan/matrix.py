"""``--matrix FILE``: sets of requests, each for profiles, host kinds and a repository.

repository = "/mnt/packages/{host}/{profile}"   # a key here is valid for each set without it
[sets.cy2026]
requests = ["vfxplatform-2026"]   # as on the command line
profiles = ["fast", "optimized"]  # default: REZBUILD_PROFILE, or the build type decides
hosts = ["debian12", "rocky8"]    # default: this machine's
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rezbuild.catalogue import platform_years
from rezbuild.catalogue.platform_years import Platform
from rezbuild.errors import CatalogueError, UsageError
from rezbuild.plan import resolve
from rezbuild.plan.resolve import Available, Job, Recipes, Step, Target
from rezbuild.settings import LABEL, PROFILES, Settings, build_profile
from rezbuild.util import toml, words

_KEYS = {"requests", "profiles", "hosts", "repository"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_ADVICE = "see docs/how-to/plan.md"


@dataclass(frozen=True)
class RequestSet:
    """The requests for one target.

    Attributes:
        requests: As on the command line.
        name: The name of the set, or "".
        where: The file and the key of the set, or "".
    """

    target: Target
    requests: tuple[str, ...]
    name: str = ""
    where: str = ""


@dataclass(frozen=True)
class Plan:
    """The steps of all targets.

    Attributes:
        steps: In an order with dependencies first.
        years: The platform years to install in each target.
        asked: Name and version of the requested packages of each request set, with its target.
    """

    steps: list[Step]
    years: dict[Target, list[Platform]]
    asked: list[tuple[Target, list[tuple[str, str]]]]


def load(path: Path, settings: Settings, *, release: bool) -> list[RequestSet]:
    """Read the request sets of a matrix file.

    Raises:
        CatalogueError: The file is invalid; the message names file, key and reason.
    """
    try:
        data = toml.loads(path.read_text(encoding="utf-8"))
    except toml.UNREADABLE as error:
        raise CatalogueError(
            f"{path} cannot be read: {words.reason(error)}", advice=[_ADVICE]
        ) from None
    shared = {key: value for key, value in data.items() if key != "sets"}
    sets = data.get("sets")
    if not isinstance(sets, dict) or not sets:
        raise _wrong(path, "sets", "at least one table is expected, e.g. [sets.cy2026]")
    for key in shared:
        if key not in _KEYS - {"requests"}:
            raise _wrong(path, key, "the key is unknown, or must be in a set")
    default = build_profile(settings.profile, release=release)
    found = []
    for name, own in sets.items():
        key = f"sets.{name}"
        if not _NAME.fullmatch(name) or not isinstance(own, dict):
            raise _wrong(path, key, "a table is expected, with a name of letters, digits and . _ -")
        found += _request_sets(_Set(path, name, {**shared, **own}), default, settings.host)
    return _named(found)


def only(request_sets: Sequence[RequestSet], hosts: Sequence[str]) -> list[RequestSet]:
    """Return the request sets for some host kinds; for all if ``hosts`` is empty.

    Raises:
        UsageError: A host kind has no request set.
    """
    there = list(dict.fromkeys(request_set.target.host for request_set in request_sets))
    for host in hosts:
        if host not in there:
            raise UsageError(
                f"no set is for --host {host}", advice=[f"choose a host: {_list(there)}"]
            )
    return [found for found in request_sets if not hosts or found.target.host in hosts]


def plan(
    request_sets: Sequence[RequestSet],
    recipes: Recipes,
    known: Mapping[str, list[Platform]],
    available: Callable[[Target], Available],
    place: Callable[[Target], Path],
) -> Plan:
    """Return the steps of all request sets.

    Args:
        request_sets: At least one.
        recipes: All recipes.
        known: All platform years.
        available: Returns a function that tells which versions are available in a target.
        place: Returns the repository of a target.

    Raises:
        UsageError: A request is invalid.
        CatalogueError: A package or version does not exist; or two request sets
            want the same variant in one repository, made from different inputs.
        FetchError: None of the versions is available.
    """
    found = Plan([], {}, [])
    merged: dict[Job, Step] = {}
    claims: dict[tuple[str, ...], tuple[RequestSet, Step]] = {}
    for request_set in request_sets:
        target = request_set.target
        with _naming_file(request_set):
            years, requests = platform_years.expand(known, request_set.requests)
            steps = resolve.plan(recipes, requests, available(target), target)
        for step in steps:
            claim = (os.path.realpath(place(target)), *step.key)
            _compare(
                *claims.setdefault(claim, (request_set, step)), request_set, step, place(target)
            )
            there = merged.setdefault(step.job, step)
            if step.requested and not there.requested:
                merged[step.job] = replace(there, requested=True)
        own = found.years.setdefault(target, [])
        own += [year for year in years if year not in own]
        asked = [(y.name, y.version) for y in years] + [s.key for s in steps if s.requested]
        found.asked.append((target, asked))
    return replace(found, steps=list(merged.values()))


@contextlib.contextmanager
def _naming_file(request_set: RequestSet) -> Iterator[None]:
    """Name the matrix file in errors about its requests."""
    try:
        yield
    except (UsageError, CatalogueError) as error:
        if not request_set.where:
            raise
        raise CatalogueError(
            f"{request_set.where}.requests: {error.message}", tried=error.tried, advice=error.advice
        ) from None


def _compare(first: RequestSet, one: Step, second: RequestSet, other: Step, place: Path) -> None:
    """Compare two builds of a package for one repository.

    Raises:
        CatalogueError: The two builds differ.
    """
    differences = []
    if one.target.host != other.target.host:
        differences.append(f"for {one.target.host} and for {other.target.host}")
    if one.recipe.profiled and one.target.profile != other.target.profile:
        differences.append(f"{one.target.profile} and {other.target.profile}")
    if one.built_against != other.built_against:
        mine, theirs = (set(step.built_against.items()) for step in (one, other))
        named = (_list("-".join(p) for p in sorted(s)) for s in (mine - theirs, theirs - mine))
        differences.append(f"against {' and against '.join(named)}")
    if differences:
        raise CatalogueError(
            f"{first.where} and sets.{second.name}: {one.package} would be built twice into "
            f"{place}: {'; '.join(differences)}",
            advice=[
                "put {host} or {profile} into 'repository', because a repository has each package "
                "once; " + _ADVICE
            ],
        )


@dataclass(frozen=True)
class _Set:
    """A table of the file, with the keys that are valid for all sets."""

    path: Path
    name: str
    data: Mapping[str, Any]

    def strings(self, key: str, default: Sequence[str], fits: Callable[[str], object]) -> list[str]:
        value = self.data.get(key, list(default))
        good = isinstance(value, list) and all(isinstance(v, str) and fits(v) for v in value)
        if not good or not value:
            raise self.wrong(key, "a list of valid strings is expected, at least one")
        return list(dict.fromkeys(value))

    def wrong(self, key: str, reason: str) -> CatalogueError:
        return _wrong(self.path, f"sets.{self.name}.{key}", reason)


def _request_sets(table: _Set, profile: str, host: str) -> list[RequestSet]:
    for key in table.data:
        if key not in _KEYS:
            raise table.wrong(key, f"the key is unknown; known keys: {_list(sorted(_KEYS))}")
    requests = tuple(table.strings("requests", [], str.strip))
    profiles = table.strings("profiles", [profile], PROFILES.__contains__)
    hosts = table.strings("hosts", [host], LABEL.fullmatch)
    where = f"{table.path}: sets.{table.name}"
    return [
        RequestSet(
            Target(host, profile, _repository(table, host, profile)), requests, table.name, where
        )
        for host in hosts
        for profile in profiles
    ]


def _repository(table: _Set, host: str, profile: str) -> str:
    if "repository" not in table.data:
        return ""
    text = table.data["repository"]
    reason = "a folder is expected, with {host} and {profile} as the only {} and without :"
    if not isinstance(text, str) or not text.strip():
        raise table.wrong("repository", reason)
    text = text.replace("{host}", host).replace("{profile}", profile)
    if re.search(r"[{}:\0-\x1f\x7f]", text):  # Rez separates folders by :
        raise table.wrong("repository", reason)
    try:
        return str(table.path.absolute().parent / Path(text).expanduser())
    except RuntimeError:  # ~ of an unknown user
        raise table.wrong("repository", reason) from None


def _named(request_sets: Sequence[RequestSet]) -> list[RequestSet]:
    """Give the targets short names that tell them apart."""
    first = {request_set.target: request_set for request_set in reversed(request_sets)}
    hosts = {target.host for target in first}
    profiles = {target.profile for target in first}
    # A host and profile may have several repositories.
    sets = len({(target.host, target.profile) for target in first}) < len(first)
    shown = [(sets, "name"), (len(hosts) > 1, "host"), (len(profiles) > 1, "profile")]
    named = {}
    for target, request_set in first.items():
        words = {"name": request_set.name, "host": target.host, "profile": target.profile}
        named[target] = replace(target, name=":".join(words[word] for show, word in shown if show))
    return [replace(request_set, target=named[request_set.target]) for request_set in request_sets]


def _list(words: Iterable[str]) -> str:
    return ", ".join(words)


def _wrong(path: Path, key: str, reason: str) -> CatalogueError:
    return CatalogueError(f"{path}: {key}: {reason}", advice=[_ADVICE])
