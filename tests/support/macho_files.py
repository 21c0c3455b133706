"""Real programs and libraries of macOS, which the compiler in the package ziglang links here."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from host_tools import require_tool

from rezbuild.build.glibc_sysroot import INSTALL
from rezbuild.errors import MachineError
from rezbuild.payload import edit_files, relocate
from rezbuild.payload.dependency import Dependency
from rezbuild.util import extras

# The name of each machine for zig, by its name in Mach-O files.
MACHINES = {"ARM64": "aarch64", "x86_64": "x86_64"}
FUNCTION = "int answer(void) { return 42; }\n"
CALL = "int {name}(void); int {own}(void) {{ return {name}() + 1; }}\n"
# The folder of an installation that does not exist, as in a build by rezbuild.
PREFIX = "/rezbuild/low-1.0"


def require_compiler() -> None:
    """Skip the test that calls this, where ziglang, macholib or LLVM's programs are missing."""
    require_tool("llvm-objdump")
    if importlib.util.find_spec("ziglang") is None:
        pytest.skip(f"no ziglang here: {INSTALL}")
    if importlib.util.find_spec("macholib") is None:
        pytest.skip(f"no macholib here: {extras.install_command('macos')}")
    try:
        edit_files.install_name_tool()
    except MachineError as error:
        pytest.skip(str(error))


class Compiler:
    """A compiler of small sources into files of `folder`, for one machine with macOS."""

    def __init__(self, folder: Path, machine: str, cache: Path) -> None:
        found = importlib.util.find_spec("ziglang")
        assert found
        assert found.origin
        self.folder = folder
        self.machine = machine
        self.zig = str(Path(found.origin).parent / "zig")
        self.argv = [self.zig, "cc", "-target", f"{MACHINES[machine]}-macos"]
        caches = {"ZIG_GLOBAL_CACHE_DIR": str(cache), "ZIG_LOCAL_CACHE_DIR": str(cache)}
        self.env = {"PATH": os.defpath, **caches}

    def __call__(self, name: str, source: str, *flags: str, room: bool = True) -> Path:
        """Compile a file, with room in its header for other names."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (self.folder / "source.c").write_text(source)
        pad = "-headerpad_max_install_names" if room else "-headerpad,0x0"
        argv = [*self.argv, "-O1", "-s", "source.c", f"-Wl,{pad}", *flags, "-o", str(path)]
        subprocess.run(argv, check=True, cwd=self.folder, env=self.env)
        return path

    def library(self, name: str, *flags: str, own_name: str = "", source: str = FUNCTION) -> Path:
        """Compile a library; its own name is a path below the prefix by default."""
        own_name = own_name or f"{PREFIX}/lib/{Path(name).name}"
        return self(name, source, "-dynamiclib", f"-Wl,-install_name,{own_name}", *flags)

    def program(self, name: str, *flags: str, source: str) -> Path:
        return self(name, source, *flags)


class Chain:
    """A program in a payload, over three libraries in three packages: top → middle → base.

    A library has a path below the prefix as its own name, or a name in the rpath, or a path beside
    the file that loads it.
    """

    def __init__(self, compile_macho: Compiler, folder: Path) -> None:
        self.payload = folder / "payload"
        self.low, self.mid = folder / "low-1.0", folder / "mid-2.0"
        library = compile_macho.library
        base = library(f"{self.low}/lib/libbase.1.dylib", source="int base(void) { return 40; }\n")
        middle = library(
            f"{self.mid}/lib/libmiddle.2.dylib",
            str(base),
            own_name="@rpath/libmiddle.2.dylib",
            source=CALL.format(own="middle", name="base"),
        )
        top = library(
            f"{self.payload}/lib/libtop.3.dylib",
            str(middle),
            f"-Wl,-rpath,{middle.parent}",
            source=CALL.format(own="top", name="middle"),
        )
        self.program = compile_macho.program(
            f"{self.payload}/bin/program",
            *(str(top), f"-Wl,-rpath,{top.parent}"),
            source="int top(void); int main(void) { return top(); }\n",
        )
        library(
            f"{self.payload}/lib/python3/module.so",
            str(top),
            source=CALL.format(own="module", name="top"),
        )
        self.dependencies = [
            Dependency("mid", "2.0", self.mid),
            Dependency("low", "1.0", self.low),
        ]

    def relocate(self) -> relocate.Plan:
        plan = relocate.plan(self.payload, self.dependencies)
        relocate.apply(plan, self.payload, "patchelf is not used")
        return plan

    def move(self, folder: Path) -> None:
        """Move the payload, and delete its dependencies."""
        shutil.move(str(self.payload), folder)
        self.payload = folder
        shutil.rmtree(self.low)
        shutil.rmtree(self.mid)


def llvm_says(option: str, path: Path) -> list[str]:
    """Return what LLVM's own reader prints about a file, e.g. for ``--dylibs-used``."""
    argv = ["llvm-objdump", "--macho", option, str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    _, *lines = done.stdout.splitlines()
    return [line.split(" (")[0].strip() for line in lines]
