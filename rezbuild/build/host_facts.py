"""What there is of the host for a configure script to find."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from rezbuild.build.toolchain import Toolchain

_PKG_CONFIG = ("/usr/share/pkgconfig", "/usr/local/share/pkgconfig")
# What a compiler runs; gcc(1), -print-prog-name.
_PARTS = ("cc1", "cc1plus", "collect2", "as", "ld")
# gcc(1) and clang(1) say where they look for headers.
_SEARCHED = re.compile(r"(?ms)^#include <\.\.\.> search starts here:\n(.*)^End of search list")


def facts(tools: Toolchain) -> list[str]:
    """Sums of the compilers, libraries, headers and programs by name, size and time; the kernel.

    Returns:
        Words that are equal where all of it is.
    """
    headers = dict.fromkeys(("/usr/include", "/usr/local/include"))
    places = dict.fromkeys((*tools.path.split(":"), *_PKG_CONFIG))
    # What ld and pkg-config look into, and gcc does not name.
    for local in ("lib", "lib64", f"lib/{tools.machine}"):
        places |= dict.fromkeys((f"/usr/local/{local}", f"/usr/local/{local}/pkgconfig"))
    parts = []
    for compiler, language in ((tools.cc, "c"), (tools.cxx, "c++")):
        said = _run(tools, compiler, "-v", "-E", "-x", language, os.devnull)
        found = _SEARCHED.search(said)
        headers.update(
            dict.fromkeys(line.strip() for line in (found[1] if found else said).split("\n"))
        )
        libraries = re.search(r"(?m)^libraries: =(.*)", _run(tools, compiler, "-print-search-dirs"))
        for place in libraries[1].split(":") if libraries else ():
            places.update({place: None, f"{place}/pkgconfig": None})
        parts += [_run(tools, compiler, "--version"), _file(tools, compiler)]
        asked = [_run(tools, compiler, f"-print-prog-name={part}").strip() for part in _PARTS]
        parts += [_file(tools, name) for name in asked]
    total = hashlib.sha256()
    for folder in (*_real(places), *_below(_real(headers))):
        total.update(json.dumps([folder, sorted(_entries(folder))]).encode())
    kernel = os.uname()
    return [*parts, total.hexdigest(), kernel.release, kernel.machine, *_devices()]


def _run(tools: Toolchain, *argv: str) -> str:
    """All that a compiler says; one that cannot do it says so, the same each time."""
    env = {"PATH": tools.path, "LC_ALL": "C"}
    done = subprocess.run(
        argv, env=env, capture_output=True, text=True, errors="replace", check=False
    )
    return done.stdout + done.stderr


def _file(tools: Toolchain, name: str) -> str:
    path = (name if "/" in name else tools.which(name)) or os.devnull
    try:
        status = Path(path).stat()
    except OSError:
        return name
    return f"{os.path.realpath(path)} {status.st_size} {status.st_mtime_ns}"


def _real(places: Iterable[str]) -> list[str]:
    """Each folder once: /lib and /usr/lib are one on most."""
    return list(dict.fromkeys(os.path.realpath(place) for place in places if place))


def _below(places: Iterable[str]) -> Iterator[str]:
    """Folders and all below them; those behind links too, each once."""
    seen: set[str] = set()
    for place in places:
        for folder, folders, _ in os.walk(place, followlinks=True):
            real = os.path.realpath(folder)
            if real in seen:
                folders.clear()
                continue
            seen.add(real)
            folders.sort()
            yield folder


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


def _devices() -> Iterator[str]:
    """Of what scripts try: terminals, and shared memory, which semaphores are made in."""
    for place in ("/dev/ptc", "/dev/ptmx"):
        if Path(place).exists():
            yield place
    try:
        for descriptor in os.openpty():
            os.close(descriptor)
        yield "openpty"
    except OSError:
        pass
    try:
        with tempfile.TemporaryFile(dir="/dev/shm"):
            yield "shm"
    except OSError:
        pass
