"""The changes from one payload to another."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rezbuild.elf import symbols
from rezbuild.errors import RezbuildError
from rezbuild.files import diff_trees, safe_files
from rezbuild.payload import formats
from rezbuild.report.payload_facts import Facts

ADDED, REMOVED, CHANGED = "added", "removed", "changed"
_FACTS = (
    *("version", "profile", "fingerprint", "recipe", "compiler", "assembler", "linker"),
    *("machine", "glibc", "glibc_floor", "license"),
)
_SOURCE = ("file", "sha256")
# Larger files are compared by size and checksum only; more lines or files are not shown.
_LARGEST, _LINES, _FILES = 1 << 16, 20, 60


@dataclass(frozen=True)
class Change:
    """A thing that differs; ``old`` or ``new`` is None if only the other payload has it."""

    name: str
    old: Any
    new: Any
    detail: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """Added, removed or changed."""
        return ADDED if self.old is None else REMOVED if self.new is None else CHANGED


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """Return the keys with different values; a key that is missing has the value None."""
    keys = dict.fromkeys([*old, *new])
    found = (Change(key, old.get(key), new.get(key)) for key in keys)
    return [change for change in found if change.old != change.new]


def compare(old: Facts, new: Facts) -> dict[str, list[Change]]:
    """Return the changes by topic."""
    first, second = old.record, new.record
    facts = ({key: record.get(key) for key in _FACTS} for record in (first, second))
    sources = ({f"source: {key}": r["source"].get(key) for key in _SOURCE} for r in (first, second))
    parts = ({p.name: f"{p.version} ({p.license or '?'})" for p in f.parts} for f in (old, new))
    flags = (
        {**r["flags"], "options": " ".join(map(str, r.get("options") or ()))}
        for r in (first, second)
    )
    return {
        "Facts": [*changes(*facts), *changes(*sources)],
        "Dependencies": changes(first["built_against"], second["built_against"]),
        "Parts and licenses": changes(*parts),
        "Patches": changes(first["patches"], second["patches"]),
        "Flags": changes(*flags),
        "Needed symbols of glibc": _set_changes(
            *({v: set(names) for v, names in f.glibc.items()} for f in (old, new))
        ),
        "Exported symbols": _set_changes(_exported(old), _exported(new)),
    }


def _set_changes(old: Mapping[str, set[str]], new: Mapping[str, set[str]]) -> list[Change]:
    """Return the names that each key loses and gains."""
    found = []
    for key in dict.fromkeys([*old, *new]):
        one, other = old.get(key, set()), new.get(key, set())
        lost, gained = sorted(one - other), sorted(other - one)
        if lost or gained:
            found.append(Change(key, lost or None, gained or None))
    return found


def _exported(facts: Facts) -> dict[str, set[str]]:
    """Return the exported symbols of each library that other files may link with."""
    found = {}
    for place in facts.audit.elf:
        with contextlib.suppress(RezbuildError):  # a finding of the audit
            if formats.read(facts.root / place).soname:
                found[place] = set(symbols.exported(facts.root / place))
    return found


def files(old: Facts, new: Facts) -> list[Change]:
    """Return the files that differ: sizes or targets of links, and lines of short text."""
    found, explained = [], 0
    states = ({p: (said, f.sums.get(p)) for p, said in f.contents.items()} for f in (old, new))
    for change in sorted(changes(*states), key=lambda change: change.name):
        one, other = (state and state[0] for state in (change.old, change.new))
        detail: Sequence[str] = ()
        if change.kind == CHANGED and explained < _FILES:
            detail = tuple(_detail(old, new, change.name))
            explained += bool(detail)
        found.append(Change(change.name, one, other, tuple(detail)))
    return found


def _detail(old: Facts, new: Facts, path: str) -> Iterator[str]:
    with contextlib.suppress(OSError):
        one, other = (safe_files.read(facts.root / path, _LARGEST) for facts in (old, new))
        yield from itertools.islice(diff_trees.explain(one, other), _LINES)
