"""The formats of programs and libraries: ELF, and Mach-O in the words of ELF.

Relocation, bundling and the audit of needs use these functions, and what both classes have: what a
file needs and what of it comes from the host (`needed`, `from_host`), where it looks (`rpath`,
`searched`, `as_paths`), and its own name (`soname`, `own_name`). `edit_files` sets them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Union

from rezbuild.elf import reader as elf
from rezbuild.elf.model import Elf
from rezbuild.macho import reader as macho
from rezbuild.macho.reader import MachO

Binary = Union[Elf, MachO]
MAGICS = (elf.MAGIC, macho.MAGIC)


def is_binary(path: Path) -> bool:
    """Return whether a file is a program, a library or the like, and no link."""
    return elf.magic(path) in MAGICS


def is_macho(path: Path) -> bool:
    """Return whether a file is a Mach-O file, and no link."""
    return elf.magic(path) == macho.MAGIC


def walk(root: Path) -> Iterator[Path]:
    """Yield the binary files below a folder, sorted by path; do not follow links.

    Raises:
        rezbuild.elf.reader.ElfError: A folder cannot be listed.
    """
    return elf.walk(root, is_binary)


def read(path: Path) -> Binary:
    """Return the properties of a binary file.

    Raises:
        RezbuildError: The file cannot be read or is damaged.
    """
    return macho.read(path) if is_macho(path) else elf.read(path)
