"""A read-only view of an ELF file: what the dynamic linker would make of it.

Everything is read through the program headers, as ld.so does; section headers may be stripped.
Sources: the System V gABI, chapters 4 and 5, elf(5), and the LSB for `DT_VERNEED`.
"""

from __future__ import annotations

import contextlib
import os
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import zstandard
from elftools.common.utils import struct_parse
from elftools.elf.constants import P_FLAGS, SH_FLAGS
from elftools.elf.enums import ENUM_DT_FLAGS, ENUM_DT_FLAGS_1
from elftools.elf.structs import ELFStructs

from rezbuild.errors import RezbuildError

MAGIC = b"\x7fELF"
# Real files hold some dozens of entries and paths of some hundred bytes. The ceilings are there for
# damaged files, which could keep the reader busy for hours.
_MAX_ENTRIES = 1 << 12
_MAX_STRING = 1 << 16
_MAX_NAME = 256
# The debug data of a python has sections of 20 MB.
_MAX_SECTION = 1 << 28
# ch_type, which older releases of pyelftools do not name.
_ZSTD = 2
# Each names a library that is loaded besides those of DT_NEEDED.
_HELPERS = ("DT_FILTER", "DT_AUXILIARY", "DT_AUDIT", "DT_DEPAUDIT")


class ElfError(RezbuildError):
    """An ELF file that cannot be read or makes no sense."""

    exit_code = 8


@dataclass(frozen=True)
class Elf:
    """What an ELF file says about itself; the names follow elf(5)."""

    path: Path
    type: str  # "ET_EXEC", "ET_DYN", "ET_REL", ...
    machine: str  # "EM_X86_64", ...
    bits: int  # 32 or 64
    dynamic: bool  # it has a PT_DYNAMIC segment, with something in it
    debug: bool  # it holds what debuggers read, and nothing that could be loaded
    interpreter: str | None
    soname: str | None
    needed: tuple[str, ...]  # in the file's order
    rpath: tuple[str, ...]  # an empty element stands for the current folder, see ld.so(8)
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


def is_elf(path: Path) -> bool:
    """Whether `path` is a regular file, not a symlink, that starts as ELF files do.

    What cannot be read is no ELF file.
    """
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return False
        with open(path, "rb", buffering=0) as stream:
            return stream.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def walk(root: Path) -> Iterator[Path]:
    """Every ELF file below `root`, sorted by path; symlinks are not followed.

    Raises:
        ElfError: A folder cannot be listed.
    """
    paths = [
        Path(folder, name)
        for folder, _, names in os.walk(root, onerror=_unlistable)
        for name in names
    ]
    return (path for path in sorted(paths) if is_elf(path))


def read(path: Path) -> Elf:
    """What the ELF file at `path` says about itself.

    Raises:
        ElfError: The file cannot be read, is no ELF file or is damaged.
    """
    with reading(path) as image:
        return image.describe(path)


def build_id(path: Path) -> str | None:
    """The build-id of the ELF file at `path`, as hex digits; None where it has none.

    Raises:
        ElfError: The file cannot be read, is no ELF file or is damaged.
    """
    with reading(path) as image:
        return image.build_id()


def compressed_sections(path: Path) -> Iterator[tuple[str, bytes]]:
    """The names and contents of the compressed sections of the ELF file at `path`.

    Raises:
        ElfError: The file is damaged, or a section is larger than any real one.
    """
    with reading(path) as image:
        yield from image.compressed_sections()


@contextlib.contextmanager
def reading(path: Path) -> Iterator[Image]:
    """The opened file; whatever is wrong with it is an `ElfError`."""
    try:
        with _open(path) as stream:
            yield Image(stream)
    except Exception as error:  # pyelftools lets every kind escape on damaged files
        reason = str(error) or type(error).__name__
        raise ElfError(
            f"cannot read {path} as an ELF file: {reason}",
            advice=["build or install again what this file belongs to"],
        ) from error


def _open(path: Path) -> BinaryIO:
    # Opening a fifo would wait for its writer.
    if not path.is_file():
        raise ElfError("it is not a file")
    return open(path, "rb")


def _unlistable(error: OSError) -> NoReturn:
    raise ElfError(
        f"cannot list {error.filename}: {error.strerror}",
        advice=["make the folder readable, or name another one"],
    ) from error


