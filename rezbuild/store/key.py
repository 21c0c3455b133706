"""What a payload is made from, readable, and the key that it has in a store.

Two builds with the same key give the same payload, as far as anybody knows: so the key is over more
than the fingerprint in ``rezbuild.json``, which asks whether one machine has to build again.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rezbuild
from rezbuild.build import toolchain
from rezbuild.files import pack
from rezbuild.files.hashing import sha256
from rezbuild.payload import manifest

if TYPE_CHECKING:
    from rezbuild.build.pipeline import Inputs
    from rezbuild.build.recipe_api import Dependency
    from rezbuild.build.toolchain import Toolchain
    from rezbuild.catalogue.sources_toml import Recipe, Release

# Known only when the packages that it is built against are there.
_LATE = ("against", "fingerprint")
# Of the environment of the steps: other ones at each build.
_PASSING = ("HOME", "TMPDIR", "SOURCE_DATE_EPOCH")


def inputs_of(inputs: Inputs) -> dict[str, Any]:
    """All that goes into the key of a payload, as plain data for JSON.

    Raises:
        OSError: A payload that it is built against cannot be read.
        MachineError: This machine has no patchelf.
    """
    job = inputs.job
    return {
        **planned(inputs.recipe, inputs.release, job.profile, inputs.tools),
        "against": against(job.dependencies),
        "fingerprint": inputs.fingerprint,
    }


def planned(recipe: Recipe, release: Release, profile: str, tools: Toolchain) -> dict[str, Any]:
    """What of it is known before the packages that it is built against are there.

    Any of a version's archives will do, so all of them stand there: the catalogue says that they
    are the same source.

    Raises:
        CatalogueError: A file of the recipe is missing.
        MachineError: This machine has no patchelf.
    """
    return {
        "name": release.name,
        "version": release.version,
        "profile": profile if recipe.profiled else None,
        "sources": {archive.file: archive.sha256 for archive in release.archives},
        "patches": {path.name: sha256(path) for path in recipe.patches(release)},
        "recipe": manifest.recipe_revision(recipe, release),
        "rezbuild": rezbuild.__version__,
        **of_machine(tools),
    }


def against(dependencies: Mapping[str, Dependency]) -> dict[str, dict[str, str]]:
    """The version and the sum of each payload that something is built against.

    Raises:
        OSError: One cannot be read.
    """
    return {
        name: {"version": found.version, "payload": pack.digest(found.root)}
        for name, found in sorted(dependencies.items())
    }


def fits(inputs: Mapping[str, Any], planned: Mapping[str, Any]) -> bool:
    """Whether inputs are what was `planned`; against which payloads will be seen later."""
    return {name: value for name, value in inputs.items() if name not in _LATE} == dict(planned)


def differences(inputs: Mapping[str, Any], others: Mapping[str, Any]) -> list[str]:
    """The names of what is not the same in two inputs; what follows from others is left out."""
    names = {*inputs, *others} - {"fingerprint"}
    return sorted(name for name in names if inputs.get(name) != others.get(name))


def misfits(inputs: Mapping[str, Any], machine: str, glibc: str) -> Iterator[str]:
    """What in inputs is not of a kind of host, each in a line; no compiler is needed for it.

    Args:
        inputs: Of an entry, which may hold anything.
        machine: The processor, or the compiler's name of the machine: ``x86_64-linux-gnu``.
        glibc: The version, as ``2.36``.
    """
    found = str(inputs.get("machine"))
    if found.partition("-")[0] != machine.partition("-")[0]:
        yield f"its machine is {found}, not {machine}"
    if inputs.get("glibc") != glibc:
        yield f"its glibc is {inputs.get('glibc')}, not {glibc}"
    told = inputs.get("environment")
    told = told if isinstance(told, dict) else {}
    if told.get("LDFLAGS") != toolchain.LINK_FLAGS:
        yield f"its LDFLAGS are {told.get('LDFLAGS')}, not {toolchain.LINK_FLAGS}"
    other = [flag for flag in str(told.get("CFLAGS")).split() if flag not in toolchain.PROTECTED]
    if other:
        yield f"its CFLAGS have {' '.join(other)}"


def key(inputs: Mapping[str, Any]) -> str:
    """The hash of inputs, 64 hex digits."""
    return hashlib.sha256(canonical(inputs)).hexdigest()


def canonical(data: Mapping[str, Any]) -> bytes:
    """The same bytes for the same data."""
    return json.dumps(data, sort_keys=True, separators=(",", ":")).encode("ascii")


def host_glibc() -> str:
    """The glibc of this host, as ``2.36``; "" where it has another C library."""
    try:
        # confstr(3): "glibc 2.36".
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").rpartition(" ")[2]
    except (ValueError, OSError):
        return ""


@functools.lru_cache(maxsize=1)
def of_machine(tools: Toolchain) -> dict[str, Any]:
    """Compilers, flags and what else the steps are told or run, the same at each build."""
    told = toolchain.environment(tools, Path(), 0)
    return {
        "compiler": tools.description,
        "machine": tools.machine,
        "environment": {name: value for name, value in told.items() if name not in _PASSING},
        "assembler": tools.assembler,
        "linker": tools.linker,
        "patchelf": ".".join(map(str, toolchain.patchelf_version(toolchain.patchelf()))),
        "glibc": host_glibc(),
    }
