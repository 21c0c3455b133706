"""Files of another machine, AArch64: read, relocated, audited, and run with qemu."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from compile_c import Compiler
from elf_chain import Chain
from host_tools import needs_tool

from rezbuild import audit
from rezbuild.audit import glibc
from rezbuild.elf import hardening, reader
from rezbuild.payload import older_symbols

COMPILER, QEMU = "aarch64-linux-gnu-gcc", "qemu-aarch64-static"
pytestmark = needs_tool(COMPILER, QEMU)

# Kernels of Enterprise Linux 8 have pages of 64 KiB on this machine.
PAGE = 0x10000


@pytest.fixture
def chain(tmp_path) -> Chain:
    return Chain(Compiler(tmp_path, COMPILER), tmp_path)


def run(program: Path, *options: str) -> str:
    argv = [QEMU, "-L", "/usr/aarch64-linux-gnu", *options, program]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else done.stderr


def test_moved_program_runs(chain, tmp_path):
    chain.relocate()
    program = chain.move(tmp_path / "another place, with spaces and much longer than before")
    assert run(program) == "42"


def test_leaked_library_path_has_no_effect(chain, tmp_path):
    chain.relocate()
    program = chain.move(tmp_path / "moved")
    leaked = Compiler(tmp_path / "leaked", COMPILER)
    for name, function in (("libtop.so.3", "top"), ("libmiddle.so.2", "middle")):
        leaked.library(name, source=f"int {function}(void) {{ return 1; }}\n")
    assert run(program, "-E", f"LD_LIBRARY_PATH={leaked.folder}") == "42"


def test_pages_of_64_kib_stay_possible(chain):
    """patchelf moves tables into a new segment for a longer rpath."""
    before = {path: path.stat().st_size for path in reader.walk(chain.payload)}
    chain.relocate()
    assert any(path.stat().st_size > size for path, size in before.items())
    for path in reader.walk(chain.payload):
        with reader.open_image(path) as image:
            for segment in image.loads():
                assert segment.p_align % PAGE == 0
                assert (segment.p_vaddr - segment.p_offset) % PAGE == 0


def test_audit_accepts_the_relocated_payload(chain):
    assert {finding.rule.id for finding in audit.audit(chain.payload).findings} != set()
    chain.relocate()
    report = audit.audit(chain.payload)
    assert report.findings == ()
    assert report.needs.glibc


def test_library_of_another_machine_is_not_found(chain, compile_c):
    library = "libtop.so.3"
    chain.relocate()
    (chain.payload / "lib" / library).unlink()
    compile_c.library(f"{chain.payload}/lib/{library}", source="int top(void) { return 1; }\n")
    found = {finding.rule.id for finding in audit.audit(chain.payload).findings}
    assert "needed-unresolved" in found


def test_files_are_described(chain):
    data = reader.read(chain.program)
    assert (data.machine, data.bits, data.pie) == ("EM_AARCH64", 64, True)
    assert data.interpreter == "/lib/ld-linux-aarch64.so.1"
    assert not data.executable_stack


@pytest.mark.parametrize(
    ("flags", "bti", "pac"),
    [
        (("-mbranch-protection=standard",), True, True),
        (("-mbranch-protection=bti",), True, False),
        (("-mbranch-protection=none",), False, False),
    ],
    ids=["standard", "bti", "none"],
)
def test_protection_of_branches_is_reported(tmp_path, flags, bti, pac):
    library = Compiler(tmp_path, COMPILER).library("lib.so", *flags)
    found = hardening.read(library)
    assert found
    assert (found.bti, found.pac, found.ibt, found.shstk) == (bti, pac, False, False)
    assert (found.kind, found.relro, found.nx) == ("shared", "full", True)


def test_versions_of_functions_stay(tmp_path):
    """On this machine, the oldest version of a function is another one than on x86-64."""
    source = "#include <math.h>\nint main(int argc, char **argv) { return hypot(argc, 4) > 9; }\n"
    program = Compiler(tmp_path, COMPILER).program("program", "-lm", source=source)
    before = program.read_bytes()
    older_symbols.bind(tmp_path)
    assert program.read_bytes() == before
    assert glibc.needs({"program": reader.read(program)}).glibc
