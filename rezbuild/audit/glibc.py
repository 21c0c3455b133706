"""Which glibc a tree needs, and who says so: the versions of the symbols in DT_VERNEED."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rezbuild.elf import symbols
from rezbuild.elf.host_libraries import host_libraries
from rezbuild.elf.reader import Elf, ElfError
from rezbuild.errors import AuditError

_VERSION = re.compile(r"([A-Z]+)_(\d+(?:\.\d+)+)")
# A version that stands for what ld.so can do, not for a symbol (glibc 2.36's NEWS).
FEATURES = {"GLIBC_ABI_DT_RELR": "2.36"}
PRIVATE = "GLIBC_PRIVATE"
# Of libstdc++ and libgcc_s, which the same compiler decides about.
_OTHERS = ("GLIBCXX", "CXXABI", "GCC")
_SHOWN = 12


@dataclass(frozen=True)
class Needs:
    """What a tree needs of the host's runtime libraries.

    Attributes:
        glibc: The oldest that has every symbol, as ``2.36``; None where nothing says.
        because: The files that need that very version, with the symbols it is for.
        others: The highest version needed of each other runtime library that is not in the tree
            itself, as ``{"GLIBCXX": "3.4.30"}``.
    """

    glibc: str | None = None
    because: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    others: Mapping[str, str] = field(default_factory=dict)

    def over(self, ceiling: str | None) -> bool:
        """Whether it is more than a studio's oldest hosts have."""
        return bool(ceiling and self.glibc and number(self.glibc) > number(ceiling))


def needs(files: Mapping[str, Elf]) -> Needs:
    """What the ELF files of a tree need, by their paths in it."""
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
    """What is wrong with the versions that a file needs of glibc.

    Args:
        data: The file.
        ceiling: The newest glibc it may need, as ``2.28``, or None.
    """
    needed = sorted(set(_of_glibc(data)))
    if PRIVATE in needed:
        yield "glibc-private", _say(data, [PRIVATE])
    if ceiling is not None:
        over = [v for v in needed if _is_over(v, ceiling)]
        if over:
            yield "glibc-ceiling", f"more than {ceiling}: {_say(data, over)}"


def check_record(what: str, record: Mapping[str, Any], ceiling: str | None) -> None:
    """Holds what was recorded of a payload against a ceiling; its files are not read again.

    Raises:
        AuditError: It needs a newer glibc.
    """
    needed = record.get("glibc")
    if Needs(needed).over(ceiling):
        because = record.get("glibc_because") or {}
        raise AuditError(
            f"{what} needs glibc {needed}, and REZBUILD_GLIBC_MAX is {ceiling}",
            tried=[f"{path}: {', '.join(names)}" for path, names in because.items()],
            advice=["build it on a host with that glibc or an older one, or raise the limit"],
        )


def number(version: str) -> tuple[int, ...]:
    """A version to compare with others."""
    return tuple(map(int, version.split(".")))


def _is_over(version: str, ceiling: str) -> bool:
    family, value = _parse(version)
    # Of a feature that is not known here, no old glibc has heard either.
    return number(value) > number(ceiling) if family else version.startswith("GLIBC_ABI_")


def _of_glibc(data: Elf) -> Iterable[str]:
    glibc = host_libraries().glibc
    return (version for library, version in data.versions if library in glibc)


def _parse(version: str) -> tuple[str, str]:
    """Family and number of a version's name, as in GLIBC_2.36; empty where it has none."""
    if version in FEATURES:
        return "GLIBC", FEATURES[version]
    match = _VERSION.fullmatch(version)
    return (match[1], match[2]) if match else ("", "")


def _say(data: Elf, versions: Iterable[str]) -> str:
    told = []
    for version in versions:
        names = sorted(_by_version(data).get(version, []))
        shown = ", ".join(names[:_SHOWN])
        if len(names) > _SHOWN:
            shown += f" and {len(names) - _SHOWN} more"
        told.append(f"{version} ({shown})" if names else version)
    return "; ".join(told)


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
        return {}  # the version is known; only who asks for it is not
    return found
