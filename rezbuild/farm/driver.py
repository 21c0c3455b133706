"""Builds the steps of a plan on a farm: `rezbuild.driver.Driver` in all but where a payload is made.

A step has two parts. A worker bakes the payload; then Rez installs or releases it from here, as it
would one that was built here, but that it finds it in a store. So what is published, and in which
order, does not depend on the farm.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rezbuild import manifest, repository
from rezbuild.build import Dependency
from rezbuild.driver import Driver, Options
from rezbuild.errors import MachineError, RezbuildError, RezError, StoreError, UsageError
from rezbuild.farm import facts, policy
from rezbuild.farm.carrier import Carrier
from rezbuild.farm.client import PATIENCE, Farm, Job
from rezbuild.farm.facts import Facts
from rezbuild.farm.order import Order, Result
from rezbuild.farm.remote import Remote
from rezbuild.graph import Step
from rezbuild.settings import Settings
from rezbuild.store import Entry
from rezbuild.task import Running, Task
from rezbuild.toolchain import Toolchain
from rezbuild.view import Lines

# Rez's processes that install or release at once; each keeps a core busy for a second or two.
_PUBLISHERS = 4
# Steps under way at once, waiting or building; how many run is the farm's matter.
_MANY = 10_000
# Seconds to wait for a first worker, and before a user is told that there is none any more.
_FIRST = 60.0
_SILENT = 5.0
_PAUSE = 0.2


class FarmDriver(Driver):
    """Has steps built by the workers of a farm, and publishes them from here.

    Args:
        farm: The connection.
        settings: Of the client.
        options: How the plan is run.
        view: Tells the user.
        recipes: The client's recipes folder, which the workers' are compared with.
        host: The label of the kind of host that is built for; "": there is only one, or one like
            this machine.
    """

    def __init__(
        self,
        farm: Farm,
        settings: Settings,
        options: Options,
        view: Lines,
        recipes: Path,
        host: str = "",
    ) -> None:
        self.farm = farm
        self.kind = _kind(farm, host, view)
        # The compiler is theirs; there may be none here.
        tools = Toolchain(cc="", cxx="", description=self.kind.compiler, machine=self.kind.machine)
        super().__init__(settings, tools, options, view)
        self._revisions = facts.revisions(recipes)
        self._version = facts.own_version()
        self._needed: set[str] = set()
        self._refused: set[str] = set()
        self._begun: list[_Begun] = []
        self._publishing: set[tuple[str, str]] = set()

    def run(self, steps: Sequence[Step]) -> None:
        """As `Driver.run`; the workers are compared with this machine before the first job.

        Raises:
            UsageError: One of them has other recipes, or another rezbuild.
        """
        self._needed = {step.release.name for step in steps}
        for worker in self.farm.workers().values():
            differences = self._differences(worker)
            if differences:
                raise UsageError(
                    f"the worker {worker.name} is not as this machine: {differences[0]}",
                    tried=differences[1:],
                    advice=["bring both to the same commit, and start the worker anew"],
                )
        super().run(steps)

    def suits(self, worker: Facts) -> bool:
        """Whether a worker may have jobs of this plan; why one may not is told once."""
        if worker.host != self.kind.host:
            return False
        differences = self._differences(worker)
        if differences and worker.name not in self._refused:
            self._refused.add(worker.name)
            self.view.say(f"notice: {worker.name} gets no job: {differences[0]}")
        return not differences

    def free(self) -> dict[str, int]:
        """The free cores of each worker that may have jobs, by address."""
        workers, free = self.farm.workers(), self.farm.free()
        return {a: free.get(a, 0) for a, worker in workers.items() if self.suits(worker)}

    def start(self, step: Step) -> Running:
        """Puts it down for the farm; `deal` gives it its cores.

        Raises:
            RezError: It is released already, and may not be replaced.
        """
        self.view.say(f"{step}: building, {self.reasons[step.key]}")
        arguments = self._arguments(step)
        folder, _, name = self._build_directory(step).partition("/")
        place = repository.variant_root(step.recipe.folder, folder, name)
        begun = _Begun(step, arguments)
        begun.remote = Remote(
            str(step),
            self._log(step),
            place,
            lambda: self._publish(begun),
            lambda: begun.give_up(),
        )
        begun.job = self._job(begun)
        self._begun.append(begun)
        return begun.remote

    def waiting(self) -> int:
        """How many steps have begun and have no cores yet."""
        return len(self._begun)

    def deal(self) -> None:
        """Gives the steps that have begun at this moment the cores that are free."""
        begun, self._begun = self._begun, []
        shares = policy.shares(self.free(), len(begun)) if begun else []
        for one, share in itertools.zip_longest(begun, shares):
            one.give_up = self.farm.begin(one.job, share.cores if share else 1)

    def finish(self, step: Step, task: Running, status: int) -> None:
        """As `Driver.finish`.

        Raises:
            RezbuildError: It failed, on a worker or here.
        """
        self._publishing.discard(step.key)
        if isinstance(task, Remote) and task.error is not None:
            task.error.advice += (f"all of its output: {task.log}",)
            raise task.error
        super().finish(step, task, status)
        if isinstance(task, Remote):
            # Where all was built anew, Rez has cleared the folder.
            task.keep_logs()

    @property
    def _most(self) -> int:
        return 1 if self.options.release else _MANY

    @contextlib.contextmanager
    def _budget(self) -> Iterator[Room]:
        stores = all(worker.store for worker in self.farm.workers().values() if self.suits(worker))
        shared = self.settings.store if stores else None
        self._carrier = Carrier(self.folder, shared or "")
        yield Room(self)

    def _differences(self, worker: Facts) -> list[str]:
        return worker.differences(self._version, self._revisions, self._needed)

    def _job(self, begun: _Begun) -> Job:
        step, remote = begun.step, begun.remote
        against = [self._dependency(*needed) for needed in step.built_against.items()]
        entries = [self._carrier.entry(dependency) for dependency in against]
        order = Order(
            id="",
            name=step.release.name,
            version=step.release.version,
            profile=self.profiles[step.key],
            revision=manifest.recipe_revision(step.recipe, step.release),
            dependencies=tuple(json.loads(entry.to_json()) for entry in entries),
            carry=not self._carrier.shared,
            force=self.options.force and step.requested,
            step_timeout=self.settings.step_timeout,
            glibc_max=self.settings.glibc_max,
        )

        def done(result: Result | None, error: RezbuildError | None, blob: bytes) -> None:
            if result is not None and error is None:
                try:
                    begun.made = self._carrier.keep(*step.key, result, blob)
                except StoreError as found:
                    error = found
            remote.done(result, error)

        return Job(
            order=order,
            blobs=self._carrier.blobs(entries),
            suits=self.suits,
            heard=remote.heard,
            note=remote.note,
            done=done,
        )

    def _dependency(self, name: str, version: str) -> Dependency:
        found = repository.installed(name, version, self.paths)
        if found is None:
            raise RezError(f"{name}-{version} is not installed any more", advice=["run it again"])
        return Dependency(name, version, found.root)

    def _publish(self, begun: _Begun) -> Task | None:
        """Has Rez install or release what a worker has made; None while others are at it."""
        if len(self._publishing) >= min(self.jobs, _PUBLISHERS):
            return None
        self._publishing.add(begun.step.key)
        entry, store = begun.made
        file = self.folder / f"{begun.step}.entry.json"
        file.write_text(entry.to_json(), encoding="utf-8")
        taken = {"REZBUILD_STORE": store, "REZBUILD_STORE_ENTRY": str(file)}
        variables = {**self._variables(begun.step), **taken}
        return self._begin(begun.step, begun.arguments, variables, after=True)


class Room:
    """What `rezbuild.parallel.Run` takes a job of for each step: room on the workers.

    Args:
        driver: Knows them.
    """

    def __init__(self, driver: FarmDriver) -> None:
        self._driver = driver
        self._seen = time.monotonic()
        self._told = False

    def take(self) -> bool:
        """Whether a core is free somewhere for one more step.

        Raises:
            MachineError: There has been no worker for long.
        """
        free = self._driver.free()
        if free:
            self._seen, self._told = time.monotonic(), False
            return sum(n for n in free.values() if n > 0) > self._driver.waiting()
        silent = time.monotonic() - self._seen
        if silent > PATIENCE:
            raise MachineError(
                f"the farm has had no worker for {silent:.0f} s",
                advice=[f"start one: rezbuild worker {self._driver.farm.address}"],
            )
        if silent > _SILENT and not self._told:
            self._told = True
            self._driver.view.say("farm: there is no worker; waiting for one")
        return False

    def give_back(self) -> None:
        """Nothing: the farm sees which cores are free."""

    def share(self) -> None:
        """Gives those that have begun their cores."""
        self._driver.deal()

    def reset(self) -> None:
        """Nothing is ever lost."""


class _Begun:
    """A step that has been put down for the farm.

    Attributes:
        remote: What those see of it who look at it.
        job: What the farm gets of it.
        made: The entry of its payload, and the store that this is in; once it is there.
        give_up: Tells the farm that nobody waits for it any more.
    """

    remote: Remote
    job: Job
    made: tuple[Entry, str]

    def __init__(self, step: Step, arguments: Sequence[str]) -> None:
        self.step = step
        self.arguments = arguments
        self.give_up: Callable[[], None] = lambda: None


def _kind(farm: Farm, label: str, view: Lines) -> Facts:
    """A worker of the kind of host that is built for; waits for one where there is none yet.

    Raises:
        MachineError: None came.
        UsageError: There are several kinds, and none was named.
    """
    began, told = time.monotonic(), False
    while not (found := [f for f in farm.workers().values() if label in {"", f.label}]):
        what = f"of the kind {label} " if label else ""
        if time.monotonic() - began > _FIRST:
            raise MachineError(
                f"the farm has no worker {what}for this",
                tried=[f"{f.name} is {' '.join(filter(None, f.host))}" for f in farm.workers().values()],
                advice=[f"start one: rezbuild worker {farm.address}"],
            )
        if not told:
            told = True
            view.say(f"farm: {farm.address} has no worker {what}yet; waiting for one")
        time.sleep(_PAUSE)
    kinds = {facts.host: facts for facts in found}
    if len(kinds) == 1:
        return found[0]
    raise UsageError(
        "the farm's workers are of several kinds, and a payload is built for one",
        tried=[" ".join(filter(None, kind)) for kind in kinds],
        advice=[
            "name one by its label (rezbuild worker --label): rezbuild build --host LABEL",
            "workers of one label must have the same compiler and glibc",
        ],
    )
