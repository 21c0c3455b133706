"""The glibc that a tree needs, from the symbol versions in DT_VERNEED."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rezbuild.elf import symbols
from rezbuild.elf.host_libraries import host_libraries
from rezbuild.elf.model import Elf
from rezbuild.elf.reader import ElfError
from rezbuild.errors import AuditError
from rezbuild.util.glibc_version import number

_VERSION = re.compile(r"([A-Z]+)_(\d+(?:\.\d+)+)")
# A version for a feature of ld.so, not for a symbol (glibc 2.36's NEWS).
FEATURES = {"GLIBC_ABI_DT_RELR": "2.36"}
PRIVATE = "GLIBC_PRIVATE"
# libstdc++ and libgcc_s, whose versions depend on the compiler.
_OTHERS = ("GLIBCXX", "CXXABI", "GCC")
_SHOWN = 12


@dataclass(frozen=True)
class Needs:
    """The runtime libraries of the host that a tree needs.

    Attributes:
        glibc: The oldest glibc with every needed symbol, e.g. ``2.36``; None if unknown.
        because: The files that need this version, with the symbols.
        others: The needed version of each other runtime library that the tree does not contain,
            e.g. ``{"GLIBCXX": "3.4.30"}``.
    """

    glibc: str | None = None
    because: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    others: Mapping[str, str] = field(default_factory=dict)

    def over(self, ceiling: str | None) -> bool:
        """Whether the tree needs a newer glibc than ``ceiling``."""
        return bool(ceiling and self.glibc and number(self.glibc) > number(ceiling))


def needs(files: Mapping[str, Elf]) -> Needs:
    """Return the needs of the ELF files of a tree, which are given by path."""
    highest: dict[str, str] = {}
    own = {data.soname or data.path.name for data in files.values()}
    for data in files.values():
        for library, version in data.versions:
            family, value = _parse(version)
            if family == "GLIBC" or (family in _OTHERS and library not in own):
                highest[family] = max(highest.get(family, value), value, key=number)
    glibc = highest.pop("GLIBC", None)
    because = {
        path: tuple(sorted(_symbols(data, glibc)))
        for path, data in files.items()
        if glibc and any(_parse(v) == ("GLIBC", glibc) for v in _of_glibc(data))
    }
    return Needs(glibc, dict(sorted(because.items())), dict(sorted(highest.items())))


def check(data: Elf, ceiling: str | None) -> Iterator[tuple[str, str]]:
    """Check the glibc versions that a file needs.

    Args:
        data: The file.
        ceiling: The newest glibc that it may need, e.g. ``2.28``, or None.
    """
    needed = sorted(set(_of_glibc(data)))
    if PRIVATE in needed:
        yield "glibc-private", _describe(data, [PRIVATE])
    if ceiling is not None:
        over = [v for v in needed if _is_over(v, ceiling)]
        if over:
            yield "glibc-ceiling", f"more than {ceiling}: {_describe(data, over)}"


def check_record(payload: str, record: Mapping[str, Any], ceiling: str | None) -> None:
    """Compare the recorded glibc of a payload with a ceiling, without reading its files.

    Raises:
        AuditError: The payload needs a newer glibc.
    """
    needed = record.get("glibc")
    if Needs(needed).over(ceiling):
        because = record.get("glibc_because") or {}
        raise AuditError(
            f"{payload} needs glibc {needed}, and the limit is {ceiling}",
            tried=[f"{path}: {', '.join(names)}" for path, names in because.items()],
            advice=[
                f"build it for that glibc: --glibc {ceiling}"
                if not record.get("glibc_floor")
                else "find out which library has these functions, or name a newer --glibc",
                "or raise REZBUILD_GLIBC_MAX",
            ],
        )


def _is_over(version: str, ceiling: str) -> bool:
    family, value = _parse(version)
    # Old glibcs do not have a feature that is unknown here.
    return number(value) > number(ceiling) if family else version.startswith("GLIBC_ABI_")


def _of_glibc(data: Elf) -> Iterable[str]:
    glibc = host_libraries().glibc
    return (version for library, version in data.versions if library in glibc)


def _parse(version: str) -> tuple[str, str]:
    """Return family and number of a version such as GLIBC_2.36, or empty texts."""
    if version in FEATURES:
        return "GLIBC", FEATURES[version]
    match = _VERSION.fullmatch(version)
    return (match[1], match[2]) if match else ("", "")


def _describe(data: Elf, versions: Iterable[str]) -> str:
    shown_versions = []
    for version in versions:
        names = sorted(_by_version(data).get(version, []))
        shown = ", ".join(names[:_SHOWN])
        if len(names) > _SHOWN:
            shown += f" and {len(names) - _SHOWN} more"
        shown_versions.append(f"{version} ({shown})" if names else version)
    return "; ".join(shown_versions)


def _symbols(data: Elf, glibc: str) -> Iterator[str]:
    for version in set(_of_glibc(data)):
        if _parse(version) == ("GLIBC", glibc):
            yield from _by_version(data).get(version) or [version]


def _by_version(data: Elf) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    try:
        for symbol in symbols.versioned(data.path):
            found.setdefault(symbol.version, []).append(symbol.name)
    except ElfError:
        return {}  # the version is known, but not its symbols
    return found
