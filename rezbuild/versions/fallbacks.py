"""Versions that were chosen because the source of a newer or default version is missing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rezbuild.errors import FetchError
from rezbuild.plan.resolve import Step
from rezbuild.reporter import Reporter
from rezbuild.util import words


def lines(steps: Iterable[Step]) -> Iterator[str]:
    """Yield a line for each fallback: ``python 3.11.17 was wanted, 3.11.2 taken``."""
    for step in _fallbacks(steps):
        name, version = step.key
        yield f"{name} {step.preferred} was wanted, {version} taken"


def report(steps: Iterable[Step], reporter: Reporter) -> None:
    """Print the lines, also with ``--quiet``."""
    for line in lines(steps):
        reporter.notice(line)


def refuse(steps: Iterable[Step]) -> None:
    """Refuse all fallbacks, for ``--strict``.

    Raises:
        FetchError: There is a fallback.
    """
    found = _fallbacks(steps)
    if not found:
        return
    names = " ".join(f"{step.release.name}-{step.preferred}" for step in found)
    count = words.count(len(found), "wanted version")
    raise FetchError(
        f"{count} cannot be fetched here, and --strict allows no other version",
        tried=[f"{step.release.name} {step.preferred}: {step.missing}" for step in found],
        advice=[
            f"fill a folder on a machine with a network: rezbuild fetch {names} --to DIR",
            "set REZBUILD_MIRRORS to that folder",
            f"or leave out --strict to take {', '.join(' '.join(step.key) for step in found)}",
        ],
    )


def _fallbacks(steps: Iterable[Step]) -> list[Step]:
    # Several targets may need the same version.
    unique = {step.key: step for step in steps if step.missing}
    return list(unique.values())
