"""Headers, crt files and libraries without code of an older glibc, made by the package ziglang.

ziglang has the symbols of each glibc from 2.17 on, and its headers, and makes these files for
one version when it links a program for it.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import re
import shlex
import shutil
import struct
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elftools.elf.elffile import ELFFile

from rezbuild.errors import ChecksumError, MachineError
from rezbuild.files.hashing import sha256
from rezbuild.util.glibc_version import number
from rezbuild.util.processes import capture

if TYPE_CHECKING:
    from rezbuild.build.toolchain import Toolchain

# pyproject.toml has the same version. The sums are those of `_digest`, by `os.uname().machine`.
ZIGLANG = "0.17.1"
_SUMS = {
    "x86_64": "777844a3f81a0a08df310d5d33322812fd2b4590da553b709f6c01346c80d346",
    "aarch64": "68c8f0f85cecac1f254493077d8a03fe0b0bc2522f88df9448a67872d6141b2a",
}
INSTALL = f"run: pip install ziglang=={ZIGLANG} in the Python that runs rezbuild"
FUNCTIONS = Path(__file__).parents[1] / "data/newer_functions.c"
# X11 is part of no package: Tk is compiled with the headers of the host.
_HOST_HEADERS = ("X11", "freetype2", "fontconfig")
# Of symbols that are needed, and of names of versions.
_NO_SECTION = ("SHN_UNDEF", "SHN_ABS")
# STB_WEAK and STT_OBJECT (elf.h).
_WEAK_OBJECT = 2 << 4 | 1
_LIBRARIES = ("m", "c", "ld", "resolv")
# From 2.34 on, libc has their functions, and they are empty archives.
_JOINED = ("pthread", "dl", "rt", "util")
# Headers with the version that they came with (glibc's NEWS). Others say it by an #error of zig.
_NEW_HEADERS = {
    "sys/rseq.h": (2, 35),
    "sys/pidfd.h": (2, 36),
    "stdbit.h": (2, 39),
    "sys/hwprobe.h": (2, 40),
}
# The declarations of newer_functions.c, and the version of glibc that has them itself. The constant
# is one of the kernel; its header does not exist in older versions.
_DECLARATIONS = {
    "fcntl.h": ((2, 36), "#define PIDFD_NONBLOCK O_NONBLOCK"),
    "semaphore.h": ((2, 30), "int sem_clockwait(sem_t *, clockid_t, const struct timespec *);"),
    "unistd.h": ((2, 34), "int close_range(unsigned int, unsigned int, int) __THROW;"),
}
# The first version in which B9600 is 9600. Functions of older versions take the kernel's number.
_PLAIN_SPEEDS = (2, 42)
# The kernel's numbers in headers of later versions.
_SPEED = re.compile(r"(?m)^#define\s+__(B\d+)\s+(\d+)")
_HEADER_ABSENT = re.compile(r'#\s*error "\S+ did not exist before glibc (\d+\.\d+)"')


def installed_version() -> str:
    """Return the version of ziglang.

    Raises:
        MachineError: It is not installed, or in another version than the pinned one.
    """
    try:
        found = importlib.metadata.version("ziglang")
    except importlib.metadata.PackageNotFoundError:
        found = ""
    if found != ZIGLANG:
        problem = f"has version {found}" if found else "is not installed"
        raise MachineError(
            f"the Python package ziglang {problem}; builds for an older glibc need {ZIGLANG}",
            advice=[INSTALL, "or build for the host's glibc: without --glibc and REZBUILD_GLIBC"],
        )
    return found


def inputs(tools: Toolchain) -> bytes:
    """Return what a sysroot is made from, besides the version of glibc."""
    own = Path(__file__).read_bytes() + FUNCTIONS.read_bytes()
    return f"{tools.identity}\n{tools.path}\n".encode() + own


def make(floor: str, tools: Toolchain, sysroot: Path) -> None:
    """Make the sysroot of a glibc, in a folder that does not exist yet.

    Args:
        floor: The version, e.g. ``2.28``.
        tools: The compiler, for the functions of newer_functions.c.
        sysroot: The folder.

    Raises:
        ChecksumError: The files of ziglang are not those of its pinned release.
        MachineError: ziglang or the compiler failed.
    """
    package = _package()
    include, libraries = sysroot / "usr/include", sysroot / "usr/lib"
    include.mkdir(parents=True)
    libraries.mkdir()
    with tempfile.TemporaryDirectory(prefix="rezbuild-") as scratch:
        made = _make_files(floor, package / "zig", Path(scratch), include)
        _copy_libraries(made, Path(scratch), tools, libraries)
    _fit_headers(floor, include)
    for name in ("crti.o", "crtn.o"):
        shutil.copy(_run(tools.path, tools.cc, f"-print-file-name={name}").strip(), libraries)
    _add_newer_functions(sysroot, tools)


def _package() -> Path:
    """Return the folder of ziglang, after its files were compared with the pinned sum."""
    installed_version()
    found = importlib.util.find_spec("ziglang")
    folder = Path(found.submodule_search_locations[0]) if found else Path()  # type: ignore[index]
    machine = os.uname().machine
    if _digest(folder) != _SUMS.get(machine):
        raise ChecksumError(
            f"{folder} does not have the files of ziglang {ZIGLANG} for {machine}",
            advice=[INSTALL.replace("pip install", "pip install --force-reinstall")],
        )
    return folder


def _digest(folder: Path) -> str:
    """Return one sum for the names and the bytes of all files of the package."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            found.update(f"{path.relative_to(folder)}\n{sha256(path)}\n".encode())
    return found.hexdigest()


