"""Compilers that build for an older glibc than the host's, e.g. 2.28 on a host with 2.36.

The system's compiler compiles, so PGO, LTO, hardening and ccache work as usual. A wrapper with its
name is before it on the build's PATH and passes a sysroot (`rezbuild.build.glibc_sysroot`), which
has headers of the older version, and libraries with its symbols only.

The sysroot lacks functions that are newer, even on hosts that have them. newer_functions.c defines
those that programs would miss: they call the host's function, or the kernel.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rezbuild.build import glibc_sysroot
from rezbuild.errors import MachineError
from rezbuild.files import locks
from rezbuild.util.glibc_version import host_glibc, number

if TYPE_CHECKING:
    from rezbuild.build.toolchain import Toolchain

# The oldest version that ziglang has.
OLDEST = (2, 17)
# Some builds name the host's folders, e.g. setup.py of CPython 3.11. Headers of two versions of
# glibc do not fit together.
_WRAPPER = """\
#!/bin/sh
for word; do
    shift
    case $word in
        -I/usr/include | -I/usr/include/*-linux-gnu | -I/usr/local/include) ;;
        *) set -- "$@" "$word" ;;
    esac
done
exec {command} "$@" {last}
"""
# Scripts call them by these names, whatever CC is.
COMPILERS = ("gcc", "g++", "cc", "c++", "clang", "clang++")


def describe(floor: str) -> str:
    """Return a floor for fingerprints and records, e.g. ``2.28 (ziglang 0.17.1)``.

    It is "" for the host's own version, which needs no sysroot.

    Raises:
        MachineError: ziglang is not installed, or the host's own glibc is older than the floor.
    """
    host = host_glibc()
    if floor != host:
        if not host or not OLDEST <= number(floor) <= number(host):
            has = host or "another C library"
            raise MachineError(
                f"glibc {floor} is not a possible --glibc: this host has {has}",
                advice=["name a version from 2.17 to the host's, or build on a newer host"],
            )
        glibc_sysroot.installed_version()
    return describe_for(floor, host)


def describe_for(floor: str | None, host: str) -> str:
    """Return what `describe` returns on another host, e.g. on a worker.

    Args:
        floor: The glibc to build for, if not the host's.
        host: The glibc of that host.
    """
    if not floor or floor == host:
        return ""
    return f"{floor} (ziglang {glibc_sysroot.ZIGLANG})"


def wrap(tools: Toolchain, floor: str, cache: Path) -> Toolchain:
    """Return the same compilers, as wrappers that build for the floor. The cache keeps them.

    Args:
        tools: The compilers.
        floor: A version of glibc, e.g. ``2.28``.
        cache: Its folder ``glibc`` is used.

    Raises:
        ChecksumError: The files of ziglang are not those of its pinned release.
        MachineError: ziglang or the compiler failed.
    """
    cc, cxx = os.path.basename(tools.cc), os.path.basename(tools.cxx)
    programs = {name: tools.which(name) for name in COMPILERS}
    programs |= {cc: tools.which(tools.cc), cxx: tools.which(tools.cxx)}
    key = glibc_sysroot.inputs(tools) + f"{programs}\n".encode() + Path(__file__).read_bytes()
    place = cache / "glibc" / f"{floor}-{hashlib.sha256(key).hexdigest()[:16]}"
    place.parent.mkdir(parents=True, exist_ok=True)
    with locks.open_lock(place.with_name(f"{place.name}.lock"), lambda _: None):
        if not place.is_dir():
            partial = place.with_name(f"{place.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            glibc_sysroot.make(floor, tools, partial / "sysroot")
            _write_wrappers(partial / "bin", programs, tools, place)
            partial.rename(place)
    return replace(tools, cc=cc, cxx=cxx, path=f"{place}/bin:{tools.path}")


def _write_wrappers(
    folder: Path, programs: Mapping[str, str | None], tools: Toolchain, place: Path
) -> None:
    """Write the wrappers of the compilers, and of the linker that they run.

    Args:
        folder: The new folder for them, which becomes ``bin`` of `place`.
        programs: The path of each compiler, by the name of its wrapper; None if it is missing.
        tools: The compilers, without the wrappers.
        place: The folder of the sysroot.
    """
    sysroot = place / "sysroot"
    # gcc searches its own folders of start files before the sysroot's, but for -B. By the other -B
    # it finds the wrapper of ld.
    options = [
        f"--sysroot={sysroot}",
        f"-B{place}/bin/",
        f"-B{sysroot}/usr/lib/",
        f"-ffile-prefix-map={sysroot}=/glibc",
    ]
    folder.mkdir()
    for name, program in programs.items():
        if program:
            _write_wrapper(folder / name, program, *options, *_gcc_folder(program, tools))
    # Options of the linker, not of the compiler: -Wl would make `gcc -v` link, and fail, and clang
    # warns of -L where it does not link. Libraries of the host, e.g. libX11, need symbols of the
    # host's glibc, which the sysroot lacks. gcc searches the host's folder after all others; clang
    # does not.
    first = ("--allow-shlib-undefined", f"-L{sysroot}/usr/lib")
    found = Path(tools.ask(tools.cc, "-print-file-name=libgcc_s.so.1"))
    last = [f"-L{found.parent}"] if found.is_absolute() else []
    for name in ("ld", "ld.lld"):
        linker = tools.which(tools.program(name))
        if linker:
            _write_wrapper(folder / name, linker, *first, last=last)


def _gcc_folder(program: str, tools: Toolchain) -> list[str]:
    """Return an option for clang, which searches gcc's files (libgcc, C++) only in the sysroot."""
    if "clang version" not in tools.ask(program, "--version"):
        return []
    found = Path(tools.ask(program, "-print-file-name=crtbegin.o"))
    # The file is in lib/gcc/MACHINE/VERSION of that folder.
    return [f"--gcc-toolchain={found.parents[4]}"] if found.is_absolute() else []


def _write_wrapper(wrapper: Path, program: str, *options: str, last: Iterable[str] = ()) -> None:
    command = shlex.join([program, *options])
    wrapper.write_text(_WRAPPER.format(command=command, last=shlex.join(last)))
    wrapper.chmod(0o755)
