"""Rules over ELF files: what they need, where it is found, how they are loaded."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from rezbuild import elf, symbols
from rezbuild.audit.files import inside
from rezbuild.elf import Elf, ElfError
from rezbuild.libraries import host_libraries
from rezbuild.relocate import DEPS

# As glibc reads it: in braces, or with nothing behind it that could belong to the name.
_ORIGIN = re.compile(r"\$ORIGIN(?![A-Za-z0-9_])|\$\{ORIGIN\}")
# Made by the linker in each file that it makes (binutils' default linker scripts).
_LINKERS_OWN = {"_init", "_fini", "_edata", "edata", "_end", "end", "_etext", "etext"}
_LINKERS_OWN |= {"__bss_start", "_GLOBAL_OFFSET_TABLE_", "_DYNAMIC", "__data_start", "data_start"}
_SHOWN = 8


class Binaries:
    """The ELF files of one tree.

    Attributes:
        files: Those that have been checked and could be read, by their paths in the tree.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files: dict[str, Elf] = {}
        self._read: dict[Path, Elf] = {}

    def check(self, place: str) -> Iterator[tuple[str, str]]:
        """What is wrong with one file.

        Args:
            place: Its path in the tree.
        """
        path = self.root / place
        try:
            data = self._of(path)
        except ElfError as error:
            yield "elf-damaged", error.message
            return
        self.files[place] = data
        yield from _memory(data)
        if data.interpreter and data.interpreter not in host_libraries().loaders:
            yield "interpreter", data.interpreter
        if data.interpreter and not path.stat().st_mode & 0o111:
            yield "mode", "it is a program, and nobody can run it"
        for name in data.helpers:
            yield "helper", name
        if data.dynamic:
            yield from self._search(data, path.parent)

    def link(self, place: str) -> Iterator[tuple[str, str]]:
        """What is wrong with a library when it is opened by a link elsewhere.

        ``$ORIGIN`` is then the link's folder (of a program it isn't). What it has in vain is said
        of the file itself.
        """
        path = self.root / place
        real = Path(os.path.realpath(path))
        if real.parent == path.parent or not elf.is_elf(real):
            return
        try:
            data = self._of(real)
        except ElfError:
            return
        if data.dynamic and not data.interpreter:
            found = self._search(data, path.parent)
            yield from ((rule, text) for rule, text in found if rule == "needed-unresolved")

    def exported(self) -> Iterator[tuple[str, str, str]]:
        """Which of the tree's own libraries export what belongs to a bundled one.

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
                    yield path, "symbol-exported", f"{len(common)} symbols of {whose}: {shown}"

    def _of(self, path: Path) -> Elf:
        if path not in self._read:
            self._read[path] = elf.read(path)
        return self._read[path]

    def _search(self, data: Elf, origin: Path) -> Iterator[tuple[str, str]]:
        if data.runpath:
            yield "rpath-runpath", ":".join(data.runpath)
        used = set()
        for name in data.needed:
            hit = self._resolve(name, data, origin)
            if hit is not None:
                used.add(hit)
            elif name.startswith("/"):
                yield "needed-absolute", name
            elif name not in host_libraries().glibc:
                yield from _not_found(name)
        for element in (*data.rpath, *data.runpath):
            yield from self._element(element, origin, used)

    def _resolve(self, name: str, data: Elf, origin: Path) -> str | None:
        """The rpath element that finds ``name`` inside the tree ("" for a path); ld.so(8)."""
        if "/" in name:
            found = _ORIGIN.match(name) and self._fits(_expand(name, origin), data)
            return "" if found else None
        for element in (*data.rpath, *data.runpath):
            if self._fits(_expand(element, origin) / name, data):
                return element
        return None

    def _fits(self, path: Path, data: Elf) -> bool:
        """Whether a library of the same kind is there: ld.so passes over other machines' ones."""
        real = Path(os.path.realpath(path))
        if not inside(real, self.root) or not elf.is_elf(real):
            return False
        try:
            found = self._of(real)
        except ElfError:
            return False
        return (found.bits, found.machine) == (data.bits, data.machine)

    def _element(self, element: str, origin: Path, used: set[str]) -> Iterator[tuple[str, str]]:
        shown = element or "an empty element (the current folder)"
        if not _ORIGIN.match(element):
            yield "rpath-absolute", f"{shown} does not start with $ORIGIN"
        elif not inside(_expand(element, origin), self.root):
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


def _not_found(name: str) -> Iterator[tuple[str, str]]:
    reason = host_libraries().known.get(name)
    if reason is not None:
        yield "needed-host", f"{name} ({reason})"
    else:
        yield "needed-unresolved", f"{name} is not found by its own rpath and is not glibc's"


def _exports(data: Elf) -> frozenset[str]:
    try:
        return symbols.exported(data.path) - _LINKERS_OWN
    except ElfError:
        return frozenset()  # said of the file itself, where it matters to ld.so


def _expand(text: str, origin: Path) -> Path:
    return Path(os.path.realpath(_ORIGIN.sub(lambda _: str(origin), text)))
