"""Reading of Mach-O files that a cross-compiler links, whole and damaged."""

from __future__ import annotations

import contextlib
import os
import struct
import subprocess
import sys

import pytest
from macho_files import CALL, PREFIX, llvm_says

from rezbuild.errors import MachineError
from rezbuild.macho import reader
from rezbuild.macho.reader import MachOError


@pytest.fixture
def library(compile_macho):
    base = compile_macho.library("lib/libbase.1.dylib", source="int base(void) { return 1; }\n")
    source = CALL.format(own="top", name="base")
    places = ("-Wl,-rpath,@loader_path/../lib", "-Wl,-rpath,/opt/lib")
    return compile_macho.library("libtop.dylib", str(base), *places, source=source)


def test_library_is_described(library, compile_macho):
    data = reader.read(library)
    assert (data.type, data.machine, data.bits) == ("dylib", compile_macho.machine, 64)
    assert data.soname == f"{PREFIX}/lib/libtop.dylib"
    assert data.rpath == ("@loader_path/../lib", "/opt/lib")
    assert data.needed == ("/usr/lib/libSystem.B.dylib", f"{PREFIX}/lib/libbase.1.dylib")
    assert data.interpreter is None
    assert data.loadable
    # macOS demands a signature for files of arm64.
    assert (data.signature is not None) == (compile_macho.machine == "ARM64")


def test_llvm_reads_the_same(library):
    data = reader.read(library)
    assert llvm_says("--dylib-id", library) == [data.soname]
    assert llvm_says("--rpaths", library) == list(data.rpath)
    assert [name for name in llvm_says("--dylibs-used", library) if name != data.soname] == list(
        data.needed
    )


def test_program_is_described(compile_macho):
    data = reader.read(compile_macho.program("program", source="int main(void) { return 0; }\n"))
    assert (data.type, data.interpreter, data.soname) == ("execute", "/usr/lib/dyld", None)
    assert not data.loadable


@pytest.mark.parametrize(
    "command",
    [0x80000018, 0x8000001F, 0x20, 0x80000023],
    ids=["weak", "passed on", "lazy", "upward"],
)
def test_every_kind_of_need_is_read(library, command):
    """The linker here makes the usual kind only."""
    code = bytearray(library.read_bytes())
    name = code.index(f"{PREFIX}/lib/libbase.1.dylib".encode())
    struct.pack_into("<I", code, name - 24, command)
    library.write_bytes(code)
    assert reader.read(library).needed[-1] == f"{PREFIX}/lib/libbase.1.dylib"


@pytest.mark.parametrize("size", [4, 31, 32, 200, 1000])
def test_cut_file_is_refused(library, size):
    os.truncate(library, size)
    with pytest.raises(MachOError, match=r"cannot read .*libtop\.dylib as a Mach-O file"):
        reader.read(library)


def test_random_changes_of_the_header_end_in_an_error_or_a_result(library):
    whole = library.read_bytes()
    for place in range(4, 600, 3):
        library.write_bytes(whole[:place] + b"\xff" + whole[place + 1 :])
        with contextlib.suppress(MachOError):
            reader.read(library)


def test_host_libraries_are_those_of_macos(library):
    data = reader.read(library)
    assert data.from_host("/usr/lib/libSystem.B.dylib")
    assert data.from_host("/System/Library/Frameworks/Tk.framework/Tk")
    assert not data.from_host("/usr/local/lib/libz.dylib")
    assert not data.from_host("/usr/lib/../../opt/libz.dylib")


def test_missing_macholib_is_an_error_with_the_command(library):
    code = "import sys; sys.modules['macholib.MachO'] = None\n"
    code += "from pathlib import Path; from rezbuild.macho import reader\n"
    code += (
        "try: reader.read(Path(sys.argv[1]))\nexcept Exception as error: print(repr(error), error)"
    )
    argv = [sys.executable, "-c", code, library]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert said.startswith(MachineError.__name__)
    assert "the Python package macholib, which reads libtop.dylib, is not installed" in said
    assert "pip install" in said
    assert "[macos]" in said
