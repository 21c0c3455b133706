"""Functions of glibc that are bound to an older version: real programs before and after."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from host_tools import require_newer_glibc

from rezbuild.audit import glibc
from rezbuild.elf import reader
from rezbuild.payload import older_symbols

# hypot got its second version in 2.35, like the function fmaximum.
PROGRAM = """\
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
int main(int argc, char **argv) {
    printf("%.17g %g ", hypot(3 * argc, 4), hypot(INFINITY, NAN));
    printf("%d ", isnan(hypot(NAN, argc)));
    errno = 0;
    double most = hypot(DBL_MAX, DBL_MAX * argc);
    printf("%g %d", most, errno == ERANGE);
    OTHER
    return 0;
}
"""
RESULTS = "5 inf 1 inf 1"


@pytest.fixture(autouse=True)
def newer_host():
    require_newer_glibc("2.34")


def needed(path: Path) -> str | None:
    return glibc.needs({path.name: reader.read(path)}).glibc


def run(path: Path) -> str:
    return subprocess.run([path], capture_output=True, text=True, check=True).stdout


def test_program_that_needs_one_function_gets_its_old_version(compile_c):
    path = compile_c.program("bin/program", "-lm", source=PROGRAM.replace("OTHER", ""))
    assert (run(path), needed(path)) == (RESULTS, "2.35")
    path.chmod(0o555)
    before = path.read_bytes()
    older_symbols.bind(compile_c.folder)
    assert (run(path), needed(path)) == (RESULTS, "2.34")
    assert path.stat().st_mode & 0o777 == 0o555
    assert sum(a != b for a, b in zip(before, path.read_bytes())) <= 8
    told = subprocess.run(
        ["readelf", "--wide", "--dyn-syms", path], capture_output=True, text=True, check=True
    )
    assert "hypot@GLIBC_2.2.5" in told.stdout
    # A second run finds nothing to do.
    after = path.read_bytes()
    older_symbols.bind(compile_c.folder)
    assert path.read_bytes() == after


def test_program_that_needs_more_of_the_newer_glibc_is_not_changed(compile_c):
    other = 'printf(" %g", fmaximum(argc, 2));'
    source = "#define _GNU_SOURCE\n" + PROGRAM.replace("OTHER", other)
    path = compile_c.program("program", "-lm", "-fno-builtin", source=source)
    before = path.read_bytes()
    older_symbols.bind(compile_c.folder)
    assert path.read_bytes() == before
    assert run(path) == f"{RESULTS} 2"
