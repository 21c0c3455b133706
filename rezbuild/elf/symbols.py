"""The dynamic symbols of an ELF file: exported ones, and needed ones with their versions.

Symbols are read as ld.so does, without section headers. A library has thousands of symbols, so the
tables are unpacked as a whole. Sources: the System V gABI, chapter 5; glibc's elf/dl-lookup.c for
DT_GNU_HASH; the LSB for DT_VERSYM.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rezbuild.elf.reader import ElfError, Image, open_image

_STB_GLOBAL, _STB_WEAK, _STB_GNU_UNIQUE = 1, 2, 10
_STV_DEFAULT, _STV_PROTECTED = 0, 3
_SHN_UNDEF, _SHN_ABS = 0, 0xFFF1
# The highest bit of an entry of DT_VERSYM hides the symbol from linkers; ld.so ignores it.
_VERSION_MASK = 0x7FFF
_DT_REL = 17
# Real names have some thousand bytes at most. In a damaged table, each symbol's name could have
# megabytes.
_MAX_NAME = 1 << 16


@dataclass(frozen=True)
class VersionedSymbol:
    """A symbol that a library must have in exactly this version."""

    name: str
    library: str
    version: str


def exported(path: Path) -> frozenset[str]:
    """Return the names of the symbols that a library exports.

    Raises:
        rezbuild.elf.reader.ElfError: The file cannot be read or is damaged.
    """
    with open_image(path) as image:
        table = _Table(image, _hashed(image))
        return frozenset(table.name(symbol) for symbol in table.symbols() if symbol.is_exported)


def versioned(path: Path) -> tuple[VersionedSymbol, ...]:
    """Return the needed symbols that have a version, sorted.

    Raises:
        rezbuild.elf.reader.ElfError: The file cannot be read or is damaged.
    """
    with open_image(path) as image:
        table = _Table(image, max(_hashed(image), _relocated(image)))
        found = set()
        for symbol, wanted in zip(table.symbols(), table.wanted()):
            if wanted is not None and symbol.section == _SHN_UNDEF:
                found.add(VersionedSymbol(table.name(symbol), *wanted))
        return tuple(sorted(found, key=lambda one: (one.name, one.library, one.version)))


def undefined(path: Path) -> frozenset[str]:
    """Return the names of all needed symbols, with or without a version.

    Raises:
        rezbuild.elf.reader.ElfError: The file cannot be read or is damaged.
    """
    with open_image(path) as image:
        table = _Table(image, max(_hashed(image), _relocated(image)))
        found = (table.name(one) for one in table.symbols() if one.section == _SHN_UNDEF)
        return frozenset(name for name in found if name)


class _Symbol(NamedTuple):
    string: int
    info: int
    other: int
    section: int

    @property
    def is_exported(self) -> bool:
        return (
            self.section not in (_SHN_UNDEF, _SHN_ABS)  # the names of versions are SHN_ABS
            and self.info >> 4 in (_STB_GLOBAL, _STB_WEAK, _STB_GNU_UNIQUE)
            and self.other & 3 in (_STV_DEFAULT, _STV_PROTECTED)
        )


class _Table:
    """The dynamic symbol table.

    Args:
        count: The number of entries. The dynamic table does not have it: hash tables list exported
            symbols, and relocations refer to needed ones.
    """

    def __init__(self, image: Image, count: int) -> None:
        self.image = image
        self.order = _order(image)
        self.count = 0 if image.last("DT_SYMTAB") is None else count
        self.strings = self._read("DT_STRTAB", "string table", image.last("DT_STRSZ") or 0)

    def symbols(self) -> list[_Symbol]:
        """Return the entries; the first one is empty."""
        wide = self.image.bits == 64
        data = self._read("DT_SYMTAB", "symbol table", self.count * (24 if wide else 16))
        if wide:  # name, info, other, section, value, size
            rows = struct.iter_unpack(f"{self.order}IBBHQQ", data)
            return [_Symbol(*row[:4]) for row in rows]
        rows = struct.iter_unpack(f"{self.order}IIIBBH", data)
        return [_Symbol(row[0], *row[3:]) for row in rows]

    def name(self, symbol: _Symbol) -> str:
        """Return the name of a symbol, without its version."""
        end = self.strings.find(b"\0", symbol.string, symbol.string + _MAX_NAME)
        if end < 0:
            raise ElfError(f"the name of a symbol, at {symbol.string}, has no end")
        return os.fsdecode(self.strings[symbol.string : end])

    def wanted(self) -> list[tuple[str, str] | None]:
        """Return the needed library and version of each symbol, or None."""
        if self.image.last("DT_VERSYM") is None:
            return []
        names = {one.number: (one.file, one.name) for one in self.image.versions()}
        data = self._read("DT_VERSYM", "table of symbol versions", self.count * 2)
        numbers = struct.unpack(f"{self.order}{self.count}H", data)
        return [names.get(number & _VERSION_MASK) for number in numbers]

    def _read(self, tag: str, what: str, size: int) -> bytes:
        return self.image.loaded(what, self.image.last(tag) or 0, size)


def _order(image: Image) -> str:
    return "<" if image.little_endian else ">"


def _hashed(image: Image) -> int:
    """Return the number of symbols that the hash tables cover."""
    count = _gnu_hashed(image)
    address = image.last("DT_HASH")
    if address is not None:
        _, chains = struct.unpack(f"{_order(image)}2I", image.loaded("hash table", address, 8))
        count = max(count, chains)
    return count


def _gnu_hashed(image: Image) -> int:
    address = image.last("DT_GNU_HASH")
    if address is None:
        return 0

    def numbers(place: int, count: int) -> tuple[int, ...]:
        data = image.loaded("hash table", place, count * 4)
        return struct.unpack(f"{_order(image)}{count}I", data)

    buckets, first, words, _ = numbers(address, 4)
    address += 16 + words * image.bits // 8
    last = max(numbers(address, buckets), default=0)
    if last < first:
        return first
    # Chains follow each other; the lowest bit marks the end of the last one.
    address += buckets * 4 + (last - first) * 4
    while not numbers(address, 1)[0] & 1:
        last, address = last + 1, address + 4
    return last + 1


def _relocated(image: Image) -> int:
    """Return the highest symbol index in the relocations plus one."""
    shift, word = (32, "Q") if image.bits == 64 else (8, "I")
    highest = -1
    for table, size, addend in (
        ("DT_RELA", "DT_RELASZ", True),
        ("DT_REL", "DT_RELSZ", False),
        ("DT_JMPREL", "DT_PLTRELSZ", image.last("DT_PLTREL") != _DT_REL),
    ):
        address = image.last(table)
        if address is not None:
            layout = struct.Struct(f"{_order(image)}{word * (3 if addend else 2)}")
            length = (image.last(size) or 0) // layout.size * layout.size
            data = image.loaded("relocations", address, length)
            highest = max((highest, *(row[1] >> shift for row in layout.iter_unpack(data))))
    return highest + 1
