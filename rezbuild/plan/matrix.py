"""``--matrix FILE``: sets of requests, each for profiles, kinds of host and a repository.

repository = "/mnt/packages/{host}/{profile}"   # a key up here is that of each set without one
[sets.cy2026]
requests = ["vfxplatform-2026"]   # as on the command line
profiles = ["fast", "optimized"]  # default: REZBUILD_PROFILE, or what the kind of build says
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
from rezbuild.util import toml

_KEYS = {"requests", "profiles", "hosts", "repository"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_ADVICE = "docs/how-to/plan.md describes the file"


@dataclass(frozen=True)
class RequestSet:
    """What is wanted of one target.

    Attributes:
        requests: As on the command line.
        name: Of the set that wants it, or "".
        where: The file and the key that it is in, or "".
    """

    target: Target
    requests: tuple[str, ...]
    name: str = ""
    where: str = ""


@dataclass(frozen=True)
class Plan:
    """What is to be done in all targets.

    Attributes:
        steps: In an order in which what is needed comes first.
        years: The packages of requests to install in each target.
        asked: Name and version of what each request_set asked for, with its target.
    """

    steps: list[Step]
    years: dict[Target, list[Platform]]
    asked: list[tuple[Target, list[tuple[str, str]]]]


def load(path: Path, settings: Settings, *, release: bool) -> list[RequestSet]:
    """The request_sets that a file names.

    Raises:
        CatalogueError: It is wrong; the message names file, key and reason.
    """
    try:
        data = toml.loads(path.read_text(encoding="utf-8"))
    except toml.UNREADABLE as error:
        raise CatalogueError(f"{path} cannot be read: {error}", advice=[_ADVICE]) from None
    shared = {key: value for key, value in data.items() if key != "sets"}
    sets = data.get("sets")
    if not isinstance(sets, dict) or not sets:
        raise _wrong(path, "sets", "one table at least, as in [sets.cy2026]")
    for key in shared:
        if key not in _KEYS - {"requests"}:
            raise _wrong(path, key, "is unknown, or belongs into a set")
    default = build_profile(settings.profile, release=release)
    found = []
    for name, own in sets.items():
        key = f"sets.{name}"
        if not _NAME.fullmatch(name) or not isinstance(own, dict):
            raise _wrong(path, key, "a table with a name of letters, digits and . _ - is expected")
        found += _request_sets(_Set(path, name, {**shared, **own}), default, settings.host)
    return _named(found)


def only(request_sets: Sequence[RequestSet], hosts: Sequence[str]) -> list[RequestSet]:
    """Those for some kinds of host; for all of them where none is named.

    Raises:
        UsageError: There are none for one of them.
    """
    there = list(dict.fromkeys(request_set.target.host for request_set in request_sets))
    for host in hosts:
        if host not in there:
            raise UsageError(f"--host {host}: no set is for it", advice=[f"hosts: {_list(there)}"])
    return [found for found in request_sets if not hosts or found.target.host in hosts]


def plan(
    request_sets: Sequence[RequestSet],
    recipes: Recipes,
    known: Mapping[str, list[Platform]],
    available: Callable[[Target], Available],
    place: Callable[[Target], Path],
) -> Plan:
    """What to build for all request_sets.

    Args:
        request_sets: One at least.
        recipes: All that there are.
        known: The packages of requests that there are.
        available: What says of a target which versions can be had.
        place: The repository of a target.

    Raises:
        UsageError: A request cannot be read.
        CatalogueError: There is no such package or version; or two request sets
            want the same variant in one repository, made from different inputs.
        FetchError: None of the versions can be had.
    """
    found = Plan([], {}, [])
    merged: dict[Job, Step] = {}
    claims: dict[tuple[str, ...], tuple[RequestSet, Step]] = {}
    for request_set in request_sets:
        target = request_set.target
        with _told(request_set):
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
def _told(request_set: RequestSet) -> Iterator[None]:
    """What is wrong with a request of a file is said of the file."""
    try:
        yield
    except (UsageError, CatalogueError) as error:
        if not request_set.where:
            raise
        raise CatalogueError(
            f"{request_set.where}.requests: {error.message}", tried=error.tried, advice=error.advice
        ) from None


def _compare(first: RequestSet, one: Step, second: RequestSet, other: Step, place: Path) -> None:
    """Sees that two request_sets mean the same build of a package for one repository.

    Raises:
        CatalogueError: They do not.
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
                "a repository holds a package once: give each its own, by {host} or {profile} in "
                "'repository'; " + _ADVICE
            ],
        )


@dataclass(frozen=True)
class _Set:
    """A table of the file, with what stands above it for all."""

    path: Path
    name: str
    data: Mapping[str, Any]

    def strings(self, key: str, default: Sequence[str], fits: Callable[[str], object]) -> list[str]:
        value = self.data.get(key, list(default))
        good = isinstance(value, list) and all(isinstance(v, str) and fits(v) for v in value)
        if not good or not value:
            raise self.wrong(key, "a list of strings is expected, one at least, that make sense")
        return list(dict.fromkeys(value))

    def wrong(self, key: str, reason: str) -> CatalogueError:
        return _wrong(self.path, f"sets.{self.name}.{key}", reason)


def _request_sets(table: _Set, profile: str, host: str) -> list[RequestSet]:
    for key in table.data:
        if key not in _KEYS:
            raise table.wrong(key, f"is unknown; there are {_list(sorted(_KEYS))}")
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
    reason = "a folder is expected, whose name may hold {host} and {profile}, and no other {} or :"
    if not isinstance(text, str) or not text.strip():
        raise table.wrong("repository", reason)
    text = text.replace("{host}", host).replace("{profile}", profile)
    if re.search(r"[{}:\0-\x1f\x7f]", text):  # to Rez, a : is between two folders
        raise table.wrong("repository", reason)
    try:
        return str(table.path.absolute().parent / Path(text).expanduser())
    except RuntimeError:  # of no user's
        raise table.wrong("repository", reason) from None


def _named(request_sets: Sequence[RequestSet]) -> list[RequestSet]:
    """The request_sets, whose targets have names that tell them apart and say no more."""
    first = {request_set.target: request_set for request_set in reversed(request_sets)}
    hosts = {target.host for target in first}
    profiles = {target.profile for target in first}
    # Of one host and profile there may be several repositories.
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
