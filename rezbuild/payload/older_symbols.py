"""Bind functions of glibc to an older version of theirs, if only they need the newer glibc.

A function that glibc has improved may have two versions, and a program that is compiled on a newer
host gets the newer one. Then one function can keep a payload from older hosts.
"""

from __future__ import annotations

from pathlib import Path

from rezbuild.elf import reader, symbols
from rezbuild.elf.reader import open_image
from rezbuild.payload.edit_files import writable

_MACHINE = "EM_X86_64"
_OLD = "GLIBC_2.2.5"
# The newer hypot has no error handling of SVID (matherr, _LIB_VERSION), which new programs cannot
# use since glibc 2.27 (its NEWS). Results and errno are the same.
_FUNCTIONS = {("libm.so.6", "GLIBC_2.35"): {"hypot"}}


def bind(payload: Path) -> None:
    """Edit the ELF files of a payload.

    Raises:
        rezbuild.elf.reader.ElfError: A file is damaged.
    """
    for path in reader.walk(payload):
        data = reader.read(path)
        newer = _FUNCTIONS.keys() & set(data.versions)
        if newer and data.machine == _MACHINE:
            named = symbols.versioned(path)
            for found in newer:
                used = {one.name for one in named if (one.library, one.version) == found}
                if used <= _FUNCTIONS[found]:
                    _rename(path, *found)


def _rename(path: Path, library: str, version: str) -> None:
    """Give an entry of the table of needed versions the name of the old version, and its hash."""
    with open_image(path) as image:
        entries = list(image.versions())
        # The table of strings has the old name, since almost every file needs it.
        old = next((entry for entry in entries if entry.name == _OLD), None)
        source = image.bytes_at(old.offset, 16) if old else b""
    if not source:
        return
    (place,) = (one.offset for one in entries if (one.file, one.name) == (library, version))
    with writable(path), path.open("r+b") as stream:
        # Elf_Vernaux: hash 4, flags 2, index 2, name 4, next 4 bytes.
        stream.seek(place)
        stream.write(source[:4])
        stream.seek(place + 8)
        stream.write(source[8:12])
