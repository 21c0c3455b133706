"""The hardening of an ELF file, as ``checksec`` reports it.

Sources: the System V gABI and its supplements for x86-64 (GNU_PROPERTY_X86_FEATURE_1_AND) and
AArch64 (GNU_PROPERTY_AARCH64_FEATURE_1_AND), gcc's manual for the stack protector, glibc's for
_FORTIFY_SOURCE.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rezbuild.elf import reader, symbols
from rezbuild.elf.host_libraries import host_libraries
from rezbuild.elf.model import Elf

_NT_GNU_PROPERTY = ("NT_GNU_PROPERTY_TYPE_0", 5)
_X86_FEATURE_1_AND = 0xC0000002
_AARCH64_FEATURE_1_AND = 0xC0000000
_IBT, _SHSTK = 1, 2
_BTI, _PAC = 1, 2
_CHECKED = re.compile(r"__(\w+)_chk")
_CANARY = "__stack_chk_fail"


@dataclass(frozen=True)
class Hardening:
    """The hardening of one file.

    Attributes:
        kind: ``pie`` or ``no-pie`` (programs), ``shared`` (libraries) or ``other``.
        relro: ``full``, ``partial`` (without BIND_NOW), ``none``.
        nx: The stack is not executable.
        canary: Functions detect overwritten stack frames (-fstack-protector).
        fortified: The number of glibc functions that are called in the checking form, e.g.
            ``__memcpy_chk``.
        fortifiable: The number of called glibc functions that have a checking form.
        ibt, shstk: Intel CET is enabled: indirect branch tracking, shadow stack.
        bti, pac: The same for AArch64: branch targets, signed return addresses.
    """

    kind: str
    relro: str
    bind_now: bool
    nx: bool
    canary: bool
    fortified: int
    fortifiable: int
    ibt: bool
    shstk: bool
    bti: bool = False
    pac: bool = False

    def as_data(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)


def read(path: Path) -> Hardening | None:
    """Return the hardening of a file; None for object files and debug data.

    Raises:
        rezbuild.elf.reader.ElfError: The file cannot be read or is damaged.
    """
    data = reader.read(path)
    if data.type not in ("ET_EXEC", "ET_DYN") or data.debug:
        return None
    called = symbols.undefined(path)
    checked = {match[1] for name in called if (match := _CHECKED.fullmatch(name))}
    known = host_libraries().fortifiable
    x86, aarch64 = (
        _features(path, number) for number in (_X86_FEATURE_1_AND, _AARCH64_FEATURE_1_AND)
    )
    return Hardening(
        kind=_kind(data),
        relro=("full" if data.bind_now else "partial") if data.relro else "none",
        bind_now=data.bind_now,
        nx=not data.executable_stack,
        canary=_CANARY in called,
        fortified=len(checked & known),
        fortifiable=len((checked | called) & known),
        ibt=bool(x86 & _IBT),
        shstk=bool(x86 & _SHSTK),
        bti=bool(aarch64 & _BTI),
        pac=bool(aarch64 & _PAC),
    )


def _kind(data: Elf) -> str:
    if data.type == "ET_EXEC":
        return "no-pie"
    return "pie" if data.pie else "shared"


def _features(path: Path, wanted: int) -> int:
    """Return the bits of a property: the linker keeps those that all objects have."""
    with reader.open_image(path) as image:
        order = "<" if image.little_endian else ">"
        word = image.bits // 8
        for owner, kind, start, size in image.notes():
            if owner == b"GNU\0" and kind in _NT_GNU_PROPERTY:
                for number, value in _properties(image.bytes_at(start, size), order, word):
                    if number == wanted and len(value) == 4:
                        return int(struct.unpack(f"{order}I", value)[0])
    return 0


def _properties(data: bytes, order: str, word: int) -> Iterator[tuple[int, bytes]]:
    """Yield type and value of each property; values are padded to words."""
    place = 0
    while place + 8 <= len(data):
        number, size = struct.unpack_from(f"{order}2I", data, place)
        yield number, data[place + 8 : place + 8 + size]
        place += 8 + -(-size // word) * word
