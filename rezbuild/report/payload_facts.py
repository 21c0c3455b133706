"""The facts of a payload's page, from its records, its audit and its ELF files."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rezbuild.audit import Report, audit
from rezbuild.elf import symbols
from rezbuild.elf.host_libraries import host_libraries
from rezbuild.elf.reader import ElfError
from rezbuild.errors import RezbuildError
from rezbuild.payload import describe, formats, manifest, sbom
from rezbuild.payload.formats import Binary
from rezbuild.payload.relocate import DEPS

_TABLES = ("source", "patches", "flags", "dependencies", "built_against", "hardening", "runtimes")


@dataclass(frozen=True)
class Library:
    """A library that a file needs.

    Attributes:
        name: The entry in DT_NEEDED.
        origin: ``payload``, ``host`` or ``missing``.
        provider: A path in the payload, or the part of the host.
    """

    name: str
    origin: str
    provider: str


@dataclass(frozen=True)
class Part:
    """A part of the bill of materials; the first one is the payload itself.

    Attributes:
        archive: The file name of its source, and its checksum; "" if the bill has none.
    """

    name: str
    version: str
    license: str
    archive: str


@dataclass(frozen=True)
class Facts:
    """A payload.

    Attributes:
        record: Its record; the tables of `_TABLES` are always there.
        contents: The size of each file, and the target of each link.
        sums: The checksum of each file.
        links: Files with the same needed libraries, and these libraries.
        glibc: By version of glibc: the needed symbols, and the files that need each.
    """

    root: Path
    record: Mapping[str, Any]
    audit: Report
    contents: Mapping[str, int | str]
    sums: Mapping[str, str]
    links: tuple[tuple[tuple[str, ...], tuple[Library, ...]], ...]
    glibc: Mapping[str, Mapping[str, list[str]]]
    parts: tuple[Part, ...]

    @property
    def title(self) -> str:
        """Name and version."""
        return f"{self.record.get('name')} {self.record.get('version')}"

    @property
    def inputs(self) -> list[tuple[str, str]]:
        """Names and values of the facts that ``rezbuild manifest`` prints, too."""
        return list(describe.list_facts(self.record))

    @property
    def sizes(self) -> dict[str, int]:
        """The size of each file."""
        return {path: size for path, size in self.contents.items() if isinstance(size, int)}


def gather(root: Path) -> Facts:
    """Return the facts of a payload.

    Raises:
        UsageError: The folder is not a payload.
    """
    root = root.resolve()
    record = describe.load(root)
    tables = {
        name: found if isinstance(found := record.get(name), dict) else {} for name in _TABLES
    }
    audited = audit(root)
    contents = manifest.read_contents(root) or {}
    return Facts(
        root=root,
        record={**record, **tables},
        audit=audited,
        contents={path: said for path, said in contents.items() if isinstance(said, (int, str))},
        sums=manifest.read_sums(root) or {},
        links=tuple(_links(root, audited.elf)),
        glibc=_glibc_symbols(root, audited.elf),
        parts=tuple(_parts(sbom.read(root) or {})),
    )


def _links(
    root: Path, places: Iterable[str]
) -> Iterator[tuple[tuple[str, ...], tuple[Library, ...]]]:
    """Yield groups of files, and the libraries that each file of the group needs."""
    groups: dict[tuple[Library, ...], list[str]] = {}
    for place in sorted(places):
        with contextlib.suppress(RezbuildError):  # a finding of the audit
            data = formats.read(root / place)
            needed = tuple(_library(name, data, root) for name in data.needed)
            if needed:
                groups.setdefault(needed, []).append(place)
    # Files with many libraries of the payload come first.
    order = sorted(
        groups, key=lambda key: (-sum(one.origin == "payload" for one in key), key[0].name)
    )
    yield from ((tuple(groups[needed]), needed) for needed in order)


def _library(name: str, data: Binary, root: Path) -> Library:
    """Return the library that the loader finds for a need of a file."""
    for _, path in formats.search(data, name, data.path.parent):
        if path.is_file() and root in path.parents:
            return Library(name, "payload", path.relative_to(root).as_posix())
    if data.from_host(name):
        return Library(name, "host", data.SYSTEM)
    reason = host_libraries().known.get(name)
    return Library(name, "host", reason) if reason else Library(name, "missing", "not found")


def _glibc_symbols(root: Path, places: Iterable[str]) -> dict[str, dict[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = {}
    for place in places:
        with contextlib.suppress(ElfError):
            for one in symbols.versioned(root / place):
                if one.library in host_libraries().glibc:
                    found.setdefault(one.version, {}).setdefault(one.name, []).append(place)

    def numbers(version: str) -> list[int]:
        return [int(text) for text in re.findall(r"\d{1,6}", version)]

    return {v: dict(sorted(found[v].items())) for v in sorted(found, key=numbers, reverse=True)}


def _parts(bill: Mapping[str, Any]) -> Iterator[Part]:
    for row, component in zip(sbom.components(bill), sbom.listed(bill)):
        yield Part(*row, archive=dict(sbom.properties(component)).get(sbom.ARCHIVE, ""))


def bundled_in(path: str) -> str:
    """Return the package of a bundled library, e.g. ``zlib 1.3.2``, or ""."""
    folders = path.split("/")
    return " ".join(folders[1:3]) if folders[0] == DEPS and len(folders) > 3 else ""
