"""The formats of programs and libraries; today, that is ELF.

Relocation, bundling and the audit of needs use these functions, and what the class of each format
has: what a file needs and what of it comes from the host (`needed`, `from_host`), where it looks
(`rpath`, `searched`, `as_paths`), and its own name (`soname`, `own_name`). `edit_files` sets them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rezbuild.elf import reader as elf
from rezbuild.elf.model import Elf

Binary = Elf
MAGICS = (elf.MAGIC,)


def is_binary(path: Path) -> bool:
    """Return whether a file is a program, a library or the like, and no link."""
    return elf.magic(path) in MAGICS


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
    return elf.read(path)
