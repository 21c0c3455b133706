"""Which libraries may come from the host: the lists in ``data/libraries.toml``."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rezbuild.util import toml


@dataclass(frozen=True)
class HostLibraries:
    """What a payload may take from the host.

    Attributes:
        glibc: Sonames of glibc's own files.
        loaders: What a program may name as its interpreter.
        interpreters: What the first line of a script may name.
        known: Other sonames that are tolerated for now, with the reason.
        dlopened: Names and paths among the constants of files that are known, with the reason.
        fortifiable: Functions of glibc with a form that checks sizes (_FORTIFY_SOURCE).
    """

    glibc: frozenset[str]
    loaders: frozenset[str]
    interpreters: frozenset[str]
    known: Mapping[str, str]
    dlopened: Mapping[str, str]
    fortifiable: frozenset[str]


@functools.lru_cache(maxsize=1)
def host_libraries() -> HostLibraries:
    """The lists, read once."""
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
