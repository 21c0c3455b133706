"""What there is of the host for a configure script to find."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from rezbuild import toolchain

_INCLUDE = ("/usr/include", "/usr/local/include")
_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64")
# Scripts of CPython and Tcl ask for terminals by these.
_DEVICES = ("/dev/ptc", "/dev/ptmx")


def facts(machine: str) -> list[str]:
    """Sums of the libraries, headers and programs by name, size and time; and the kernel.

    Args:
        machine: As the compiler calls it, ``x86_64-linux-gnu``.

    Returns:
        Words that are equal where all of it is.
    """
    places = [*_LIBRARIES, *(f"{place}/{machine}" for place in _LIBRARIES)]
    places += [f"{place}/pkgconfig" for place in (*places, "/usr/share")]
    places += toolchain.SYSTEM_PATH.split(":")
    total = hashlib.sha256()
    # /lib and /usr/lib are one folder on most.
    for folder in dict.fromkeys(os.path.realpath(place) for place in places):
        total.update(json.dumps([folder, sorted(_entries(folder))]).encode())
    for place in _INCLUDE:
        for folder, folders, _ in os.walk(place):
            folders.sort()
            total.update(json.dumps([folder, sorted(_entries(folder))]).encode())
    kernel = os.uname()
    devices = [place for place in _DEVICES if Path(place).exists()]
    return [total.hexdigest(), kernel.release, kernel.machine, *devices]


def _entries(folder: str) -> Iterator[tuple[str, int, int]]:
    """Names of files with sizes and times; a folder's own time says nothing."""
    try:
        with os.scandir(folder) as found:
            entries = list(found)
    except OSError:
        return
    for entry in entries:
        try:
            status = entry.stat()
        except OSError:
            # A link to nothing.
            yield entry.name, -1, 0
            continue
        if stat.S_ISREG(status.st_mode):
            yield entry.name, status.st_size, status.st_mtime_ns
