"""Small real ELF files, made by the machine's own compiler."""

from __future__ import annotations

import subprocess
from pathlib import Path

FUNCTION = "int answer(void) { return 42; }\n"
# The link flags of the recipes; later flags override them.
HARDENED = ("-Wl,-z,relro,-z,now",)
MAIN = "int main(void) { return 0; }\n"


class Compiler:
    """A compiler of small sources into files of `folder`."""

    def __init__(self, folder: Path, program: str = "cc") -> None:
        self.folder = folder
        self.program_name = program

    def __call__(self, name: str, source: str, *flags: str, language: str = "c") -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [self.program_name, "-O0", "-x", language, "-", "-x", "none", "-o", str(path), *flags],
            input=source,
            text=True,
            check=True,
            cwd=self.folder,
        )
        return path

    def library(self, name: str, *flags: str, source: str = FUNCTION) -> Path:
        """Compile a shared library whose soname is its file name."""
        soname = f"-Wl,-soname,{Path(name).name}"
        return self(name, source, "-shared", "-fPIC", "-nostdlib", soname, *HARDENED, *flags)

    def program(self, name: str, *flags: str, source: str = MAIN) -> Path:
        return self(name, source, *HARDENED, *flags)
