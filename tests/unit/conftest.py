"""Small real ELF and Mach-O files, made by real compilers."""

from __future__ import annotations

from pathlib import Path

import macho_files
import pytest
from compile_c import Compiler


@pytest.fixture
def compile_c(tmp_path: Path) -> Compiler:
    return Compiler(tmp_path)


@pytest.fixture(scope="session")
def small_elf(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Compile a library with a value in every field that the reader knows."""
    compiler = Compiler(tmp_path_factory.mktemp("small"))
    path = compiler(
        "libsmall.so",
        '#include <stdlib.h>\nint answer(void) { return atoi(getenv("ANSWER")); }\n',
        *("-shared", "-fPIC", "-s", "-Wl,-soname,libsmall.so", "-Wl,-rpath,$ORIGIN/../lib:/opt"),
        *("-Wl,-z,max-page-size=4096", "-Wl,-z,noseparate-code", "-Wl,-z,relro,-z,now"),
    )
    return path.read_bytes()


@pytest.fixture(scope="session")
def zig_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("zig")


@pytest.fixture(params=macho_files.MACHINES)
def compile_macho(
    request: pytest.FixtureRequest, tmp_path: Path, zig_cache: Path
) -> macho_files.Compiler:
    macho_files.require_compiler()
    return macho_files.Compiler(tmp_path, request.param, zig_cache)