@lru_cache(maxsize=16)
def _structs(
    little_endian: bool, bits: int, kind: tuple[str | int, str | int, str | int] | None = None
) -> ELFStructs:
    """The shapes of a kind of file (type, machine, OS ABI); to make them takes most of a reading.

    pyelftools' own ELFFile is no use here: some releases of it read the section headers.
    """
    structs = ELFStructs(little_endian=little_endian, elfclass=bits)
    structs.create_basic_structs()
    if kind:
        structs.create_advanced_structs(*kind)
    return structs


class Image:
    """The file as the dynamic linker maps it: program headers, dynamic table and its strings."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.size = os.fstat(stream.fileno()).st_size
        self.little_endian, self.bits = self._identity()
        self.header = self._parse(_structs(self.little_endian, self.bits).Elf_Ehdr, 0)
        kind = (self.header.e_type, self.header.e_machine, self.header.e_ident.EI_OSABI)
        self.structs = _structs(self.little_endian, self.bits, kind)
        self.segments = self._segments()
        self.dynamic = self._find("PT_DYNAMIC")
        self.tags = self._tags()

    def _identity(self) -> tuple[bool, int]:
        """Whether the file is little-endian, and its word size in bits."""
        ident = self._bytes(0, len(MAGIC) + 2)
        classes, orders = {1: 32, 2: 64}, {1: True, 2: False}  # EI_CLASS, EI_DATA
        if ident[:4] != MAGIC:
            raise ElfError("it does not start as ELF files do")
        if len(ident) < 6 or ident[4] not in classes or ident[5] not in orders:
            raise ElfError("its word size or byte order is unknown")
        return orders[ident[5]], classes[ident[4]]

    def describe(self, path: Path) -> Elf:
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
                for segment in self._loads()
            ),
            misaligned=any(
                segment.p_align > 1 and (segment.p_vaddr - segment.p_offset) % segment.p_align
                for segment in self._loads()
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
            versions=tuple(sorted({(file, name) for file, name, _ in self.versions()})),
        )

    def _check(self, what: str, offset: int, size: int) -> None:
        if offset + size > self.size:
            raise ElfError(f"its {what} ends at byte {offset + size} of {self.size}")

    def _parse(self, struct: Any, offset: int) -> Any:
        return struct_parse(struct, self.stream, stream_pos=offset)

    def _bytes(self, offset: int, size: int) -> bytes:
        self.stream.seek(offset)
        return self.stream.read(size)

    def _segments(self) -> list[Any]:
        start, step, count = (self.header[name] for name in ("e_phoff", "e_phentsize", "e_phnum"))
        if count > _MAX_ENTRIES:
            raise ElfError(f"it claims to have {count} program headers")
        self._check("program header table", start, step * count)
        if count and step < self.structs.Elf_Phdr.sizeof():
            raise ElfError(f"its program headers are {step} bytes each")
        return [self._parse(self.structs.Elf_Phdr, start + step * i) for i in range(count)]

    def _find(self, kind: str) -> Any:
        return next((segment for segment in self.segments if segment.p_type == kind), None)

    def _loads(self) -> list[Any]:
        return [segment for segment in self.segments if segment.p_type == "PT_LOAD"]

    def _offset(self, what: str, address: int) -> int:
        """Where the file keeps what is loaded at `address`."""
        for segment in self._loads():
            into = address - segment.p_vaddr
            if 0 <= into < segment.p_filesz:
                return int(segment.p_offset + into)
        raise ElfError(f"its {what} lies at address {address:#x}, which is not in the file")

    def loaded(self, what: str, address: int, size: int) -> bytes:
        """The bytes that are loaded at `address`; `what` they are is for the error."""
        if not size:
            return b""
        start = self._offset(what, address)
        self._check(what, start, size)
        return self._bytes(start, size)

    def _tags(self) -> list[tuple[Any, int]]:
        """The dynamic table up to its DT_NULL."""
        if self.dynamic is None or self._emptied():
            return []
        start, size = self.dynamic.p_offset, self.dynamic.p_filesz
        self._check("dynamic table", start, size)
        step = self.structs.Elf_Dyn.sizeof()
        tags: list[tuple[Any, int]] = []
        for offset in range(start, start + size - step + 1, step):
            entry = self._parse(self.structs.Elf_Dyn, offset)
            if entry.d_tag == "DT_NULL":
                return tags
            tags.append((entry.d_tag, int(entry.d_val)))
            if len(tags) > _MAX_ENTRIES:
                raise ElfError(f"its dynamic table has more than {_MAX_ENTRIES} entries")
        return tags

    def _values(self, tag: str) -> list[int]:
        return [value for name, value in self.tags if name == tag]

    def last(self, tag: str) -> int | None:
        """The value that counts: ld.so keeps the last one of a tag that it expects once."""
        return next(reversed(self._values(tag)), None)

    def _flag(self, tag: str, bit: int) -> bool:
        return bool((self.last(tag) or 0) & bit)

    def _text(self, tag: str) -> str | None:
        value = self.last(tag)
        return None if value is None else self.string(value)

    def string(self, index: int) -> str:
        """The string at `index` of the dynamic string table."""
        address, size = self.last("DT_STRTAB"), self.last("DT_STRSZ")
        if address is None or size is None:
            raise ElfError("its dynamic table names no string table")
        start = self._offset("string table", address)
        self._check("string table", start, size)
        if index >= size:
            raise ElfError(f"it uses string {index} of a string table of {size} bytes")
        text, end, _ = self._bytes(start + index, min(size - index, _MAX_STRING)).partition(b"\0")
        if not end:
            raise ElfError(f"string {index} of its string table has no end")
        return os.fsdecode(text)

    def _interpreter(self) -> str | None:
        segment = self._find("PT_INTERP")
        # A file of debug symbols (objcopy --only-keep-debug) keeps the header without the bytes.
        if segment is None or not segment.p_filesz:
            return None
        self._check("interpreter's name", segment.p_offset, segment.p_filesz)
        text = self._bytes(segment.p_offset, min(segment.p_filesz, _MAX_STRING))
        return os.fsdecode(text.partition(b"\0")[0])

    def _emptied(self) -> bool:
        """``objcopy --only-keep-debug`` keeps the program headers without their bytes."""
        return self.dynamic is not None and not self.dynamic.p_filesz

    def build_id(self) -> str | None:
        """The hash that the linker has put into the file, as hex digits: a note, elf(5)."""
        for owner, kind, start, size in self.notes():
            if (owner, kind) == (b"GNU\0", "NT_GNU_BUILD_ID"):
                return self._bytes(start, size).hex()
        return None

    def notes(self) -> Iterator[tuple[bytes, str | int, int, int]]:
        """Owner, type, offset and size in bytes of each note, elf(5)."""
        size = self.structs.Elf_Nhdr.sizeof()
        for segment in (s for s in self.segments if s.p_type == "PT_NOTE"):
            offset, end = segment.p_offset, segment.p_offset + segment.p_filesz
            self._check("notes", offset, segment.p_filesz)
            while offset + size <= end:
                note = self._parse(self.structs.Elf_Nhdr, offset)
                name = offset + size
                value = offset + _aligned(size + note.n_namesz, segment.p_align)
                owner = self._bytes(name, min(note.n_namesz, _MAX_STRING))
                yield owner, note.n_type, value, min(note.n_descsz, _MAX_STRING)
                offset += _aligned(value - offset + note.n_descsz, segment.p_align)

    def bytes_of(self, start: int, size: int) -> bytes:
        """Some bytes of the file, as a note has them."""
        return self._bytes(start, size)

    def constants(self) -> Iterator[bytes]:
        """What is loaded and never written, but for the strings of the dynamic table."""
        start, size = self.last("DT_STRTAB"), self.last("DT_STRSZ")
        for segment in self._loads():
            if segment.p_flags & P_FLAGS.PF_W:
                continue
            self._check("segment", segment.p_offset, segment.p_filesz)
            data = self._bytes(segment.p_offset, segment.p_filesz)
            if start is not None and size is not None:
                cut = start - segment.p_vaddr
                if 0 <= cut < len(data):
                    yield data[cut + size :]
                    data = data[:cut]
            yield data

    def compressed_sections(self) -> Iterator[tuple[str, bytes]]:
        """Names and contents: the gABI's SHF_COMPRESSED, and the older .zdebug of GNU."""
        sections = self._sections()
        if not sections or self.header.e_shstrndx >= len(sections):
            return
        names = sections[self.header.e_shstrndx]
        for section in sections:
            if section.sh_type == "SHT_NOBITS":
                continue
            self._check("section", section.sh_offset, section.sh_size)
            if section.sh_flags & SH_FLAGS.SHF_COMPRESSED:
                head = self._parse(self.structs.Elf_Chdr, section.sh_offset)
                size = self.structs.Elf_Chdr.sizeof()
                packed = self._bytes(section.sh_offset + size, section.sh_size - size)
                zstd = head.ch_type in {"ELFCOMPRESS_ZSTD", _ZSTD}
                yield self._name(names, section), _inflated(packed, zstd=zstd)
            elif self._name(names, section).startswith(".zdebug"):
                packed = self._bytes(section.sh_offset + 12, section.sh_size - 12)
                yield self._name(names, section), _inflated(packed, zstd=False)

    def _sections(self) -> list[Any]:
        start, step, count = (self.header[name] for name in ("e_shoff", "e_shentsize", "e_shnum"))
        if not start or not count:
            return []
        self._check("section header table", start, step * count)
        if step < self.structs.Elf_Shdr.sizeof():
            raise ElfError(f"its section headers are {step} bytes each")
        return [self._parse(self.structs.Elf_Shdr, start + step * i) for i in range(count)]

    def _name(self, names: Any, section: Any) -> str:
        if section.sh_name >= names.sh_size:
            return ""
        most = min(names.sh_size - section.sh_name, _MAX_NAME)
        text = self._bytes(names.sh_offset + section.sh_name, most)
        return os.fsdecode(text.partition(b"\0")[0])

    def _executable_stack(self) -> bool:
        """Without PT_GNU_STACK, Linux gives a dynamic object the default of x86: executable."""
        segment = self._find("PT_GNU_STACK")
        if segment is None:
            return self.dynamic is not None and not self._emptied()
        return bool(segment.p_flags & P_FLAGS.PF_X)

    def versions(self) -> Iterator[tuple[str, str, int]]:
        """File, version and the version's number here: the entries of DT_VERNEED.

        Each is a file with a chain of versions needed of it.
        """
        address = self.last("DT_VERNEED")
        if address is None:
            return
        offset = self._offset("version table", address)
        budget = _MAX_ENTRIES
        for _ in range(self.last("DT_VERNEEDNUM") or 0):
            entry = self._parse(self.structs.Elf_Verneed, offset)
            budget -= entry.vn_cnt + 1
            if budget < 0:
                raise ElfError(f"its version table has more than {_MAX_ENTRIES} entries")
            file = self.string(entry.vn_file)
            yield from ((file, *version) for version in self._version_names(offset, entry))
            if not entry.vn_next:
                return
            offset += entry.vn_next

    def _version_names(self, offset: int, entry: Any) -> Iterator[tuple[str, int]]:
        offset += entry.vn_aux
        for _ in range(entry.vn_cnt):
            version = self._parse(self.structs.Elf_Vernaux, offset)
            yield self.string(version.vna_name), int(version.vna_other)
            if not version.vna_next:
                return
            offset += version.vna_next


def _inflated(packed: bytes, *, zstd: bool) -> bytes:
    """The content of a compressed section.

    Raises:
        ElfError: It is damaged, or larger than any real one.
    """
    try:
        if zstd:
            reader = zstandard.ZstdDecompressor(max_window_size=_MAX_SECTION).stream_reader(packed)
            found = reader.read(_MAX_SECTION + 1)
        else:
            found = zlib.decompressobj().decompress(packed, _MAX_SECTION + 1)
    except (zlib.error, zstandard.ZstdError) as error:
        raise ElfError(f"a compressed section is damaged: {error}") from None
    if len(found) > _MAX_SECTION:
        raise ElfError(f"a compressed section holds more than {_MAX_SECTION} bytes")
    return found


def _aligned(size: int, alignment: int) -> int:
    """The size of a note, or of its beginning, with what fills it up."""
    step = 8 if alignment == 8 else 4
    return -(-size // step) * step


def _split(path: str | None) -> tuple[str, ...]:
    """The folders of a search path; ld.so ignores one that is empty altogether."""
    return tuple(path.split(":")) if path else ()
