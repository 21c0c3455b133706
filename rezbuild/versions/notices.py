"""Notices about the chosen versions: outdated ones, and ones that were never built."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rez.version import Version

from rezbuild.catalogue.model import Recipe, Release
from rezbuild.plan import resolve
from rezbuild.plan.resolve import Step


def for_steps(steps: Iterable[Step]) -> Iterator[str]:
    """Return a line for each version that is behind, and one for all that were never built.

    A recipe without any record of tests does not use records: its versions are not listed.
    """
    unique = {step.key: step for step in steps}
    for step in unique.values():
        yield from behind(step.recipe, step.release, step.preferred, requested=step.requested)
    never = [
        " ".join(key)
        for key, step in unique.items()
        if not step.release.tested and any(r.tested for r in step.recipe.releases.values())
    ]
    if never:
        page = "docs/reference/support-matrix.md"
        yield f"notice: never built by this project ({page}): {', '.join(never)}"


def behind(
    recipe: Recipe, release: Release, preferred: str = "", *, requested: bool = True
) -> Iterator[str]:
    """Return the line of a version that is behind, if it is.

    Args:
        recipe: The recipe.
        release: The chosen version.
        preferred: The version that was not available, or "".
        requested: The user named the package: compare with the newest of the series, too.
    """
    names = [preferred or release.version]
    names += [r.version for r in resolve.same_series(recipe, release.version)[:1] if requested]
    newest = recipe.releases[max(names, key=Version)]
    # The package has another package's versions: the line of that package says it.
    if release.source or Version(newest.version) <= Version(release.version):
        return
    line = f"{recipe.name} {release.version} is {distance(release.version, newest.version)}"
    if preferred == newest.version:
        url = newest.archives[0].urls[0]
        line += f", which cannot be fetched here (put {url} into a folder of REZBUILD_MIRRORS)"
    yield line


def distance(version: str, newest: str) -> str:
    """Return how far a version is behind, e.g. ``15 releases behind 3.11.17``.

    Where more than the last number differs, the number of releases is not known.
    """
    old, new = version.split("."), newest.split(".")
    if old[:-1] == new[:-1] and old[-1].isdecimal() and new[-1].isdecimal():
        count = int(new[-1]) - int(old[-1])
        return f"{count} release{'s' * (count != 1)} behind {newest}"
    return f"behind {newest}"
