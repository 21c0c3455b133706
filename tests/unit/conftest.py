"""Small real ELF files, made by the machine's own compiler."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

FUNCTION = "int answer(void) { return 42; }\n"
# As the recipes link; what comes later goes before it.
HARDENED = ("-Wl,-z,relro,-z,now",)
MAIN = "int main(void) { return 0; }\n"


class Compiler:
    """Compiles one small source into one file of `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, name: str, source: str, *flags: str, language: str = "c") -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["cc", "-O0", "-x", language, "-", "-x", "none", "-o", str(path), *flags],
            input=source,
            text=True,
            check=True,
            cwd=self.folder,
        )
        return path

    def library(self, name: str, *flags: str, source: str = FUNCTION) -> Path:
        """A shared library; its soname is its file's name."""
        soname = f"-Wl,-soname,{Path(name).name}"
        return self(name, source, "-shared", "-fPIC", "-nostdlib", soname, *HARDENED, *flags)

    def program(self, name: str, *flags: str, source: str = MAIN) -> Path:
        return self(name, source, *HARDENED, *flags)


@pytest.fixture
def compile_c(tmp_path: Path) -> Compiler:
    return Compiler(tmp_path)


@pytest.fixture(scope="session")
def small_elf(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A library with something in every field that the reader knows."""
    compiler = Compiler(tmp_path_factory.mktemp("small"))
    path = compiler(
        "libsmall.so",
        '#include <stdlib.h>\nint answer(void) { return atoi(getenv("ANSWER")); }\n',
        *("-shared", "-fPIC", "-s", "-Wl,-soname,libsmall.so", "-Wl,-rpath,$ORIGIN/../lib:/opt"),
        *("-Wl,-z,max-page-size=4096", "-Wl,-z,noseparate-code", "-Wl,-z,relro,-z,now"),
    )
    return path.read_bytes()
