"""A program over three libraries in three packages, and runs of it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from rezbuild.build import toolchain
from rezbuild.payload import relocate
from rezbuild.payload.dependency import Dependency

CALL = "int {name}(void); int {own}(void) {{ return {name}() + 1; }}\n"
MAIN = '#include <stdio.h>\nint top(void); int main(void) { printf("%d", top()); return 0; }\n'


class Chain:
    """A program in a payload, over three libraries in three packages: top → middle → base.

    It is linked with absolute rpaths, as without relocation.
    """

    def __init__(self, compile_c, folder: Path) -> None:
        self.payload = folder / "payload"
        self.low, self.mid = folder / "low-1.0", folder / "mid-2.0"
        library = compile_c.library
        base = library(f"{self.low}/lib/libbase.so.1", source="int base(void) { return 40; }\n")
        middle = library(
            f"{self.mid}/lib/libmiddle.so.2",
            *(str(base), f"-Wl,-rpath,{base.parent}"),
            source=CALL.format(own="middle", name="base"),
        )
        top = library(
            f"{self.payload}/lib/libtop.so.3",
            *(str(middle), f"-Wl,-rpath,{middle.parent}", f"-Wl,-rpath-link,{base.parent}"),
            source=CALL.format(own="top", name="middle"),
        )
        self.program = compile_c.program(
            f"{self.payload}/bin/program",
            *(str(top), f"-Wl,-rpath,{top.parent}"),
            f"-Wl,-rpath-link,{middle.parent}:{base.parent}",
            source=MAIN,
        )
        self.dependencies = [
            Dependency("mid", "2.0", self.mid),
            Dependency("low", "1.0", self.low),
        ]

    def relocate(self) -> relocate.Plan:
        plan = relocate.plan(self.payload, self.dependencies)
        relocate.apply(plan, self.payload, toolchain.patchelf())
        return plan

    def move(self, folder: Path) -> Path:
        """Move the payload, and delete its dependencies."""
        shutil.move(str(self.payload), folder)
        shutil.rmtree(self.low)
        shutil.rmtree(self.mid)
        return folder / "bin/program"


def run(program: Path, **env: str) -> str:
    done = subprocess.run([program], env=env, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else done.stderr
