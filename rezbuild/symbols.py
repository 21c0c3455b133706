"""The dynamic symbols of an ELF file: what it gives to others, and what it takes of which version.

Read as ld.so does, without section headers. A library holds thousands of symbols, so the tables
are unpacked as a whole. Sources: the System V gABI, chapter 5; glibc's elf/dl-lookup.c for
DT_GNU_HASH; the LSB for DT_VERSYM.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rezbuild.elf import Image, reading

_STB_GLOBAL, _STB_WEAK, _STB_GNU_UNIQUE = 1, 2, 10
_STV_DEFAULT, _STV_PROTECTED = 0, 3
_SHN_UNDEF, _SHN_ABS = 0, 0xFFF1
# The highest bit of an entry of DT_VERSYM hides it from those who link; ld.so ignores it.
_VERSION_MASK = 0x7FFF


@dataclass(frozen=True)
class Taken:
    """A symbol that another library must have in this very version."""

    name: str
    library: str
    version: str


def exported(path: Path) -> frozenset[str]:
    """The names that a library defines for whoever loads it.

    Raises:
        rezbuild.elf.ElfError: The file cannot be read or is damaged.
    """
    with reading(path) as image:
        table = _Table(image)
        return frozenset(table.name(symbol) for symbol in table.symbols() if symbol.is_exported)


def taken(path: Path) -> tuple[Taken, ...]:
    """The symbols that are needed in a version, sorted.

    Raises:
        rezbuild.elf.ElfError: The file cannot be read or is damaged.
    """
    with reading(path) as image:
        table = _Table(image)
        found = set()
        for symbol, wanted in zip(table.symbols(), table.wanted()):
            if wanted is not None and symbol.section == _SHN_UNDEF:
                found.add(Taken(table.name(symbol), *wanted))
        return tuple(sorted(found, key=lambda one: (one.name, one.library, one.version)))


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
    def __init__(self, image: Image) -> None:
        self.image = image
        self.order = "<" if image.little_endian else ">"
        self.count = self._count()
        self.strings = self._read("DT_STRTAB", "string table", image.last("DT_STRSZ") or 0)

    def symbols(self) -> list[_Symbol]:
        """The dynamic symbol table, as far as it can be told; the first entry is empty."""
        if not self.count:
            return []
        wide = self.image.bits == 64
        data = self._read("DT_SYMTAB", "symbol table", self.count * (24 if wide else 16))
        if wide:  # name, info, other, section, value, size
            rows = struct.iter_unpack(f"{self.order}IBBHQQ", data)
            return [_Symbol(*row[:4]) for row in rows]
        rows = struct.iter_unpack(f"{self.order}IIIBBH", data)
        return [_Symbol(row[0], *row[3:]) for row in rows]

    def name(self, symbol: _Symbol) -> str:
        """Its name, without what a version adds to it."""
        end = self.strings.find(b"\0", symbol.string)
        return os.fsdecode(self.strings[symbol.string : end])

    def wanted(self) -> list[tuple[str, str] | None]:
        """For each symbol, the library and the version that it is needed of."""
        if self.image.last("DT_VERSYM") is None or not self.count:
            return []
        names = {number: (file, name) for file, name, number in self.image.versions()}
        data = self._read("DT_VERSYM", "table of symbol versions", self.count * 2)
        numbers = struct.unpack(f"{self.order}{self.count}H", data)
        return [names.get(number & _VERSION_MASK) for number in numbers]

    def _read(self, tag: str, what: str, size: int) -> bytes:
        return self.image.loaded(what, self.image.last(tag) or 0, size)

    def _count(self) -> int:
        """The dynamic table does not say it.

        A hash table covers what is exported, and what is taken has relocations.
        """
        if self.image.last("DT_SYMTAB") is None:
            return 0
        return max(self._hashed(), self._gnu_hashed(), self._relocated())

    def _hashed(self) -> int:
        if self.image.last("DT_HASH") is None:
            return 0
        _, chains = struct.unpack(f"{self.order}2I", self._read("DT_HASH", "hash table", 8))
        return int(chains)

    def _gnu_hashed(self) -> int:
        address = self.image.last("DT_GNU_HASH")
        if address is None:
            return 0
        what = "hash table"
        head = struct.unpack(f"{self.order}4I", self.image.loaded(what, address, 16))
        buckets, first, words = head[:3]
        address += 16 + words * self.image.bits // 8
        data = self.image.loaded(what, address, buckets * 4)
        last = max(struct.unpack(f"{self.order}{buckets}I", data), default=0)
        if last < first:
            return int(first)
        # Chains lie one behind the other; the last one's end is marked by its lowest bit.
        address += buckets * 4 + (last - first) * 4
        while not self._word(address) & 1:
            last, address = last + 1, address + 4
        return int(last) + 1

    def _word(self, address: int) -> int:
        return int(struct.unpack(f"{self.order}I", self.image.loaded("hash table", address, 4))[0])

    def _relocated(self) -> int:
        wide = self.image.bits == 64
        shift = 32 if wide else 8
        highest = 0
        for info in self._relocations(wide):
            highest = max(highest, info >> shift)
        return highest + 1 if highest else 0

    def _relocations(self, wide: bool) -> Iterator[int]:
        word = "Q" if wide else "I"
        with_addend = self.image.last("DT_PLTREL") != 17  # DT_REL
        for table, size, addend in (
            ("DT_RELA", "DT_RELASZ", True),
            ("DT_REL", "DT_RELSZ", False),
            ("DT_JMPREL", "DT_PLTRELSZ", with_addend),
        ):
            if self.image.last(table) is not None:
                layout = f"{self.order}{word * (3 if addend else 2)}"
                step = struct.calcsize(layout)
                length = (self.image.last(size) or 0) // step * step
                data = self._read(table, "relocations", length)
                yield from (row[1] for row in struct.iter_unpack(layout, data))
