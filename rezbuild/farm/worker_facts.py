"""What a machine of the farm is, as plain data: who is told it may compare it with itself."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import rezbuild
from rezbuild.build.toolchain import Toolchain
from rezbuild.files.hashing import sha256
from rezbuild.payload import manifest
from rezbuild.settings import MOST_JOBS
from rezbuild.store.key import host_glibc

# Dask's name of the resource that a job takes as many of as its makes may run jobs.
CORES = "cores"
# Under which name a worker's facts are in what the scheduler knows of it.
FACTS = "rezbuild"
_TOOLS = ("compiler", "assembler", "linker")
_TEXTS = ("name", "rezbuild", "platform", "arch", "glibc", "label", *_TOOLS, "machine")


@dataclass(frozen=True)
class Facts:
    """What a worker says of itself when it comes.

    Attributes:
        name: The worker's.
        rezbuild: Version and hash of its modules.
        recipes: The revision of each version of each recipe; see `manifest.recipe_revision`.
        platform, arch: As Rez calls them: ``linux``, ``x86_64``.
        glibc: Its version, such as 2.36; "" on another C library.
        label: What the studio calls this kind of host; "" without one.
        cores: How many jobs of make it runs at once, in all.
        compiler, assembler, linker: First lines of their ``--version``.
        machine: What it builds for, such as ``x86_64-linux-gnu``.
        store: It has a store, which the client is to have in common with it.
    """

    name: str
    rezbuild: str
    recipes: Mapping[str, Mapping[str, str]]
    platform: str
    arch: str
    glibc: str
    label: str
    cores: int
    compiler: str
    assembler: str
    linker: str
    machine: str
    store: bool

    @classmethod
    def gather(cls, tools: Toolchain, recipes: Path, **told: Any) -> Facts:
        """Those of this machine.

        Args:
            tools: Its compiler.
            recipes: Its recipes folder.
            told: The attributes that nobody can see: name, label, cores and store.

        Raises:
            CatalogueError: A recipe is wrong.
        """
        from rez.system import system  # noqa: PLC0415 (rez is slow to import)

        return cls(
            rezbuild=own_version(),
            recipes=revisions(recipes),
            platform=system.platform,
            arch=system.arch,
            glibc=host_glibc(),
            compiler=tools.description,
            assembler=tools.assembler,
            linker=tools.linker,
            machine=tools.machine,
            **told,
        )

    @classmethod
    def read(cls, data: object) -> Facts | None:
        """From what Dask has carried; None where it is no worker of ours, or a very different one.

        Whatever a worker of another version says, it may not stop the client.
        """
        try:
            found = cls(**data) if isinstance(data, dict) else None
        except TypeError:
            return None
        return found if found is not None and _is_sound(found) else None

    def as_data(self) -> dict[str, Any]:
        """For Dask."""
        return asdict(self)

    @property
    def host(self) -> tuple[str, ...]:
        """What decides on the bytes of a payload: the kind of host."""
        tools = (self.compiler, self.assembler, self.linker)
        return (self.label, self.platform, self.arch, self.glibc, *tools)

    def resources(self) -> dict[str, float]:
        """Dask's resources: what a job may ask for; of each there is enough for all jobs."""
        names = [f"platform-{self.platform}", f"arch-{self.arch}", f"rezbuild-{self.rezbuild}"]
        names += [f"host-{self.label}"] if self.label else []
        return {name: float(self.cores) for name in (CORES, *names)}

    def differences(
        self, version: str, recipes: Mapping[str, Mapping[str, str]], needed: Iterable[str]
    ) -> list[str]:
        """What differs from the client's, of what is needed; each in a line for the user.

        Args:
            version: The client's rezbuild, as `own_version` has it.
            recipes: Its recipes, as `revisions` has them.
            needed: The names of those that count.
        """
        if self.rezbuild != version:
            return [f"its rezbuild is {self.rezbuild}, and this one is {version}"]
        return [
            f"its recipe of {name} is another one"
            for name in sorted(set(needed))
            if self.recipes.get(name) != recipes.get(name)
        ]


def _is_sound(facts: Facts) -> bool:
    """Whether each attribute is of its type, and the cores are a number that makes sense."""
    texts = [getattr(facts, name) for name in _TEXTS]
    recipes = facts.recipes.items() if isinstance(facts.recipes, dict) else [(None, None)]
    for name, versions in recipes:
        texts.append(name)
        texts += chain(*versions.items()) if isinstance(versions, dict) else [None]
    return (
        all(isinstance(text, str) for text in texts)
        and type(facts.cores) is int
        and 1 <= facts.cores <= MOST_JOBS
        and type(facts.store) is bool
    )


def revisions(folder: Path) -> dict[str, dict[str, str]]:
    """The revision of each version of each recipe below a folder."""
    from rezbuild.plan import resolve  # noqa: PLC0415 (rez is slow to import)

    return {
        name: {v: manifest.recipe_revision(recipe, r) for v, r in recipe.releases.items()}
        for name, recipe in resolve.recipes(folder).items()
    }


def own_version() -> str:
    """The version of rezbuild, and the hash of all of its files."""
    here = Path(rezbuild.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(here.rglob("*")):
        if path.suffix != ".pyc" and path.is_file():
            digest.update(f"{path.relative_to(here).as_posix()}\0".encode())
            digest.update(sha256(path).encode())
    return f"{rezbuild.__version__}-{digest.hexdigest()[:12]}"


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0))
