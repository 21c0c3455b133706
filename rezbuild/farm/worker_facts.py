"""The description of a machine of the farm, as plain data; clients compare it with themselves."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rez.system import system

import rezbuild
from rezbuild.build.toolchain import Toolchain
from rezbuild.files.hashing import sha256
from rezbuild.payload import manifest
from rezbuild.plan import resolve
from rezbuild.settings import MOST_JOBS
from rezbuild.util import typed_table
from rezbuild.util.glibc_version import host_glibc

# The name of Dask's resource for cores.
CORES = "cores"
# The key of a worker's facts in the scheduler's data.
FACTS = "rezbuild"


@dataclass(frozen=True)
class Facts:
    """The description of a worker.

    Attributes:
        name: The worker's name.
        rezbuild: The version and hash of its modules.
        recipes: The revision of each version of each recipe; see `manifest.recipe_revision`.
        platform, arch: Rez's names: ``linux``, ``x86_64``.
        glibc: The version, e.g. 2.36; "" with another C library.
        label: The studio's name for this kind of host, or "".
        cores: The parallel jobs of make, in total.
        compiler, assembler, linker: The first lines of their ``--version``.
        machine: The machine that it builds for, e.g. ``x86_64-linux-gnu``.
        store: Whether it has a store, which the client must share.
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
    def gather(cls, tools: Toolchain, recipes: Path, **others: Any) -> Facts:
        """Describe this machine.

        Args:
            tools: Its compiler.
            recipes: Its recipes folder.
            others: The other attributes: name, label, cores and store.

        Raises:
            CatalogueError: A recipe is invalid.
        """
        return cls(
            rezbuild=rezbuild_version(),
            recipes=revisions(recipes),
            platform=system.platform,
            arch=system.arch,
            glibc=host_glibc(),
            compiler=tools.description,
            assembler=tools.assembler,
            linker=tools.linker,
            machine=tools.machine,
            **others,
        )

    @classmethod
    def read(cls, data: object) -> Facts | None:
        """Read the facts of a worker; return None for other workers and very different versions."""
        try:
            found = typed_table.read(cls, data)
        except ValueError:
            return None
        return found if found.cores in range(1, MOST_JOBS + 1) else None

    def as_data(self) -> dict[str, Any]:
        """Return the facts as plain data."""
        return asdict(self)

    @property
    def host(self) -> tuple[str, ...]:
        """The kind of host, which decides on the bytes of a payload."""
        tools = (self.compiler, self.assembler, self.linker)
        return (self.label, self.platform, self.arch, self.glibc, *tools)

    def resources(self) -> dict[str, float]:
        """Return Dask's resources for jobs; each suffices for all jobs of the worker."""
        names = [f"platform-{self.platform}", f"arch-{self.arch}", f"rezbuild-{self.rezbuild}"]
        names += [f"host-{self.label}"] if self.label else []
        return {name: float(self.cores) for name in (CORES, *names)}

    def differences(
        self, version: str, recipes: Mapping[str, Mapping[str, str]], needed: Iterable[str]
    ) -> list[str]:
        """Return the differences from the client, each as a line for the user.

        Args:
            version: The client's rezbuild, by `rezbuild_version`.
            recipes: The client's recipes, by `revisions`.
            needed: The recipes that are compared.
        """
        if self.rezbuild != version:
            return [f"its rezbuild is {self.rezbuild}, not {version}"]
        return [
            f"its recipe of {name} differs"
            for name in sorted(set(needed))
            if self.recipes.get(name) != recipes.get(name)
        ]


def revisions(folder: Path) -> dict[str, dict[str, str]]:
    """Return the revision of each version of each recipe in a folder."""
    return {
        name: {v: manifest.recipe_revision(recipe, r) for v, r in recipe.releases.items()}
        for name, recipe in resolve.recipes(folder).items()
    }


def rezbuild_version() -> str:
    """Return the version of rezbuild, and the hash of all of its files."""
    here = Path(rezbuild.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(here.rglob("*")):
        if path.suffix != ".pyc" and path.is_file():
            digest.update(f"{path.relative_to(here).as_posix()}\0".encode())
            digest.update(sha256(path).encode())
    return f"{rezbuild.__version__}-{digest.hexdigest()[:12]}"


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))