def _make_files(floor: str, zig: Path, scratch: Path, include: Path) -> dict[str, Path]:
    """Copy the headers; return what zig makes to link two programs, one of them as PIE."""
    target = ("cc", "-target", f"{os.uname().machine}-linux-gnu.{floor}")
    (scratch / "program.c").write_text("int main(void) { return 0; }\n")
    linked = [f"-l{name}" for name in (*_LIBRARIES, *_JOINED) if name not in ("c", "ld")]
    for kind in (("-no-pie",), ("-pie", "-fPIE")):
        options = (*kind, "-O2", "program.c", *linked, "-o", "program")
        _run("", str(zig), *target, *options, cwd=scratch)
    told = _run("", str(zig), *target, "-E", "-v", "-x", "c", os.devnull, cwd=scratch)
    _, _, listed = told.partition("search starts here:\n#include <...> search starts here:\n")
    folders = [line.strip() for line in listed.partition("End of search list")[0].splitlines()]
    # The first folder has the headers of zig's own compiler. The first of equal names counts.
    for folder in reversed(folders[1:]):
        shutil.copytree(scratch / folder, include, dirs_exist_ok=True)
    return {file.name: file for file in (scratch / "cache/o").glob("*/*")}


def _copy_libraries(
    made: Mapping[str, Path], scratch: Path, tools: Toolchain, libraries: Path
) -> None:
    archive = made["libc_nonshared.a"]
    ar = tools.tool("ar")
    # zig's archive only names its members, which are files below the scratch folder.
    objects = [scratch / name for name in _run(tools.path, ar, "t", str(archive)).split()]
    # Debug data has names of folders of this run, on which build ids would depend.
    strip = (tools.tool("strip"), "--strip-debug")
    _run(tools.path, *strip, *map(str, (*objects, made["crt1.o"], made["Scrt1.o"])))
    _run(tools.path, ar, "rcsD", str(libraries / archive.name), *map(str, objects))
    for name in ("crt1.o", "Scrt1.o"):
        shutil.copy(made[name], libraries)
    for name in (*_LIBRARIES, *_JOINED):
        library = [path for file, path in made.items() if file.startswith(f"lib{name}.so.")]
        if library or name in _LIBRARIES:
            shutil.copy(library[0], libraries / f"lib{name}.so")
        else:
            _run(tools.path, ar, "rcD", str(libraries / f"lib{name}.a"))
    for name in ("c", "m"):
        host = _run(tools.path, tools.cc, f"-print-file-name=lib{name}.so.6").strip()
        _join_aliases(libraries / f"lib{name}.so", Path(host))


def _join_aliases(stub: Path, library: Path) -> None:
    """Let variables with two names have one address, as in the host's library.

    ``environ`` is a weak name of ``__environ``. A program that reads it gets a copy of the variable
    (R_X86_64_COPY), and the linker gives the copy all names with the same address. In zig's library
    each name has its own address: the copy would never get the value.
    """
    strong: dict[int, str] = {}
    weak: dict[str, int] = {}
    with library.open("rb") as stream:
        for symbol in _variables(ELFFile(stream)).values():
            if symbol.entry.st_info.bind == "STB_WEAK":
                weak[symbol.name] = symbol["st_value"]
            else:
                strong[symbol["st_value"]] = symbol.name
    with stub.open("r+b") as stream:
        image = ELFFile(stream)
        table = image.get_section_by_name(".dynsym")
        own = _variables(image)
        places = {symbol.name: index for index, symbol in own.items()}
        for name, address in weak.items():
            target = places.get(strong.get(address, ""))
            if name in places and target is not None:
                # Elf64_Sym: name 4, info 1, other 1, section 2, address 8, size 8 bytes.
                stream.seek(table["sh_offset"] + places[name] * table["sh_entsize"] + 4)
                stream.write(bytes([_WEAK_OBJECT]))
                stream.seek(3, os.SEEK_CUR)
                stream.write(struct.pack("<Q", own[target]["st_value"]))


