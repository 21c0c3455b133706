"""Rules for programs and libraries: the libraries they need, their rpaths, how they are loaded."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from rezbuild.audit.files import inside
from rezbuild.elf import sections, symbols
from rezbuild.elf.host_libraries import host_libraries
from rezbuild.elf.model import Elf
from rezbuild.elf.reader import ElfError
from rezbuild.errors import RezbuildError
from rezbuild.macho import signature
from rezbuild.macho.reader import MachO
from rezbuild.payload import formats
from rezbuild.payload.formats import Binary
from rezbuild.payload.relocate import DEPS
from rezbuild.util import words

# ld.so(8) replaces them by lib or lib64, and by the processor, of the host.
_TOKEN = re.compile(r"\$(?:LIB|PLATFORM)(?![A-Za-z0-9_])|\$\{(?:LIB|PLATFORM)\}")
# A possible argument of dlopen(3): a text between two zero bytes.
_LIBRARY = re.compile(rb"(?:/[\w.+/-]*/)?lib[\w.+-]*\.so(?:\.[0-9]+)*")
_SUFFIX = re.compile(rb"\.so(?:\.[0-9]+)*\0")
# The linker defines these symbols in each file (binutils' default linker scripts).
_LINKER_SYMBOLS = {"_init", "_fini", "_edata", "edata", "_end", "end", "_etext", "etext"}
_LINKER_SYMBOLS |= {
    "__bss_start",
    "_GLOBAL_OFFSET_TABLE_",
    "_DYNAMIC",
    "__data_start",
    "data_start",
}
_SHOWN = 8
# Most bytes of a path.
_LONGEST = 4096


class Binaries:
    """The programs and libraries of one tree.

    Attributes:
        files: The checked and readable ELF files, by their paths in the tree.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files: dict[str, Elf] = {}
        self._read: dict[Path, Binary] = {}

    def check(self, place: str) -> Iterator[tuple[str, str]]:
        """Check one file.

        Args:
            place: Its path in the tree.
        """
        path = self.root / place
        try:
            data = self._of(path)
        except RezbuildError as error:
            yield "elf-damaged" if isinstance(error, ElfError) else "macho-damaged", error.message
            return
        if data.interpreter and not path.stat().st_mode & 0o111:
            yield "mode", "it is a program that is not executable"
        if isinstance(data, MachO):
            if problem := signature.problem(data):
                yield "signature", problem
        else:
            self.files[place] = data
            yield from _memory(data)
            if data.interpreter and data.interpreter not in host_libraries().loaders:
                yield "interpreter", data.interpreter
            for name in data.helpers:
                yield "helper", name
        yield from self._search(data, path.parent)

    def link(self, place: str) -> Iterator[tuple[str, str]]:
        """Check a link to a library in another folder.

        ``$ORIGIN`` is then the folder of the link, unlike for a program. Unneeded rpath entries are
        reported for the file, not for the link.
        """
        path = self.root / place
        real = Path(os.path.realpath(path))
        if real.parent == path.parent or not formats.is_binary(real):
            return
        try:
            data = self._of(real)
        except RezbuildError:
            return
        if data.loadable and not data.interpreter:
            found = self._search(data, path.parent)
            yield from ((rule, text) for rule, text in found if rule == "needed-unresolved")

    def exported(self) -> Iterator[tuple[str, str, str]]:
        """Find libraries that export symbols of a bundled library.

        Yields path, rule and message.
        """
        bundled = {p: d for p, d in self.files.items() if p.startswith(f"{DEPS}/")}
        if not bundled:
            return
        theirs = {name: path for path, data in bundled.items() for name in _exports(data)}
        for path, data in self.files.items():
            if path not in bundled and data.type == "ET_DYN" and not data.interpreter:
                common = sorted(_exports(data) & set(theirs))
                if common:
                    shown = ", ".join(common[:_SHOWN]) + (", ..." if len(common) > _SHOWN else "")
                    whose = ", ".join(sorted({theirs[name] for name in common}))
                    yield (
                        path,
                        "symbol-exported",
                        f"{words.count(len(common), 'symbol')} of {whose}: {shown}",
                    )

    def loaded(self) -> Iterator[tuple[str, str, str]]:
        """Find libraries of the host that the files may open by dlopen(3).

        Yields path, rule and message.
        """
        own = {Path(place).name for place in self.files}
        own |= {data.soname for data in self.files.values() if data.soname}
        host = host_libraries()
        for place, data in self.files.items():
            known = {*data.needed, *own, *host.glibc, *host.known}
            for text in sorted(_texts(self.root / place)):
                name = os.path.basename(text)
                if text.startswith("/") and text not in host.dlopened:
                    yield place, "dlopen-absolute", text
                elif name not in known and name not in host.dlopened and not _is_of(name, own):
                    yield place, "dlopen-host", text

    def _of(self, path: Path) -> Binary:
        if path not in self._read:
            self._read[path] = formats.read(path)
        return self._read[path]

    def _search(self, data: Binary, origin: Path) -> Iterator[tuple[str, str]]:
        if data.runpath:
            yield "rpath-runpath", ":".join(data.runpath)
        used = set()
        for name in data.needed:
            hit = self._resolve(name, data, origin)
            if hit is not None:
                used.add(hit)
            elif data.from_host(name):
                continue
            elif name.startswith("/"):
                yield "needed-absolute", name
            else:
                yield from _not_found(name, data.SYSTEM)
        for element in (*data.rpath, *data.runpath):
            yield from self._element(element, data, origin, used)

    def _resolve(self, name: str, data: Binary, origin: Path) -> str | None:
        """Return the rpath entry that finds ``name`` in the tree, or "" for a path; ld.so(8)."""
        if data.searched(name) is None and not data.ORIGIN_PATTERN.match(name):
            return None
        found = formats.search(data, name, origin)
        return next((element for element, path in found if self._fits(path, data)), None)

    def _fits(self, path: Path, data: Binary) -> bool:
        """Whether a file is a library of the same machine type: ld.so ignores others."""
        if not inside(path, self.root) or not formats.is_binary(path):
            return False
        try:
            found = self._of(path)
        except RezbuildError:
            return False
        # The loader finds other files, too, and fails.
        return found.loadable and (found.bits, found.machine) == (data.bits, data.machine)

    def _element(
        self, element: str, data: Binary, origin: Path, used: set[str]
    ) -> Iterator[tuple[str, str]]:
        shown = element or "an empty element (the current folder)"
        token = _TOKEN.search(element)
        if token:
            yield "rpath-token", f"{shown} has {token[0]}"
            return
        if not data.ORIGIN_PATTERN.match(element):
            yield "rpath-absolute", f"{shown} does not start with {data.ORIGIN}"
        elif not inside(formats.expand(element, data, origin), self.root):
            yield "rpath-outside", f"{shown} leaves the payload"
        elif element not in used:
            yield "rpath-unneeded", f"{shown} finds nothing that the file needs"


