"""Libraries that may come from the host: the lists in ``data/libraries.toml``."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rezbuild.util import toml


@dataclass(frozen=True)
class HostLibraries:
    """The parts of the host that a payload may use.

    Attributes:
        glibc: Sonames of glibc.
        loaders: Program interpreters (PT_INTERP) that a program may have.
        interpreters: Interpreters that the first line of a script may have.
        known: Other sonames that are allowed, with the reason.
        dlopened: Names and paths in constants that are allowed, with the reason.
        fortifiable: Functions of glibc that have a checking form (_FORTIFY_SOURCE).
    """

    glibc: frozenset[str]
    loaders: frozenset[str]
    interpreters: frozenset[str]
    known: Mapping[str, str]
    dlopened: Mapping[str, str]
    fortifiable: frozenset[str]


@functools.lru_cache(maxsize=1)
def host_libraries() -> HostLibraries:
    """Return the lists."""
    path = Path(__file__).parents[1] / "data" / "libraries.toml"
    data = toml.loads(path.read_text(encoding="utf-8"))
    return HostLibraries(
        glibc=frozenset(data["glibc"]),
        loaders=frozenset(data["loaders"]),
        interpreters=frozenset(data["interpreters"]),
        known=data["host"],
        dlopened=data["dlopen"],
        fortifiable=frozenset(data["fortifiable"]),
    )
