"""A plan of five steps, and builds of them that are shell commands."""

from __future__ import annotations

import os
from pathlib import Path

from rezbuild.catalogue.model import Archive, Recipe, Release
from rezbuild.errors import BuildError, CatalogueError
from rezbuild.plan.resolve import Step
from rezbuild.run import progress
from rezbuild.run.executor import Executor
from rezbuild.util.processes import Task


def step(name: str, *needs: str, size: int | None = None) -> Step:
    archive = Archive(file=f"{name}.tar.gz", sha256="0" * 64, size=size)
    release = Release(name, "1", (archive,), tuple(needs), (), "MIT")
    recipe = Recipe(name, Path("/nowhere", name), "1", False, {"1": release})
    return Step(recipe, release, dict.fromkeys(needs, "1"), requested=False)


CHAIN = [
    step("small", size=10),
    step("big", size=100),
    step("bottom", size=50),
    step("middle", "bottom", size=60),
    step("top", "small", "big", "middle", size=5),
]


class ShellBuilds:
    """Builds that run shell commands and record their events."""

    def __init__(self, folder: Path, codes: dict[str, str], *, done=(), locked=()) -> None:
        self.folder = folder
        self.codes = codes
        self.finished = set(done)
        self.locked = list(locked)
        self.held: set[str] = set()
        self.events: list[str] = []

    def is_done(self, step: Step) -> bool:
        name = step.release.name
        if self.codes.get(name) == "unreadable":
            raise CatalogueError("cannot be read")
        return name in self.finished

    def lock(self, step: Step) -> bool:
        name = step.release.name
        if name in self.locked:
            self.locked.remove(name)
            # The process that held the lock has built the package.
            self.finished.add(name)
            return False
        self.held.add(name)
        return True

    def unlock(self, step: Step) -> None:
        self.held.discard(step.release.name)

    def start(self, step: Step) -> Task:
        name = step.release.name
        self.events.append(f"+{name}")
        argv = ["sh", "-c", self.codes.get(name, "true")]
        return Task(name, argv, self.folder, dict(os.environ), self.folder / f"{name}.log")

    def finish(self, step: Step, task: Task, status: int) -> None:
        self.events.append(f"-{task.name}")
        if status == 9:
            raise PermissionError(13, "not allowed", "/some/file")
        if status:
            raise BuildError(f"{step} failed by {status}")


def run_recorded(work, budget, watch):
    Executor(CHAIN, work, budget, progress.LineProgress(), 9, watch).run()
