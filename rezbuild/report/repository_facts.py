"""The installed packages of all repositories, with what is outdated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rezbuild.plan.resolve import Recipes
from rezbuild.repository import installed


@dataclass(frozen=True)
class Package:
    """An installed package.

    Attributes:
        record: The record of its build; {} if rezbuild did not build it.
        outdated: What the catalogue has newer pins of, e.g. ``built against zlib 1.3.1; 1.3.2 is
            pinned``.
    """

    name: str
    version: str
    record: Mapping[str, Any]
    outdated: tuple[str, ...]


def gather(recipes: Recipes, paths: Sequence[str]) -> dict[str, list[Package]]:
    """Return the packages of each repository that has some."""
    found = {path: list(_packages(recipes, path)) for path in dict.fromkeys(paths)}
    return {path: packages for path, packages in found.items() if packages}


def _packages(recipes: Recipes, path: str) -> Iterator[Package]:
    from rezbuild.versions import outdated

    findings: dict[tuple[str, str], list[str]] = {}
    for one in outdated.installed(recipes, list(recipes), [path]):
        text = str(one).removeprefix(f"{one.name} {one.version} in {path}: ")
        findings.setdefault((one.name, one.version), []).append(text)
    for name in sorted(recipes):
        for version, _ in installed.versions(name, [path]):
            package = installed.installed(name, version, [path])
            if package is not None:
                old = tuple(findings.get((name, version), ()))
                yield Package(name, version, package.record, old)
