"""Symbol tables of real files, compared with binutils."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import pytest

from rezbuild.elf import symbols
from rezbuild.elf.reader import ElfError

SOURCE = """\
#include <stdlib.h>
#include <string.h>
int data = 1;
static int own(void) { return 1; }
__attribute__((visibility("hidden"))) int hidden(void) { return 2; }
__attribute__((visibility("protected"))) int guarded(void) { return 3; }
__attribute__((weak)) int weak(void) { return 4; }
int answer(const char *text) { return atoi(text) + own() + hidden() + (int)strlen(text); }
"""
SHARED = ("-shared", "-fPIC")
VERSIONS = "ONE { global: answer; local: *; };\n"


def readelf(path: Path) -> tuple[set[str], set[tuple[str, str]]]:
    """Return the exported names, and the needed names with their versions."""
    argv = ["readelf", "--wide", "--dyn-syms", str(path)]
    out = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    exported, taken = set(), set()
    for line in out.splitlines():
        fields = line.split()
        if len(fields) < 8 or not fields[0].rstrip(":").isdigit():
            continue
        binding, visibility, section, (name, _, version) = (
            *fields[4:7],
            fields[7].replace("@@", "@").partition("@"),
        )
        if section == "UND":
            taken |= {(name, version)} if version else set()
        elif binding != "LOCAL" and visibility != "HIDDEN" and section != "ABS":
            exported.add(name)
    return exported, taken


@pytest.mark.parametrize("style", ["gnu", "sysv", "both"])
@pytest.mark.parametrize("stripped", [False, True])
def test_exported_and_needed_symbols_agree_with_readelf(compile_c, style, stripped):
    path = compile_c("libx.so", SOURCE, *SHARED, f"-Wl,--hash-style={style}")
    exported, taken = readelf(path)
    if stripped:
        # ld.so needs no section headers, and neither does the reader.
        data = bytearray(path.read_bytes())
        data[40:48], data[58:64] = bytes(8), bytes(6)  # e_shoff; e_shentsize and what follows
        path.write_bytes(bytes(data))
    assert {"data", "guarded", "weak", "answer"} <= exported
    assert symbols.exported(path) == exported
    assert {"own", "hidden", "atoi"} & symbols.exported(path) == set()
    found = {(one.name, one.version) for one in symbols.versioned(path)}
    assert found == taken
    assert "atoi" in {name for name, _ in found}
    assert {one.library for one in symbols.versioned(path)} == {"libc.so.6"}


def test_program_without_exports_has_none(compile_c):
    path = compile_c("x", '#include <stdio.h>\nint main(void) { return puts("x"); }\n')
    assert {(one.name, one.version) for one in symbols.versioned(path)} == readelf(path)[1]
    assert "puts" in {one.name for one in symbols.versioned(path)}


def test_library_without_exports_has_none(compile_c):
    """Its hash table is empty; only its relocations list the needed symbols."""
    source = 'int puts(const char *);\nstatic int f(void) { return puts("x"); }\n'
    source += '__attribute__((visibility("hidden"))) int (*p)(void) = f;\n'
    flags = ("-shared", "-fPIC", "-nostdlib", "-lc", "-Wl,--hash-style=gnu")
    path = compile_c("libx.so", source, *flags)
    assert symbols.exported(path) == frozenset()
    assert [one.name for one in symbols.versioned(path)] == ["puts"]


def test_name_of_a_version_is_no_symbol(compile_c, tmp_path):
    (tmp_path / "map").write_text(VERSIONS)
    path = compile_c("libx.so", SOURCE, *SHARED, "-Wl,--version-script=map")
    assert (
        "ONE"
        in subprocess.run(
            ["readelf", "--wide", "--dyn-syms", str(path)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    )
    assert symbols.exported(path) == {"answer"}


def test_static_program_has_no_symbols(compile_c):
    path = compile_c("x", "void _start(void) { for (;;) ; }\n", "-static", "-nostdlib")
    assert symbols.exported(path) == frozenset()
    assert symbols.versioned(path) == ()


def test_truncated_file_is_an_error_or_equal(compile_c, tmp_path):
    data = compile_c("libx.so", SOURCE, *SHARED).read_bytes()
    whole = symbols.exported(tmp_path / "libx.so")
    path = tmp_path / "cut"
    seen = set()
    for length in range(0, len(data), 97):
        path.write_bytes(data[:length])
        try:
            assert symbols.exported(path) == whole
            seen.add("whole")
        except ElfError:
            seen.add("error")
    assert seen == {"whole", "error"}


def test_damaged_tables_are_elf_errors(compile_c, tmp_path):
    data = compile_c("libx.so", SOURCE, *SHARED).read_bytes()
    path = tmp_path / "damaged"
    for place in range(64, len(data), 41):
        path.write_bytes(data[:place] + b"\xff" * 8 + data[place + 8 :])
        for read in (symbols.exported, symbols.versioned):
            with contextlib.suppress(ElfError):
                read(path)
