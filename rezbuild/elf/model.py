"""The properties of an ELF file, and what relocation and audit ask about them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

from rezbuild.elf.host_libraries import host_libraries


@dataclass(frozen=True)
class Elf:
    """The properties of an ELF file; names as in elf(5).

    Relocation and the audit use its methods through `rezbuild.payload.formats`.
    """

    ORIGIN: ClassVar[str] = "$ORIGIN"
    # As glibc reads it: in braces, or not followed by a character of a name.
    ORIGIN_PATTERN: ClassVar[re.Pattern[str]] = re.compile(r"\$ORIGIN(?![A-Za-z0-9_])|\$\{ORIGIN\}")
    SUFFIX: ClassVar[str] = ".so"
    SYSTEM: ClassVar[str] = "glibc"

    path: Path
    type: str  # "ET_EXEC", "ET_DYN", "ET_REL", ...
    machine: str  # "EM_X86_64", ...
    bits: int  # 32 or 64
    dynamic: bool  # has a PT_DYNAMIC segment that is not empty
    debug: bool  # has only debug data, and nothing that can be loaded
    interpreter: str | None
    soname: str | None
    needed: tuple[str, ...]  # in the file's order
    rpath: tuple[str, ...]  # an empty element is the current folder, see ld.so(8)
    runpath: tuple[str, ...]
    textrel: bool
    executable_stack: bool
    writable_and_executable: bool  # a PT_LOAD segment that is both
    misaligned: bool  # a PT_LOAD segment that glibc before 2.35 refuses to map
    helpers: tuple[str, ...]  # DT_FILTER, DT_AUXILIARY, DT_AUDIT and DT_DEPAUDIT
    relro: bool
    bind_now: bool
    pie: bool  # a program that runs at any address
    versions: tuple[tuple[str, str], ...]  # (needed file, version name), sorted

    @property
    def loadable(self) -> bool:
        """Whether ld.so can load it for a file that needs it: no object file, no debug data."""
        return self.type == "ET_DYN" and self.dynamic

    @property
    def as_paths(self) -> frozenset[str]:
        """The DT_NEEDED entries that become paths: those of a program, without symbol versions.

        ld.so compares names when it checks symbol versions, so an entry with versions must stay a
        name (dl-version.c, find_needed).
        """
        if not self.interpreter:
            return frozenset()
        return frozenset(self.needed) - {file for file, _ in self.versions}

    def from_host(self, name: str) -> bool:
        """Return whether a needed library is part of glibc."""
        return name in host_libraries().glibc

    def searched(self, name: str) -> str | None:
        """Return the name that ld.so searches in the rpath; None if the entry is a path."""
        return None if "/" in name else name

    def own_name(self, copy: str | None) -> str | None:
        """Return the DT_SONAME to set: the file name of its bundled copy, or the old one."""
        return copy or self.soname


class NeededVersion(NamedTuple):
    """A version of symbols that a file needs, an Elf_Vernaux."""

    file: str  # the needed library, e.g. libm.so.6
    name: str  # e.g. GLIBC_2.35
    number: int  # the index of the version, which symbols have
    offset: int  # of the entry in the file, in bytes
