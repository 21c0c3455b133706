"""The inputs of a payload, readable, and their hash: its key in a store.

Two builds with the same key should give the same payload. So the key covers more than the
fingerprint in ``rezbuild.json``, which decides whether one machine builds again.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rezbuild
from rezbuild.build import toolchain
from rezbuild.files import pack
from rezbuild.files.hashing import sha256
from rezbuild.payload import manifest
from rezbuild.util.glibc_version import host_glibc

if TYPE_CHECKING:
    from rezbuild.build.inputs import Inputs
    from rezbuild.build.toolchain import Toolchain
    from rezbuild.catalogue.model import Recipe, Release
    from rezbuild.payload.dependency import Dependency

# Inputs that are known only when the dependencies are installed.
_LATE = ("against", "fingerprint")
# Variables of the steps' environment that differ in each build.
_PASSING = ("HOME", "TMPDIR", "SOURCE_DATE_EPOCH")


def gather_inputs(inputs: Inputs) -> dict[str, Any]:
    """Return all inputs of a payload as plain data for JSON.

    Raises:
        OSError: A dependency cannot be read.
        MachineError: This machine has no patchelf.
    """
    job = inputs.job
    return {
        **planned_inputs(inputs.recipe, inputs.release, job.profile, inputs.tools),
        "against": dependency_inputs(job.dependencies),
        "fingerprint": inputs.fingerprint,
    }


def planned_inputs(
    recipe: Recipe, release: Release, profile: str, tools: Toolchain
) -> dict[str, Any]:
    """Return the inputs that are known before the dependencies are installed.

    They list all archives of a version, any of which may be used: the catalogue says that they hold
    the same source.

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
        **machine_inputs(tools),
    }


def dependency_inputs(dependencies: Mapping[str, Dependency]) -> dict[str, dict[str, str]]:
    """Return version and checksum of each dependency.

    Raises:
        OSError: One cannot be read.
    """
    return {
        name: {"version": found.version, "payload": pack.digest(found.root)}
        for name, found in sorted(dependencies.items())
    }


def matches(inputs: Mapping[str, Any], planned: Mapping[str, Any]) -> bool:
    """Return whether inputs are the planned ones; the dependencies are not compared."""
    return {name: value for name, value in inputs.items() if name not in _LATE} == dict(planned)


def differences(inputs: Mapping[str, Any], others: Mapping[str, Any]) -> list[str]:
    """Return the names of inputs that differ, without the fingerprint: it depends on the others."""
    names = {*inputs, *others} - {"fingerprint"}
    return sorted(name for name in names if inputs.get(name) != others.get(name))


def host_differences(inputs: Mapping[str, Any], machine: str, glibc: str) -> Iterator[str]:
    """Yield how inputs differ from a kind of host, one line each. No compiler is needed.

    Args:
        inputs: The inputs of an entry, which may hold anything.
        machine: The processor, or the compiler's name of the machine, e.g. ``x86_64-linux-gnu``.
        glibc: The version, e.g. ``2.36``.
    """
    found = str(inputs.get("machine"))
    if found.partition("-")[0] != machine.partition("-")[0]:
        yield f"its machine is {found}, not {machine}"
    if inputs.get("glibc") != glibc:
        yield f"its glibc is {inputs.get('glibc')}, not {glibc}"
    environment = inputs.get("environment")
    environment = environment if isinstance(environment, dict) else {}
    if environment.get("LDFLAGS") != toolchain.LINK_FLAGS:
        yield f"its LDFLAGS are {environment.get('LDFLAGS')}, not {toolchain.LINK_FLAGS}"
    other = [
        flag for flag in str(environment.get("CFLAGS")).split() if flag not in toolchain.PROTECTED
    ]
    if other:
        yield f"its CFLAGS have {' '.join(other)}"


def describe_change(record: Mapping[str, Any], revision: str, tools: Toolchain) -> str:
    """Return, for the user, why a build today would differ from a recorded build.

    Args:
        record: The record of a payload, with another fingerprint than a build today.
        revision: The recipe's revision today.
        tools: The tools of this machine.
    """
    if record.get("recipe") != revision:
        return "the recipe or rezbuild has changed since"
    return tools.difference(record) or "a dependency has changed since"


def hash_inputs(inputs: Mapping[str, Any]) -> str:
    """Return the hash of inputs, 64 hex digits."""
    return hashlib.sha256(canonical_json(inputs)).hexdigest()


def canonical_json(data: Mapping[str, Any]) -> bytes:
    """Return the same bytes for the same data."""
    return json.dumps(data, sort_keys=True, separators=(",", ":")).encode("ascii")


@functools.lru_cache(maxsize=1)
def machine_inputs(tools: Toolchain) -> dict[str, Any]:
    """Return compilers, flags and other tools of this machine, which are the same at each build."""
    environment = toolchain.environment(tools, Path(), 0)
    return {
        "compiler": tools.description,
        "machine": tools.machine,
        "environment": {name: value for name, value in environment.items() if name not in _PASSING},
        "assembler": tools.assembler,
        "linker": tools.linker,
        **({"glibc_floor": tools.glibc} if tools.glibc else {}),
        "patchelf": ".".join(map(str, toolchain.patchelf_version(toolchain.patchelf()))),
        "glibc": host_glibc(),
    }
