"""Read a Mach-O file as dyld does, with the Python package macholib (the extra ``macos``).

Sources: Apple's mach-o/loader.h, and dyld(1). Files for one machine with 64 bits are read; a
universal file begins with other bytes, which are also those of Java's class files.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from rezbuild.errors import MachineError, RezbuildError
from rezbuild.util import extras

MAGIC = b"\xcf\xfa\xed\xfe"
_SYSTEM = ("/usr/lib/", "/System/Library/")
_SEARCHED = "@rpath/"


class MachOError(RezbuildError):
    """A Mach-O file cannot be read, or is damaged."""

    exit_code = 8


@dataclass(frozen=True)
class MachO:
    """The properties of a Mach-O file, in the words of ELF (see `rezbuild.payload.formats`).

    Attributes:
        type: ``execute``, ``dylib``, ``bundle`` (an extension module), ``object`` ...
        soname: The own name (LC_ID_DYLIB), which files that are linked to it get as a need.
        signature: Offset and size of the code signature in the file.
    """

    ORIGIN: ClassVar[str] = "@loader_path"
    ORIGIN_PATTERN: ClassVar[re.Pattern[str]] = re.compile(r"@loader_path(?=/|$)")
    SUFFIX: ClassVar[str] = ".dylib"
    SYSTEM: ClassVar[str] = "macOS"

    path: Path
    type: str
    machine: str  # "ARM64" or "x86_64"
    interpreter: str | None
    soname: str | None
    needed: tuple[str, ...]
    rpath: tuple[str, ...]
    signature: tuple[int, int] | None
    bits: int = 64
    runpath: tuple[str, ...] = ()  # Mach-O has one kind of rpath

    @property
    def loadable(self) -> bool:
        """Whether dyld can load it for a file that needs it."""
        return self.type == "dylib"

    @property
    def as_paths(self) -> frozenset[str]:
        """All needed libraries: dyld opens a path without a search, and compares no names."""
        return frozenset(self.needed)

    def from_host(self, name: str) -> bool:
        """Return whether a needed library is part of macOS."""
        return name.startswith(_SYSTEM) and "/../" not in name

    def searched(self, name: str) -> str | None:
        """Return the name that dyld searches in the rpath; None if the need is a path."""
        return name[len(_SEARCHED) :] if name.startswith(_SEARCHED) else None

    def own_name(self, copy: str | None) -> str | None:
        """Return the name to set: it contains no folder, as a placeholder prefix would be one."""
        name = copy or os.path.basename(self.soname or "")
        return f"{_SEARCHED}{name}" if name else None


def read(path: Path) -> MachO:
    """Return the properties of the Mach-O file at `path`.

    Raises:
        MachOError: The file cannot be read or is damaged.
        MachineError: The package macholib is not installed.
    """
    try:
        from macholib.MachO import MachO as File
    except ImportError:
        raise MachineError(
            f"the Python package macholib, which reads {path.name}, is not installed",
            advice=[f"run: {extras.install_command('macos')}"],
        ) from None
    try:
        (header,) = File(str(path), allow_unknown_load_commands=True).headers
        return _describe(path, header)
    except Exception as error:  # macholib raises many classes for damaged files
        reason = str(error) or type(error).__name__
        raise MachOError(
            f"cannot read {path} as a Mach-O file: {reason}",
            advice=["build or install its package again"],
        ) from error


def _describe(path: Path, header: Any) -> MachO:
    from macholib import mach_o

    end, code = header.total_size, header.low_offset
    if end > code:
        raise MachOError(f"its load commands end at byte {end}, and its code begins at {code}")
    own = tuple(_texts(header, (mach_o.LC_ID_DYLIB,), "name"))
    loaders = tuple(_texts(header, (mach_o.LC_LOAD_DYLINKER,), "name"))
    needs = {number for number, kind in mach_o.LC_REGISTRY.items() if kind is mach_o.dylib_command}
    places = [
        (int(command.dataoff), int(command.datasize))
        for load, command, _ in header.commands
        if load.cmd == mach_o.LC_CODE_SIGNATURE
    ]
    return MachO(
        path=path,
        type=header.filetype,
        machine=mach_o.CPU_TYPE_NAMES.get(header.header.cputype, str(header.header.cputype)),
        # Some linkers write it into libraries, too.
        interpreter=loaders[0] if loaders and header.filetype == "execute" else None,
        soname=own[0] if own else None,
        needed=tuple(_texts(header, needs - {mach_o.LC_ID_DYLIB}, "name")),
        rpath=tuple(_texts(header, (mach_o.LC_RPATH,), "path")),
        signature=places[0] if places else None,
    )


def _texts(header: Any, numbers: Iterable[int], field: str) -> Iterator[str]:
    """Yield the text of each load command with one of the numbers."""
    for load, command, data in header.commands:
        if load.cmd in numbers:
            # The field counts from the beginning of the command, of which `data` is the end.
            start = int(getattr(command, field)) - int(load.cmdsize) + len(data)
            text, end, _ = data[start:].partition(b"\0")
            if start < 0 or not end:
                raise MachOError("a text of its load commands is outside of them")
            yield os.fsdecode(text)
