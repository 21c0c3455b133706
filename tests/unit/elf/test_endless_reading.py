"""Damaged files that took hours or all memory, or gave a traceback."""

from __future__ import annotations

import json
import struct
import tarfile
import time
from pathlib import Path

import pytest
from archives import Archive
from damage import DAMAGE, apply_damage, examples, refusal
from hypothesis import given
from hypothesis import strategies as st

from rezbuild import audit
from rezbuild.audit import show
from rezbuild.elf import reader, symbols
from rezbuild.payload import manifest


def test_name_with_a_million_folders_is_refused_at_once(tmp_path: Path) -> None:
    """It has two megabytes; a check of each parent folder took quadratic time."""
    archive = Archive(tmp_path)
    path = archive.make((f"{'a/' * 10**6}x", b""), format=tarfile.PAX_FORMAT)
    begin = time.monotonic()
    assert "2000001 characters long" in archive.refusal_of_file(path)
    assert time.monotonic() - begin < 5


@examples
@given(damage=DAMAGE, cut=st.integers(1, 20_000))
def test_audit_of_any_damage_is_a_report(
    small_elf: bytes,
    tmp_path_factory: pytest.TempPathFactory,
    damage: list[tuple[int, bytes]],
    cut: int,
) -> None:
    payload = tmp_path_factory.mktemp("damaged")
    for number, data in enumerate((apply_damage(small_elf, damage), small_elf[:cut])):
        (payload / f"lib{number}.so").write_bytes(data)
    (payload / "link.so").symlink_to("lib0.so")
    report = audit.audit(payload)
    json.dumps(show.as_data(payload, report))
    list(show.lines(payload, report))
    if not (payload / "lib0.so").read_bytes().startswith(reader.MAGIC):
        return
    refused = refusal(reader.read, payload / "lib0.so")
    if refused:
        assert "elf-damaged" in {finding.rule.id for finding in report.findings}


def add_headers(
    small_elf: bytes, headers: list[tuple[int, ...]], tags: list[tuple[int, int]]
) -> bytes:
    """Append other program headers and dynamic tags to a library."""
    data = bytearray(small_elf + bytes(-len(small_elf) % 16))
    begin = len(data)
    data += b"".join(struct.pack("<QQ", *tag) for tag in [*tags, (0, 0)])
    size = len(data) - begin
    headers = [*headers, (2, 6, begin, begin, begin, size, size, 8)]  # PT_DYNAMIC
    struct.pack_into("<Q", data, 32, len(data))  # e_phoff
    struct.pack_into("<H", data, 56, len(headers))  # e_phnum
    return bytes(data + b"".join(struct.pack("<IIQQQQQQ", *header) for header in headers))


@pytest.mark.parametrize("count", [2000, 16000])
def test_huge_counts_take_seconds_at_most(small_elf: bytes, tmp_path: Path, count: int) -> None:
    """Each of thousands of names would search thousands of segments."""
    far = 1 << 50
    useless = [(1, 4, 0, far, far, 1, 1, 4096)] * count  # PT_LOAD
    whole = (1, 4, 0, 0, 0, len(small_elf), len(small_elf), 4096)
    tags = [(5, 0), (10, len(small_elf)), *[(1, 100)] * count]  # DT_STRTAB, DT_STRSZ, DT_NEEDED
    (tmp_path / "lib.so").write_bytes(add_headers(small_elf, [*useless, whole], tags))
    begin = time.monotonic()
    refused = refusal(reader.read, tmp_path / "lib.so")
    assert time.monotonic() - begin < 10
    assert (refused is None) == (count < 4096)


def test_endless_symbol_names_are_refused(small_elf: bytes, tmp_path: Path) -> None:
    """A megabyte without a zero byte and thousands of names would be gigabytes."""
    data = bytearray(small_elf + bytes(-len(small_elf) % 16))
    strings, count = 1 << 20, 8000
    string_table = len(data)
    data += b"x" * strings
    symbol_table = len(data)
    data += b"".join(struct.pack("<IBBHQQ", n, 0x12, 0, 5, 0, 0) for n in range(count))
    hash_table = len(data)
    data += struct.pack("<II", 0, count)
    tags = [(5, string_table), (10, strings), (6, symbol_table), (4, hash_table)]
    whole = (1, 4, 0, 0, 0, len(data), len(data), 4096)
    (tmp_path / "lib.so").write_bytes(add_headers(bytes(data), [whole], tags))
    with pytest.raises(reader.ElfError, match="has no end"):
        symbols.exported(tmp_path / "lib.so")


@pytest.mark.parametrize("file", [manifest.MANIFEST, manifest.CONTENTS])
@pytest.mark.parametrize("text", ["[" * 100_000, '{"elf": ' + "[" * 100_000])
def test_deeply_nested_record_is_handled(tmp_path: Path, file: str, text: str) -> None:
    manifest.write(tmp_path, {"elf": []})
    manifest.write_contents(tmp_path)
    (tmp_path / file).write_text(text)
    found = {finding.rule.id for finding in audit.audit(tmp_path).findings}
    assert "file-missing" in found
