"""The workers of a farm that may have the jobs of a plan: of one kind of host, and as this one."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from rezbuild.errors import MachineError, UsageError
from rezbuild.farm import worker_facts
from rezbuild.farm.client import Farm, Say
from rezbuild.farm.worker_facts import Facts

# Seconds to wait for a first worker; between two looks.
_FIRST = 60.0
_PAUSE = 0.2
_SAME = "bring both to the same commit, and start the worker anew"


class Crew:
    """Those workers.

    Args:
        farm: The connection.
        recipes: The client's recipes folder, which the workers' are compared with.
        label: The kind of host that is built for; "": the only one, or of several the own.
        own: The label of this machine.
        say: Tells the user.

    Attributes:
        kind: A worker of that kind; what it says of its compiler and its glibc holds for all.

    Raises:
        MachineError: There is none.
        UsageError: There are several kinds, and none was named.
    """

    def __init__(self, farm: Farm, recipes: Path, label: str, own: str, say: Say) -> None:
        self.farm = farm
        self._say = say
        self._version = worker_facts.own_version()
        self._revisions = worker_facts.revisions(recipes)
        self._needed: frozenset[str] = frozenset()
        self._refused: set[str] = set()
        self.kind = self._find(label, own)

    def compare(self, needed: Iterable[str]) -> None:
        """Sees, before the first job, that they have the same rezbuild and recipes as this machine.

        Args:
            needed: The names of the recipes that count.

        Raises:
            UsageError: One has not.
        """
        self._needed = frozenset(needed)
        for worker in self.farm.workers().values():
            differences = self._differences(worker) if worker.host == self.kind.host else []
            if differences:
                raise UsageError(
                    f"the worker {worker.name} is not as this machine: {differences[0]}",
                    tried=differences[1:],
                    advice=[_SAME],
                )

    def suits(self, worker: Facts) -> bool:
        """Whether a worker may have jobs; one that came later may differ, which is told once."""
        if worker.host != self.kind.host:
            return False
        differences = self._differences(worker)
        if differences and worker.name not in self._refused:
            self._refused.add(worker.name)
            self._say(f"notice: {worker.name} gets no job: {differences[0]}; {_SAME}")
        return not differences

    def free(self) -> dict[str, int]:
        """The free cores of each, by address."""
        workers, free = self.farm.workers(), self.farm.free()
        return {a: free.get(a, 0) for a, worker in workers.items() if self.suits(worker)}

    def store(self) -> bool:
        """Whether all of them have a store."""
        return all(w.store for w in self.farm.workers().values() if self.suits(w))

    def _differences(self, worker: Facts) -> list[str]:
        return worker.differences(self._version, self._revisions, self._needed)

    def _find(self, label: str, own: str) -> Facts:
        began, told = time.monotonic(), False
        what = f"of the kind {label} " if label else ""
        while not (found := self._labelled(label)):
            if time.monotonic() - began > _FIRST:
                raise MachineError(
                    f"the farm has no worker {what}for this",
                    tried=[f"{f.name} is {_words(f)}" for f in self._labelled("")],
                    advice=[f"start one: rezbuild worker {self.farm.address}"],
                )
            if not told:
                told = True
                self._say(f"farm: {self.farm.address} has no worker {what}yet; waiting for one")
            time.sleep(_PAUSE)
        kinds = {facts.host: facts for facts in found}
        if len(kinds) > 1 and self._labelled(own):
            kinds = {facts.host: facts for facts in self._labelled(own)}
        if len(kinds) > 1:
            raise UsageError(
                "the farm's workers are of several kinds, and a payload is built for one",
                tried=[f"{f.name} is {_words(f)}" for f in kinds.values()],
                advice=[
                    "name one by its label (rezbuild worker --label): REZBUILD_HOST_LABEL",
                    "workers of one label must have the same compiler, assembler, linker, glibc",
                ],
            )
        return next(iter(kinds.values()))

    def _labelled(self, label: str) -> list[Facts]:
        return [f for f in self.farm.workers().values() if label in {"", f.label}]


def _words(facts: Facts) -> str:
    return " ".join(filter(None, facts.host))