def _variables(image: Any) -> dict[int, Any]:
    """Return the defined variables of a library, by their index in the table of symbols."""
    table = enumerate(image.get_section_by_name(".dynsym").iter_symbols())
    return {
        index: symbol
        for index, symbol in table
        if symbol.entry.st_info.type == "STT_OBJECT" and symbol["st_shndx"] not in _NO_SECTION
    }


def _fit_headers(floor: str, include: Path) -> None:
    """Let the headers say what the version has, and what newer_functions.c adds."""
    features = include / "features.h"
    major, minor = floor.split(".")
    line = f"#define\t__GLIBC__\t{major}\n"
    text = features.read_text()
    features.write_text(text.replace(line, f"{line}#define\t__GLIBC_MINOR__\t{minor}\n"))
    since: dict[Path, tuple[int, ...]] = {
        include / name: version for name, version in _NEW_HEADERS.items()
    }
    for header in include.rglob("*.h"):
        found = _HEADER_ABSENT.search(header.read_text(encoding="utf-8", errors="replace"))
        if found:
            since[header] = number(found[1])
    for header, version in since.items():
        if version > number(floor):
            header.unlink(missing_ok=True)
    for name, (version, declaration) in _DECLARATIONS.items():
        if version > number(floor):
            lines = ("#ifdef __USE_GNU", "__BEGIN_DECLS", declaration, "__END_DECLS", "#endif")
            with (include / name).open("a") as stream:
                stream.write("\n" + "\n".join(lines) + "\n")
    if number(floor) < _PLAIN_SPEEDS:
        _encode_speeds(include / "bits")
    for name in _HOST_HEADERS:
        # Also before the headers are installed: the cache keeps the sysroot.
        if not (include / name).exists():
            (include / name).symlink_to(Path("/usr/include", name))


def _encode_speeds(bits: Path) -> None:
    """Give the speeds of terminals the kernel's numbers, which cfsetospeed and tcsetattr expect."""
    text = "".join((bits / name).read_text() for name in ("termios.h", "termios-cbaud.h"))
    lines = [f"#define {name} {value}" for name, value in _SPEED.findall(text)]
    lines += ("#ifdef __USE_MISC", "# define EXTA B19200", "# define EXTB B38400", "#endif")
    (bits / "termios-baud.h").write_text("\n".join([*lines, "#define __MAX_BAUD B4000000", ""]))


def _add_newer_functions(sysroot: Path, tools: Toolchain) -> None:
    libraries = sysroot / "usr/lib"
    compiled = libraries / "newer_functions.o"
    options = (f"--sysroot={sysroot}", "-O2", "-fPIC", "-c", "-o", str(compiled))
    _run(tools.path, tools.cc, *options, str(FUNCTIONS))
    _run(tools.path, tools.tool("ar"), "rcsD", str(libraries / "libnewer.a"), str(compiled))
    compiled.unlink()
    (libraries / "libc.so").rename(libraries / "libc_symbols.so")
    # A linker script, ld(1). configure finds all functions without -l, as in a build for the
    # host's glibc.
    found = [f"lib{name}.so" for name in (*_JOINED, "ld")]
    needed = " ".join(name for name in found if (libraries / name).exists())
    parts = f"libc_symbols.so libc_nonshared.a libnewer.a AS_NEEDED ( {needed} )"
    (libraries / "libc.so").write_text(f"GROUP ( {parts} )\n")


def _run(path: str, *argv: str, cwd: Path | None = None) -> str:
    """Return the output of a program, both channels.

    Raises:
        MachineError: It failed.
    """
    # zig keeps what it makes in two folders; by default, one of them is in the home folder.
    folders = ("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR")
    caches = {name: str(cwd / "cache") for name in folders} if cwd else {}
    done = capture(argv, env={"PATH": path, "LC_ALL": "C", **caches}, cwd=cwd, merge=True)
    if done.returncode != 0:
        raise MachineError(
            f"the files of an older glibc cannot be made: {shlex.join(argv)} failed:\n"
            f"{done.stdout[-2000:]}",
            advice=["read the output above", "run: rezbuild doctor"],
        )
    return done.stdout
