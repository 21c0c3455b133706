"""Which steps of a plan may be built now, and which of them first."""

from __future__ import annotations

from collections.abc import Sequence

from rezbuild.graph import Step

# Bytes, where the catalogue does not know an archive's size.
_SMALL = 1_000_000


class Schedule:
    """The steps that are still to be built, and what each of them waits for.

    Args:
        steps: In an order in which what is needed comes first.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        ahead = _work_ahead(steps)
        planned = {step.key for step in steps}
        self._steps = steps
        self._left = {s.key: s for s in sorted(steps, key=lambda s: -ahead[s.key])}
        self._missing = {s.key: planned.intersection(s.built_against.items()) for s in steps}

    def __len__(self) -> int:
        """How many steps are left."""
        return len(self._left)

    def ready(self) -> list[Step]:
        """The steps whose needs are built, and are not done yet: first what most waits for."""
        return [step for key, step in self._left.items() if not self._missing[key]]

    def done(self, step: Step) -> None:
        """Notes that a step is built."""
        del self._left[step.key]
        for missing in self._missing.values():
            missing.discard(step.key)

    def failed(self, step: Step) -> list[Step]:
        """Notes that a step failed; gives up all that needs it, and returns that."""
        del self._left[step.key]
        lost, skipped = {step.key}, []
        for other in self._steps:
            if other.key in self._left and lost.intersection(other.built_against.items()):
                lost.add(other.key)
                skipped.append(self._left.pop(other.key))
        return skipped


def _work_ahead(steps: Sequence[Step]) -> dict[tuple[str, str], int]:
    """The most work that lies between the begin of each step and the end of all, in bytes.

    A source's size is a rough measure of how long its build takes, and known before any build.
    """
    ahead: dict[tuple[str, str], int] = {}
    after: dict[tuple[str, str], int] = {}
    for step in reversed(steps):
        size = step.release.archives[0].size or _SMALL
        ahead[step.key] = size + after.get(step.key, 0)
        for needed in step.built_against.items():
            after[needed] = max(after.get(needed, 0), ahead[step.key])
    return ahead
