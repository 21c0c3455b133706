"""Code signatures of files that a cross-compiler links for arm64."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import pytest
from macho_files import Compiler, require_compiler

from rezbuild.macho import reader, signature


@pytest.fixture
def signed(tmp_path: Path, zig_cache: Path) -> Path:
    require_compiler()
    return Compiler(tmp_path, "ARM64", zig_cache).library("libanswer.dylib")


def problem(path: Path) -> str:
    return signature.problem(reader.read(path))


def write(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as stream:
        stream.seek(offset)
        stream.write(data)


def test_signature_of_the_linker_is_valid(signed):
    assert problem(signed) == ""


@pytest.mark.parametrize("where", ["first page", "last byte"])
def test_change_of_a_byte_is_found(signed, where):
    end, _ = reader.read(signed).signature
    # The first page has unused room behind the load commands.
    place = 3000 if where == "first page" else end - 1
    write(signed, place, bytes([signed.read_bytes()[place] ^ 1]))
    assert problem(signed) == "it was changed after it was signed"


@pytest.mark.parametrize(
    ("offset", "data", "message"),
    [
        (0, b"\0" * 4, "changed after it was signed"),
        (16, struct.pack(">I", 1 << 20), "code signature is damaged"),
        (20 + 32, struct.pack(">I", 4096), "changed after it was signed"),
        (20 + 37, b"\x09", "code signature is damaged"),
        (20 + 16, struct.pack(">I", 1 << 20), "changed after it was signed"),
    ],
    ids=["magic", "place", "length", "algorithm", "table"],
)
def test_damaged_signature_is_found(signed, offset, data, message):
    start, _ = reader.read(signed).signature
    write(signed, start + offset, data)
    assert message in problem(signed)


def test_missing_signature_is_a_fault_on_arm64_only(signed, tmp_path, zig_cache):
    code = signed.read_bytes()
    # LC_CODE_SIGNATURE becomes another command of the same size, LC_DATA_IN_CODE.
    command = struct.pack("<2I", 0x1D, 16)
    assert code.count(command) == 1
    signed.write_bytes(code.replace(command, struct.pack("<2I", 0x29, 16)))
    assert problem(signed) == "it has no code signature"
    other = Compiler(tmp_path, "x86_64", zig_cache).library("libother.dylib")
    assert problem(other) == ""


def test_copy_keeps_a_valid_signature(signed, tmp_path):
    assert problem(Path(shutil.copy(signed, tmp_path / "another name.dylib"))) == ""
