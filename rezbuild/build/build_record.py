"""The record of a build for rezbuild.json: its inputs, flags and options.

It contains no folders of the build machine.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import rezbuild
from rezbuild.build.inputs import Inputs, dependency_fingerprints
from rezbuild.build.recipe_api import Build
from rezbuild.files.hashing import sha256
from rezbuild.payload.dependency import PLACEHOLDER_ROOT
from rezbuild.sources.fetch import Fetched

# Variables that compilers and configure scripts read.
_FLAGS = ("CC", "CXX", "CFLAGS", "CPPFLAGS", "CXXFLAGS", "LDFLAGS", "OPT")
_CONFIGURE = re.compile(r"(^|/)(configure|config|Configure)$")
_VARIABLE = re.compile(r"[A-Z_]+=", re.DOTALL)
# A folder of the build, after its path was replaced by a path below the placeholder prefix.
_FOLDER = re.compile(rf"{PLACEHOLDER_ROOT}([\w.+-]+)")
# Longer commands are lists of files; the recipe has them.
_MAX_LENGTH = 2000


def inputs_as_data(inputs: Inputs, fetched: Fetched) -> dict[str, Any]:
    """Return the inputs of a build: recipe, sources, compilers and dependencies."""
    release = inputs.release
    return {
        "name": release.name,
        "version": release.version,
        "profile": inputs.job.profile if inputs.recipe.profiled else None,
        "fingerprint": inputs.fingerprint,
        "recipe": inputs.revision,
        "rezbuild": rezbuild.__version__,
        "source": {
            "file": fetched.archive.file,
            "sha256": fetched.archive.sha256,
            # All routes to the archive: two builds have the same record, whichever route they used.
            "urls": list(fetched.archive.urls),
            "debian": fetched.archive.debian and fetched.archive.debian.source,
        },
        "patches": {path.name: sha256(path) for path in inputs.recipe.patches(release)},
        "license": release.license,
        "compiler": inputs.tools.description,
        "assembler": inputs.tools.assembler,
        "linker": inputs.tools.linker,
        **({"glibc_floor": inputs.tools.glibc} if inputs.tools.glibc else {}),
        "machine": inputs.tools.machine,
        "built_against": {d.name: d.version for d in inputs.job.dependencies.values()},
        "dependencies": dependency_fingerprints(inputs.job, release),
    }


def flags_as_data(build: Build, places: Mapping[Path, str]) -> dict[str, Any]:
    """Return the flags of the environment, and the options of configure and make.

    Folders of the build are written as ``<work>``, ``<source>``, and ``<NAME-VERSION>`` for this
    package and its dependencies. The number of jobs is left out: it does not change the payload.

    Args:
        build: A build whose steps have run.
        places: Folders of this machine, and their names below the placeholder prefix.
    """
    names = [*_FLAGS, *(f"{name}_NODIST" for name in _FLAGS)]
    flags = {name: _plain(build.env[name], places) for name in names if build.env.get(name)}
    steps = [" ".join(words) for words in _options(build.commands)]
    return {"flags": flags, "options": [_plain(step, places)[:_MAX_LENGTH] for step in steps]}


def _options(commands: Sequence[Sequence[str]]) -> Iterator[list[str]]:
    for argv in commands:
        if _CONFIGURE.search(argv[0]):
            yield ["configure", *map(shlex.quote, argv[1:])]
        elif argv[0] == "sh" and any("configure" in word for word in argv):
            yield [argv[-1]]
        elif argv[0] == "make":
            variables = [w for w in argv[1:] if _VARIABLE.match(w) and not w.startswith("DESTDIR=")]
            if variables:
                yield ["make", *map(shlex.quote, variables)]


def _plain(text: str, places: Mapping[Path, str]) -> str:
    # Longer paths first: they may be below shorter ones.
    for path in sorted(places, key=lambda path: -len(str(path))):
        text = text.replace(str(path), places[path])
    # The audit refuses text that contains the placeholder prefix.
    return _FOLDER.sub(r"<\1>", text)
