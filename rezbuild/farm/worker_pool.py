"""The workers that may run the jobs of a plan: one kind of host, with this machine's rezbuild."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from rezbuild.errors import MachineError, UsageError
from rezbuild.farm import worker_facts
from rezbuild.farm.client import Farm, Say
from rezbuild.farm.worker_facts import Facts

# Seconds to wait for the first worker; between two polls.
_FIRST = 60.0
_PAUSE = 0.2
_SAME = "update both to the same commit, and restart the worker"


class WorkerPool:
    """The workers of one kind of host.

    Args:
        farm: The connection.
        recipes: The client's recipes folder, which is compared with the workers'.
        label: The kind of host to build for; "" for the only one, or this machine's kind.
        own: The label of this machine.
        say: Prints messages.

    Attributes:
        kind: A worker of that kind; all have the same compiler and glibc.

    Raises:
        MachineError: There is no worker.
        UsageError: There are several kinds of workers, and no label is given.
    """

    def __init__(self, farm: Farm, recipes: Path, label: str, own: str, say: Say) -> None:
        self.farm = farm
        self._say = say
        self._version = worker_facts.rezbuild_version()
        self._revisions = worker_facts.revisions(recipes)
        self._needed: frozenset[str] = frozenset()
        self._refused: set[str] = set()
        self.kind = self._find(label, own)

    def check_versions(self, needed: Iterable[str]) -> None:
        """Check before the first job that the workers have this machine's rezbuild and recipes.

        Args:
            needed: The recipes that are compared.

        Raises:
            UsageError: A worker differs.
        """
        self._needed = frozenset(needed)
        for worker in self.farm.workers().values():
            differences = self._differences(worker) if worker.host == self.kind.host else []
            if differences:
                raise UsageError(
                    f"the worker {worker.name} differs from this machine: {differences[0]}",
                    tried=differences[1:],
                    advice=[_SAME],
                )

    def accepts(self, worker: Facts) -> bool:
        """Return whether a worker may have jobs; a late worker that differs causes one notice."""
        if worker.host != self.kind.host:
            return False
        differences = self._differences(worker)
        if differences and worker.name not in self._refused:
            self._refused.add(worker.name)
            self._say(f"notice: {worker.name} gets no job: {differences[0]}; {_SAME}")
        return not differences

    def free_cores(self) -> dict[str, int]:
        """Return the free cores of each worker, by address."""
        workers, free = self.farm.workers(), self.farm.free_cores()
        return {a: free.get(a, 0) for a, worker in workers.items() if self.accepts(worker)}

    def have_store(self) -> bool:
        """Return whether all workers have a store."""
        return all(w.store for w in self.farm.workers().values() if self.accepts(w))

    def _differences(self, worker: Facts) -> list[str]:
        return worker.differences(self._version, self._revisions, self._needed)

    def _find(self, label: str, own: str) -> Facts:
        began, is_reported = time.monotonic(), False
        what = f"of the kind {label} " if label else ""
        while not (found := self._labelled(label)):
            if time.monotonic() - began > _FIRST:
                raise MachineError(
                    f"the farm has no worker {what}for the plan",
                    tried=[f"{f.name} is {_words(f)}" for f in self._labelled("")],
                    advice=[f"start one: rezbuild worker {self.farm.address}"],
                )
            if not is_reported:
                is_reported = True
                self._say(f"farm: {self.farm.address} has no worker {what}yet; waiting for one")
            time.sleep(_PAUSE)
        kinds = {facts.host: facts for facts in found}
        if len(kinds) > 1 and self._labelled(own):
            kinds = {facts.host: facts for facts in self._labelled(own)}
        if len(kinds) > 1:
            raise UsageError(
                "the farm's workers are of several kinds, but a payload is built for one",
                tried=[f"{f.name} is {_words(f)}" for f in kinds.values()],
                advice=[
                    "set REZBUILD_HOST_LABEL to the label of one kind (rezbuild worker --label)",
                    "use the same compiler, assembler, linker and glibc for all workers of a label",
                ],
            )
        return next(iter(kinds.values()))

    def _labelled(self, label: str) -> list[Facts]:
        return [f for f in self.farm.workers().values() if label in {"", f.label}]


def _words(facts: Facts) -> str:
    return " ".join(filter(None, facts.host))