def _memory(data: Elf) -> Iterator[tuple[str, str]]:
    if data.type not in ("ET_EXEC", "ET_DYN"):
        return
    if data.executable_stack:
        yield "stack-executable", "PT_GNU_STACK asks for an executable stack"
    if data.textrel:
        yield "text-relocation", "DT_TEXTREL"
    if data.misaligned:
        yield "segment-misaligned", "a segment's address and place in the file do not agree"
    if data.writable_and_executable:
        yield "write-execute", "a segment can be written and run"
    if data.dynamic and not data.relro:
        yield "relro", "no PT_GNU_RELRO: link it with -Wl,-z,relro"
    if data.dynamic and not data.bind_now:
        yield "bind-now", "neither DF_BIND_NOW nor DF_1_NOW: link it with -Wl,-z,now"


def _not_found(name: str, system: str) -> Iterator[tuple[str, str]]:
    reason = host_libraries().known.get(name)
    if reason is not None:
        yield "needed-host", f"{name} ({reason})"
    else:
        yield "needed-unresolved", f"{name} is not found by its own rpath and is not {system}'s"


def _texts(path: Path) -> set[str]:
    """Return the names of libraries among the constants of an ELF file."""
    try:
        return {name for data in sections.constants(path) for name in _names(data)}
    except ElfError:
        return set()  # reported for the file


def _names(data: bytes) -> Iterator[str]:
    # Search the rare end of the name: searching its beginning takes ten times as long.
    for match in _SUFFIX.finditer(data):
        begin = data.rfind(b"\0", max(0, match.start() - _LONGEST), match.start()) + 1
        text = data[begin : match.end() - 1]
        if _LIBRARY.fullmatch(text):
            yield os.fsdecode(text)


def _is_of(name: str, own: set[str]) -> bool:
    """Whether a library of the tree has the name with or without a version, e.g. libtcl8.6.so.1."""
    return any(other.startswith(f"{name}.") or name.startswith(f"{other}.") for other in own)


def _exports(data: Elf) -> frozenset[str]:
    try:
        return symbols.exported(data.path) - _LINKER_SYMBOLS
    except ElfError:
        return frozenset()  # reported for the file, if ld.so needs it
