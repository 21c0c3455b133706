"""The formats of programs and libraries: ELF, and Mach-O in the words of ELF.

Relocation, bundling and the audit of needs use these functions, and what both classes have: what a
file needs and what of it comes from the host (`needed`, `from_host`), where it looks (`rpath`,
`searched`, `as_paths`), and its own name (`soname`, `own_name`). `edit_files` sets them.
"""

from __future__ import annotations

import os
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


def expand(text: str, data: Binary, origin: Path) -> Path:
    """Return the real path for an element of an rpath, or for a need that is a path.

    Args:
        text: The element, e.g. ``$ORIGIN/../lib``.
        data: The file that has it.
        origin: The folder of the file.
    """
    return Path(os.path.realpath(data.ORIGIN_PATTERN.sub(lambda _: str(origin), text)))


def search(data: Binary, name: str, origin: Path) -> Iterator[tuple[str, Path]]:
    """Yield the real paths where the loader looks for a need of a file, in its order; ld.so(8).

    Args:
        data: The file.
        name: The need.
        origin: The folder of the file.

    Yields:
        The element of the rpath, or "" for a need that is a path; and the path.
    """
    searched = data.searched(name)
    if searched is None:
        yield "", expand(name, data, origin)
        return
    for element in (*data.rpath, *data.runpath):
        yield element, Path(os.path.realpath(expand(element, data, origin) / searched))
