"""The page ``docs/reference/support-matrix.md``, generated from the records in the catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rezbuild.catalogue.model import Recipe, Release
from rezbuild.catalogue.test_records import SUITES
from rezbuild.plan import resolve

_HEAD = """\
# Support matrix

Which version was built and tested, when, and on which host. This page is generated from the
`tested` records in `packages/*/sources.toml` ([the catalogue](catalogue.md#records-of-tests)):

    rezbuild versions --markdown > docs/reference/support-matrix.md

Every version with a record was built, moved, and passed the audit, on x86-64. Builds on AArch64
are prepared and were never run: tests read, relocate, audit and run files of that machine that a
cross-compiler makes. macOS is prepared, never run: tests relocate and audit files that a
cross-compiler links for arm64 and x86-64, and no recipe has steps for it. The suites:

| suite | what passed |
| --- | --- |
"""
_NEVER = """
## Versions that were never built

Their sources are pinned by checksum, and they use the recipe of their neighbours. A build of one
of them prints a notice.

| package | versions |
| --- | --- |
"""


def page(recipes: Iterable[Recipe]) -> str:
    """Return the whole page."""
    known = sorted(recipes, key=lambda recipe: (recipe.name != "python", recipe.name))
    lines = [f"| {name} | {meaning} |" for name, meaning in SUITES.items()]
    lines += ["", "| package | version | host | compiler | profile | suites | on |"]
    lines += ["| --- | --- | --- | --- | --- | --- | --- |"]
    for recipe in known:
        for release in resolve.versions_in(recipe, recipe.name):
            lines += _rows(recipe, release)
    never = [(recipe.name, _untested(recipe)) for recipe in known]
    missing = [f"| {name} | {', '.join(versions)} |" for name, versions in never if versions]
    return _HEAD + "\n".join(lines) + "\n" + (_NEVER + "\n".join(missing) + "\n") * bool(missing)


def _rows(recipe: Recipe, release: Release) -> Iterator[str]:
    version = f"**{release.version}**" if release.version == recipe.default else release.version
    for record in reversed(release.tested):
        profile = ", ".join(record.profile)
        cells = (recipe.name, version, record.host, record.compiler, profile)
        yield f"| {' | '.join((*cells, ', '.join(record.suites), record.on))} |".replace("  ", " ")


def _untested(recipe: Recipe) -> list[str]:
    # Packages that are made of another package's sources are built on request only.
    found = [r for r in resolve.versions_in(recipe, recipe.name) if not r.tested and not r.source]
    return [release.version for release in found]
