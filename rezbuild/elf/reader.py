"""Read an ELF file as the dynamic linker does.

All data is read through the program headers, as ld.so does: section headers may be stripped.
Sources: the System V gABI, chapters 4 and 5, elf(5), and the LSB for `DT_VERNEED`.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from elftools.common.utils import struct_parse
from elftools.elf.constants import P_FLAGS
from elftools.elf.enums import ENUM_DT_FLAGS, ENUM_DT_FLAGS_1
from elftools.elf.structs import ELFStructs

from rezbuild.elf.model import Elf, NeededVersion
from rezbuild.errors import RezbuildError

MAGIC = b"\x7fELF"
# Real files have some dozens of entries, and paths of some hundred bytes. Without these limits, a
# damaged file could keep the reader busy for hours.
_MAX_ENTRIES = 1 << 12
_MAX_STRING = 1 << 16
# Tags of libraries that ld.so loads in addition to DT_NEEDED.
_HELPERS = ("DT_FILTER", "DT_AUXILIARY", "DT_AUDIT", "DT_DEPAUDIT")


class ElfError(RezbuildError):
    """An ELF file cannot be read, or is damaged."""

    exit_code = 8


def is_elf(path: Path) -> bool:
    """Return whether `path` is a regular file, not a symlink, that begins with the ELF magic.

    Return False for a file that cannot be read.
    """
    return magic(path) == MAGIC


def magic(path: Path) -> bytes:
    """Return the first four bytes of a regular file; none of a symlink or an unreadable file."""
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return b""
        with open(path, "rb", buffering=0) as stream:
            return stream.read(len(MAGIC))
    except OSError:
        return b""


def walk(root: Path, wanted: Callable[[Path], bool] = is_elf) -> Iterator[Path]:
    """Yield the ELF files below `root`, sorted by path; do not follow symlinks.

    Raises:
        ElfError: A folder cannot be listed.
    """
    paths = [
        Path(folder, name)
        for folder, _, names in os.walk(root, onerror=_unlistable)
        for name in names
    ]
    return (path for path in sorted(paths) if wanted(path))


def read(path: Path) -> Elf:
    """Return the properties of the ELF file at `path`.

    Raises:
        ElfError: The file cannot be read, is not an ELF file, or is damaged.
    """
    with open_image(path) as image:
        return image.describe(path)


def build_id(path: Path) -> str | None:
    """Return the build-id of the ELF file at `path` in hex, or None.

    Raises:
        ElfError: The file cannot be read, is not an ELF file, or is damaged.
    """
    with open_image(path) as image:
        return image.build_id()


@contextlib.contextmanager
def open_image(path: Path) -> Iterator[Image]:
    """Open a file as an `Image`; raise all errors of the block as `ElfError`."""
    try:
        with _open(path) as stream:
            yield Image(stream)
    except Exception as error:  # pyelftools raises many classes for damaged files
        reason = str(error) or type(error).__name__
        raise ElfError(
            f"cannot read {path} as an ELF file: {reason}",
            advice=["build or install its package again"],
        ) from error


def _open(path: Path) -> BinaryIO:
    # To open a FIFO would wait for its writer.
    if not path.is_file():
        raise ElfError("it is not a file")
    return open(path, "rb")


def _unlistable(error: OSError) -> NoReturn:
    raise ElfError(
        f"cannot list {error.filename}: {error.strerror}",
        advice=["make the folder readable, or choose another folder"],
    ) from error


@lru_cache(maxsize=16)
def _structs(
    little_endian: bool, bits: int, kind: tuple[str | int, str | int, str | int] | None = None
) -> ELFStructs:
    """Return pyelftools' structs for a kind of file (type, machine, OS ABI); slow, so cached.

    pyelftools' ELFFile cannot be used: some releases read the section headers.
    """
    structs = ELFStructs(little_endian=little_endian, elfclass=bits)
    structs.create_basic_structs()
    if kind:
        structs.create_advanced_structs(*kind)
    return structs


class Image:
    """An ELF file as the dynamic linker sees it: program headers, dynamic table and strings."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.size = os.fstat(stream.fileno()).st_size
        self.little_endian, self.bits = self._identity()
        self.header = self.parse(_structs(self.little_endian, self.bits).Elf_Ehdr, 0)
        kind = (self.header.e_type, self.header.e_machine, self.header.e_ident.EI_OSABI)
        self.structs = _structs(self.little_endian, self.bits, kind)
        self.segments = self._segments()
        self.dynamic = self._find("PT_DYNAMIC")
        self.tags = self._tags()

    def _identity(self) -> tuple[bool, int]:
        """Return whether the file is little-endian, and its word size in bits."""
        ident = self.bytes_at(0, len(MAGIC) + 2)
        classes, orders = {1: 32, 2: 64}, {1: True, 2: False}  # EI_CLASS, EI_DATA
        if ident[:4] != MAGIC:
            raise ElfError("it does not begin with the ELF magic")
        if len(ident) < 6 or ident[4] not in classes or ident[5] not in orders:
            raise ElfError("its word size or byte order is unknown")
        return orders[ident[5]], classes[ident[4]]

    def describe(self, path: Path) -> Elf:
        """Return the properties of the file."""
        return Elf(
            path=path,
            type=str(self.header["e_type"]),
            machine=str(self.header["e_machine"]),
            bits=self.bits,
            dynamic=self.dynamic is not None and not self._emptied(),
            debug=self._emptied(),
            interpreter=self._interpreter(),
            soname=self._text("DT_SONAME"),
            needed=tuple(self.string(value) for value in self._values("DT_NEEDED")),
            rpath=_split(self._text("DT_RPATH")),
            runpath=_split(self._text("DT_RUNPATH")),
            textrel=bool(self._values("DT_TEXTREL"))
            or self._flag("DT_FLAGS", ENUM_DT_FLAGS["DF_TEXTREL"]),
            executable_stack=self._executable_stack(),
            writable_and_executable=any(
                segment.p_flags & P_FLAGS.PF_W and segment.p_flags & P_FLAGS.PF_X
                for segment in self.loads()
            ),
            misaligned=any(
                segment.p_align > 1 and (segment.p_vaddr - segment.p_offset) % segment.p_align
                for segment in self.loads()
            ),
            helpers=tuple(self.string(value) for tag in _HELPERS for value in self._values(tag)),
            relro=self._find("PT_GNU_RELRO") is not None,
            bind_now=bool(self._values("DT_BIND_NOW"))
            or self._flag("DT_FLAGS", ENUM_DT_FLAGS["DF_BIND_NOW"])
            or self._flag("DT_FLAGS_1", ENUM_DT_FLAGS_1["DF_1_NOW"]),
            pie=str(self.header["e_type"]) == "ET_DYN"
            and (
                self._flag("DT_FLAGS_1", ENUM_DT_FLAGS_1["DF_1_PIE"])
                or self._interpreter() is not None
            ),
            versions=tuple(sorted({(one.file, one.name) for one in self.versions()})),
        )

    def check(self, what: str, offset: int, size: int) -> None:
        """Check that a part of the file is inside of it."""
        if offset + size > self.size:
            raise ElfError(f"its {what} ends at byte {offset + size} of {self.size}")

    def parse(self, struct: Any, offset: int) -> Any:
        """Parse one of `structs` at an offset."""
        return struct_parse(struct, self.stream, stream_pos=offset)

    def bytes_at(self, offset: int, size: int) -> bytes:
        """Return bytes of the file."""
        self.stream.seek(offset)
        return self.stream.read(size)

    def _segments(self) -> list[Any]:
        start, step, count = (self.header[name] for name in ("e_phoff", "e_phentsize", "e_phnum"))
        if count > _MAX_ENTRIES:
            raise ElfError(f"it claims to have {count} program headers")
        self.check("program header table", start, step * count)
        if count and step < self.structs.Elf_Phdr.sizeof():
            raise ElfError(f"its program headers are {step} bytes each")
        return [self.parse(self.structs.Elf_Phdr, start + step * i) for i in range(count)]

    def _find(self, kind: str) -> Any:
        return next((segment for segment in self.segments if segment.p_type == kind), None)

    def loads(self) -> list[Any]:
        """Return the PT_LOAD segments."""
        return [segment for segment in self.segments if segment.p_type == "PT_LOAD"]

    def _offset(self, what: str, address: int) -> int:
        """Return the offset in the file of the byte that is loaded at `address`."""
        for segment in self.loads():
            into = address - segment.p_vaddr
            if 0 <= into < segment.p_filesz:
                return int(segment.p_offset + into)
        raise ElfError(f"its {what} is at address {address:#x}, outside of the file")

    def loaded(self, what: str, address: int, size: int) -> bytes:
        """Return the bytes that are loaded at `address`; `what` is their name for errors."""
        if not size:
            return b""
        start = self._offset(what, address)
        self.check(what, start, size)
        return self.bytes_at(start, size)

    def _tags(self) -> list[tuple[Any, int]]:
        """Return the dynamic table up to DT_NULL."""
        if self.dynamic is None or self._emptied():
            return []
        start, size = self.dynamic.p_offset, self.dynamic.p_filesz
        self.check("dynamic table", start, size)
        step = self.structs.Elf_Dyn.sizeof()
        tags: list[tuple[Any, int]] = []
        for offset in range(start, start + size - step + 1, step):
            entry = self.parse(self.structs.Elf_Dyn, offset)
            if entry.d_tag == "DT_NULL":
                return tags
            tags.append((entry.d_tag, int(entry.d_val)))
            if len(tags) > _MAX_ENTRIES:
                raise ElfError(f"its dynamic table has more than {_MAX_ENTRIES} entries")
        return tags

    def _values(self, tag: str) -> list[int]:
        return [value for name, value in self.tags if name == tag]

    def last(self, tag: str) -> int | None:
        """Return the last value of a tag, or None: ld.so uses the last one of a repeated tag."""
        return next(reversed(self._values(tag)), None)

    def _flag(self, tag: str, bit: int) -> bool:
        return bool((self.last(tag) or 0) & bit)

    def _text(self, tag: str) -> str | None:
        value = self.last(tag)
        return None if value is None else self.string(value)

    def string(self, index: int) -> str:
        """Return the string at `index` of the dynamic string table."""
        address, size = self.last("DT_STRTAB"), self.last("DT_STRSZ")
        if address is None or size is None:
            raise ElfError("its dynamic table has no string table")
        start = self._offset("string table", address)
        self.check("string table", start, size)
        if index >= size:
            raise ElfError(f"it uses string {index} of a string table of {size} bytes")
        text, end, _ = self.bytes_at(start + index, min(size - index, _MAX_STRING)).partition(b"\0")
        if not end:
            raise ElfError(f"string {index} of its string table has no end")
        return os.fsdecode(text)

    def _interpreter(self) -> str | None:
        segment = self._find("PT_INTERP")
        # Debug data (objcopy --only-keep-debug) has the program header without its bytes.
        if segment is None or not segment.p_filesz:
            return None
        self.check("interpreter's name", segment.p_offset, segment.p_filesz)
        text = self.bytes_at(segment.p_offset, min(segment.p_filesz, _MAX_STRING))
        return os.fsdecode(text.partition(b"\0")[0])

    def _emptied(self) -> bool:
        """Return whether this is debug data: it has program headers without their bytes."""
        return self.dynamic is not None and not self.dynamic.p_filesz

    def build_id(self) -> str | None:
        """Return the linker's hash of the file in hex, or None. It is a note, see elf(5)."""
        for owner, kind, start, size in self.notes():
            if (owner, kind) == (b"GNU\0", "NT_GNU_BUILD_ID"):
                return self.bytes_at(start, size).hex()
        return None

    def notes(self) -> Iterator[tuple[bytes, str | int, int, int]]:
        """Yield owner, type, offset and size in bytes of each note, see elf(5)."""
        size = self.structs.Elf_Nhdr.sizeof()
        for segment in (s for s in self.segments if s.p_type == "PT_NOTE"):
            offset, end = segment.p_offset, segment.p_offset + segment.p_filesz
            self.check("notes", offset, segment.p_filesz)
            while offset + size <= end:
                note = self.parse(self.structs.Elf_Nhdr, offset)
                name = offset + size
                value = offset + _aligned(size + note.n_namesz, segment.p_align)
                owner = self.bytes_at(name, min(note.n_namesz, _MAX_STRING))
                yield owner, note.n_type, value, min(note.n_descsz, _MAX_STRING)
                offset += _aligned(value - offset + note.n_descsz, segment.p_align)

    def _executable_stack(self) -> bool:
        """Return whether the stack is executable; on x86, it is without PT_GNU_STACK."""
        segment = self._find("PT_GNU_STACK")
        if segment is None:
            return self.dynamic is not None and not self._emptied()
        return bool(segment.p_flags & P_FLAGS.PF_X)

    def versions(self) -> Iterator[NeededVersion]:
        """Yield the needed versions of DT_VERNEED.

        The table has an entry for each file, with a chain of versions.
        """
        address = self.last("DT_VERNEED")
        if address is None:
            return
        offset = self._offset("version table", address)
        budget = _MAX_ENTRIES
        for _ in range(self.last("DT_VERNEEDNUM") or 0):
            entry = self.parse(self.structs.Elf_Verneed, offset)
            budget -= entry.vn_cnt + 1
            if budget < 0:
                raise ElfError(f"its version table has more than {_MAX_ENTRIES} entries")
            file = self.string(entry.vn_file)
            yield from self._versions_of(file, offset, entry)
            if not entry.vn_next:
                return
            offset += entry.vn_next

    def _versions_of(self, file: str, offset: int, entry: Any) -> Iterator[NeededVersion]:
        offset += entry.vn_aux
        for _ in range(entry.vn_cnt):
            version = self.parse(self.structs.Elf_Vernaux, offset)
            yield NeededVersion(file, self.string(version.vna_name), int(version.vna_other), offset)
            if not version.vna_next:
                return
            offset += version.vna_next


def _aligned(size: int, alignment: int) -> int:
    """Return the size of a note, or of its header, with padding."""
    step = 8 if alignment == 8 else 4
    return -(-size // step) * step


def _split(path: str | None) -> tuple[str, ...]:
    """Return the folders of a search path; like ld.so, ignore an empty path."""
    return tuple(path.split(":")) if path else ()
