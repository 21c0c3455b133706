"""Bytes of an ELF file that may contain paths or names: constants and compressed sections.

Compressed sections are the only data for which rezbuild reads section headers.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zstandard
from elftools.elf.constants import P_FLAGS, SH_FLAGS

from rezbuild.elf.reader import ElfError, Image, open_image

_MAX_NAME = 256
# The debug data of a python has sections of 20 MB.
_MAX_SECTION = 1 << 28
# ch_type of zstd; older releases of pyelftools have no name for it.
_ZSTD = 2
# The header of a .zdebug section: "ZLIB" and eight bytes with the size.
_ZDEBUG_HEADER = 12


def constants(path: Path) -> Iterator[bytes]:
    """Yield the read-only bytes that are loaded, without the dynamic string table.

    Raises:
        ElfError: The file cannot be read, or is damaged.
    """
    with open_image(path) as image:
        start, size = image.last("DT_STRTAB"), image.last("DT_STRSZ")
        for segment in image.loads():
            if segment.p_flags & P_FLAGS.PF_W:
                continue
            image.check("segment", segment.p_offset, segment.p_filesz)
            data = image.bytes_at(segment.p_offset, segment.p_filesz)
            if start is not None and size is not None:
                cut = start - segment.p_vaddr
                if 0 <= cut < len(data):
                    yield data[cut + size :]
                    data = data[:cut]
            yield data


def compressed_sections(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each compressed section: SHF_COMPRESSED (gABI), or .zdebug (GNU).

    Raises:
        ElfError: The file is damaged, or a section is larger than any real one.
    """
    with open_image(path) as image:
        sections = _sections(image)
        if not sections or image.header.e_shstrndx >= len(sections):
            return
        names = sections[image.header.e_shstrndx]
        for section in sections:
            if section.sh_type == "SHT_NOBITS":
                continue
            start, size = section.sh_offset, section.sh_size
            image.check("section", start, size)
            name = _name(image, names, section)
            if section.sh_flags & SH_FLAGS.SHF_COMPRESSED:
                header = image.parse(image.structs.Elf_Chdr, start)
                skip = image.structs.Elf_Chdr.sizeof()
                zstd = header.ch_type in {"ELFCOMPRESS_ZSTD", _ZSTD}
                yield name, _decompress(image.bytes_at(start + skip, size - skip), zstd=zstd)
            elif name.startswith(".zdebug"):
                packed = image.bytes_at(start + _ZDEBUG_HEADER, size - _ZDEBUG_HEADER)
                yield name, _decompress(packed, zstd=False)


def _sections(image: Image) -> list[Any]:
    start, step, count = (image.header[name] for name in ("e_shoff", "e_shentsize", "e_shnum"))
    if not start or not count:
        return []
    image.check("section header table", start, step * count)
    if step < image.structs.Elf_Shdr.sizeof():
        raise ElfError(f"its section headers are {step} bytes each")
    return [image.parse(image.structs.Elf_Shdr, start + step * i) for i in range(count)]


def _name(image: Image, names: Any, section: Any) -> str:
    if section.sh_name >= names.sh_size:
        return ""
    size = min(names.sh_size - section.sh_name, _MAX_NAME)
    text = image.bytes_at(names.sh_offset + section.sh_name, size)
    return os.fsdecode(text.partition(b"\0")[0])


def _decompress(packed: bytes, *, zstd: bool) -> bytes:
    """Return the content of a compressed section.

    Raises:
        ElfError: The section is damaged, or larger than any real one.
    """
    try:
        if zstd:
            reader = zstandard.ZstdDecompressor(max_window_size=_MAX_SECTION).stream_reader(packed)
            content = reader.read(_MAX_SECTION + 1)
        else:
            content = zlib.decompressobj().decompress(packed, _MAX_SECTION + 1)
    except (zlib.error, zstandard.ZstdError) as error:
        raise ElfError(f"a compressed section is damaged: {error}") from None
    if len(content) > _MAX_SECTION:
        raise ElfError(f"a compressed section holds more than {_MAX_SECTION} bytes")
    return content
