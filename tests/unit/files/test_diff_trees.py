"""Comparison of two trees, with the cause of each difference."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rezbuild.files.diff_trees import Difference, compare, explain


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("one", "other"):
        (tmp_path / name / "lib").mkdir(parents=True)
    return tmp_path / "one", tmp_path / "other"


def _compare(trees: tuple[Path, Path]) -> dict[str, Difference]:
    return {found.path: found for found in compare(*trees, ["variant.json"])}


def test_equal_trees_have_no_differences(trees):
    for tree in trees:
        (tree / "lib/file").write_bytes(b"\0same")
        (tree / "link").symlink_to("lib/file")
    os.utime(trees[0] / "lib/file", (1, 1))
    (trees[0] / "variant.json").write_text("Rez's own")
    assert not _compare(trees)


def test_names_kinds_modes_and_links_are_compared(trees):
    one, other = trees
    (one / "a").touch()
    (other / "b\n").touch()
    (one / "kind").mkdir()
    (other / "kind").touch()
    (one / "link").symlink_to("here")
    (other / "link").symlink_to("there")
    other.chmod(0o700)
    (one / "lib").chmod(0o2755)
    found = _compare(trees)
    assert {path: d.what for path, d in found.items()} == {
        ".": "mode 755 and 700",
        "a": "only in the first",
        "b\n": "only in the second",
        "kind": "a folder in the first, a file in the second",
        "lib": "mode 2755 and 755",
        "link": "leads elsewhere",
    }
    assert found["link"].detail == ("- here", "+ there")


def test_text_differs_by_lines(trees):
    for tree, line in zip(trees, ("by root", "by nobody")):
        (tree / "facts").write_text(f"1\n2\nbuilt {line}\n3\n4\n")
    assert _compare(trees)["facts"].detail[1:] == (" 2", "-built by root", "+built by nobody", " 3")


def test_long_difference_is_truncated(trees):
    for tree, sign in zip(trees, "ab"):
        (tree / "many").write_text(f"{sign}\n" * 1000)
    detail = _compare(trees)["many"].detail
    assert len(detail) == 21
    assert detail[-1].endswith("lines more")


def _program(folder: Path, stamp: str) -> bytes:
    source = folder / "stamp.c"
    source.write_text(f'#include <stdio.h>\nint main(void) {{ puts("at {stamp}"); return 0; }}\n')
    subprocess.run(["gcc", "-c", source, "-o", folder / "stamp.o"], check=True)
    subprocess.run(["gcc", folder / "stamp.o", "-o", folder / "program"], check=True)
    return (folder / "program").read_bytes()


def test_elf_files_differ_by_sections(tmp_path):
    lines = list(explain(_program(tmp_path, "12:00"), _program(tmp_path, "12:01")))
    text = "\n".join(lines)
    assert "section .rodata: 1 byte differs" in text
    assert "  -at 12:00\n  +at 12:01" in text
    assert "section .text" not in text


def test_damaged_elf_file_is_compared_by_bytes(tmp_path):
    whole = _program(tmp_path, "x")
    assert list(explain(whole, whole[:70])) != []
    assert list(explain(whole[:40], whole[:70])) != []


def test_static_libraries_differ_by_members(tmp_path):
    _program(tmp_path, "12:00")
    found = []
    for time in (1, 100):
        os.utime(tmp_path / "stamp.o", (time, time))
        subprocess.run(["ar", "rcU", f"lib{time}.a", "stamp.o"], cwd=tmp_path, check=True)
        found.append((tmp_path / f"lib{time}.a").read_bytes())
    (line,) = [line for line in explain(*found) if "stamp.o" in line]
    assert "time, owner, mode, size: 1 " in line
    assert " and 100 " in line


def test_other_files_show_the_first_differing_byte():
    lines = list(explain(b"\xff" * 100 + b"\0\1", b"\xff" * 100 + b"\0\2\3"))
    assert lines[0] == "2 bytes differ, the first at 0x65, 102 and 103 bytes long"
    assert lines[1:] == ["- 01", "+ 02 03"]


def test_diffoscope_is_used_if_installed(trees, tmp_path, monkeypatch):
    program = tmp_path / "bin/diffoscope"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable}\nprint('head\\nhead\\nit knows'); raise SystemExit(1)\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    for tree, text in zip(trees, "ab"):
        (tree / "facts").write_text(text)
    assert _compare(trees)["facts"].detail == ("it knows",)
