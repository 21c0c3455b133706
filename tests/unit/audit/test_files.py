"""The audit rules on paths, prefixes, modes, scripts and later changes, broken by real files."""

from __future__ import annotations

import py_compile
import shutil
import socket
import subprocess
import sys
import tempfile
import tracemalloc
from pathlib import Path

import pytest

from rezbuild import audit
from rezbuild.audit import RULES
from rezbuild.audit.places import Places
from rezbuild.payload import manifest


@pytest.fixture
def payload(tmp_path) -> Path:
    folder = tmp_path / "payload"
    (folder / "lib").mkdir(parents=True)
    return folder


def find_broken(payload: Path, **options) -> set[tuple[str, str]]:
    return {(one.rule.id, one.path) for one in audit.audit(payload, **options).findings}


PLACE = "/mnt/build box/work"


@pytest.mark.parametrize(
    "data",
    [
        f"prefix={PLACE}\n",
        f"-I{PLACE}/include",
        f"The folder is {PLACE}.",
        "x = 'file:///mnt/build%20box/work/x'",
        f"{'x' * 100_000}{PLACE}",
        f"\0A{PLACE}B\0",  # compiled: what is beside it is no part of it
    ],
)
def test_path_anywhere_in_a_file_is_found(payload, data):
    (payload / "lib/x").write_text(data)
    assert find_broken(payload, places=[PLACE]) == {("build-path", "lib/x")}
    assert find_broken(payload) == set()


@pytest.mark.parametrize("more", ["2", "-old", "_x", ".bak", "é"])
def test_longer_path_is_not_a_finding(payload, more):
    (payload / "lib/x").write_text(f"prefix={PLACE}{more}\n", encoding="utf-8")
    assert find_broken(payload, places=[PLACE]) == set()


def test_path_in_a_library_and_in_compiled_python_is_found(payload, compile_c):
    compile_c.library(f"{payload}/lib/libx.so", source=f'const char *home = "{PLACE}/etc";\n')
    (payload / "x.py").write_text("x = 1\n")
    py_compile.compile(str(payload / "x.py"), str(payload / "lib/x.pyc"), dfile=f"{PLACE}/x.py")
    assert find_broken(payload, places=[PLACE]) == {
        ("build-path", "lib/libx.so"),
        ("build-path", "lib/x.pyc"),
    }


def test_path_in_a_name_and_in_a_link_target_is_found(payload):
    """DESTDIR was given twice; a link leads there."""
    (payload / PLACE.lstrip("/")).mkdir(parents=True)
    (payload / "link").symlink_to(f".{PLACE}")
    paths = {path for rule, path in find_broken(payload, places=[PLACE]) if rule == "build-path"}
    assert paths == {"link", "mnt/build box/work"}


def test_own_path_is_found_resolved_and_as_given(payload, tmp_path):
    link = tmp_path / "a link"
    link.symlink_to(payload)
    for number, text in enumerate((str(payload), str(link), str(link).replace(" ", "%20"))):
        (payload / f"file{number}").write_text(f"home = {text}\n")
    assert find_broken(payload) == {("build-path", "file0")}
    report = audit.audit(link)
    assert {one.path for one in report.findings} == {"file0", "file1", "file2"}
    assert report.places == {str(payload): 1, str(link): 1, str(link).replace(" ", "%20"): 1}


def test_findings_are_counted_by_path(payload):
    for number in range(3):
        (payload / f"file{number}").write_text(f"{PLACE} and {PLACE} again\n")
    (payload / "other").write_text("/mnt/other\n")
    report = audit.audit(payload, places=[PLACE, "/mnt/other"])
    assert report.places == {PLACE: 3, "/mnt/other": 1}


def test_root_folder_is_not_searched_for():
    assert Places(["/"]).names == ()
    assert Places(["relative", "."]).names == ()
    assert Places(["/"]).in_data(b"/ and /x", text=True) == []


def test_large_file_is_not_read_into_memory(payload):
    size = 96 << 20
    with (payload / "large").open("wb") as stream:
        stream.seek(size)
        stream.write(PLACE.encode())
    tracemalloc.start()
    try:
        assert find_broken(payload, places=[PLACE]) == {("build-path", "large")}
        assert tracemalloc.get_traced_memory()[1] < size // 4
    finally:
        tracemalloc.stop()


def test_records_of_rez_are_ignored(payload):
    for name in ("build.rxt", "variant.json"):
        (payload / name).write_text(f"{payload}\n")
        (payload / "lib" / name).write_text(f"{payload}\n")
    assert find_broken(payload) == {
        ("build-path", "lib/build.rxt"),
        ("build-path", "lib/variant.json"),
    }


@pytest.mark.parametrize("name", ["python-3.11.2", "libx11-1.8", "source"])
def test_placeholder_prefix_in_a_text_is_an_error(payload, name):
    (payload / "lib/x.txt").write_text(f"prefix=/rezbuild/{name}/lib\n")
    (payload / "lib/x.pyc").write_bytes(f"\0/rezbuild/{name}/lib".encode())
    report = audit.audit(payload, own=True)
    assert [(one.rule.id, one.path) for one in report.findings] == [("text-prefix", "lib/x.txt")]
    assert report.findings[0].message == f"it names /rezbuild/{name}"
    assert find_broken(payload) == set()


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        *(("file", mode) for mode in (0o666, 0o600, 0o640, 0o744)),
        *(("folder", mode) for mode in (0o777, 0o700, 0o750, 0o1777)),
    ],
)
def test_private_modes_are_errors(payload, kind, mode):
    path = payload / "x"
    path.mkdir() if kind == "folder" else path.write_text("x")
    path.chmod(mode)
    assert find_broken(payload) == {("mode", "x")}
    (finding,) = audit.audit(payload, own=True).findings
    assert finding.severity == "error"
    assert audit.audit(payload, own=False).errors == ()


@pytest.mark.parametrize("mode", [0o644, 0o755, 0o444, 0o555, 0o664, 0o775])
def test_public_modes_pass(payload, mode):
    (payload / "x").write_text("x")
    (payload / "x").chmod(mode)
    assert find_broken(payload) == set()


def test_mode_of_the_root_is_checked(payload):
    payload.chmod(0o777)
    assert find_broken(payload) == {("mode", ".")}


def test_program_without_execute_mode_is_found(payload, compile_c):
    compile_c.program(f"{payload}/bin/x").chmod(0o644)
    compile_c.library(f"{payload}/lib/libx.so").chmod(0o644)
    assert find_broken(payload) == {("mode", "bin/x")}


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("#!/bin/sh", ""),
        ("#!/bin/sh -e", ""),
        ("#! /usr/bin/env perl", ""),
        ("#!/usr/bin/env -S perl -w", ""),
        ("#!/usr/bin/perl -w", ""),
        ("#!/usr/bin/python3", "/usr/bin/python3"),
        ("#! /mnt/venv/bin/python", "/mnt/venv/bin/python"),
        ("#!/usr/bin/env /mnt/venv/bin/python", "/mnt/venv/bin/python"),
        ("#!python", "python"),
        ("#!../bin/python3", "../bin/python3"),
        ("text", ""),
    ],
)
def test_foreign_interpreter_of_a_script_is_an_error(payload, line, wrong):
    path = payload / "script"
    path.write_text(f"{line}\nx\n")
    assert find_broken(payload) == set()
    path.chmod(0o755)
    findings = audit.audit(payload).findings
    assert [(one.rule.id, one.message) for one in findings] == (
        [("shebang", f"its interpreter is {wrong}")] if wrong else []
    )


def test_libtool_archive_is_an_error(payload):
    (payload / "lib/libx.la").write_text("libdir='/usr/lib'\n")
    assert find_broken(payload) == {("libtool-archive", "lib/libx.la")}
    assert audit.audit(payload).errors == ()
    assert len(audit.audit(payload, own=True).errors) == 1


def test_special_files_are_named_and_not_opened(payload):
    """Opening a FIFO would wait for its writer."""
    subprocess.run(["mkfifo", payload / "pipe"], check=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(payload / "s"))
        assert find_broken(payload) - {("mode", "s")} == {
            ("special-file", "pipe"),
            ("special-file", "s"),
        }


def lists(payload: Path) -> None:
    """Write the lists like the build command."""
    elves = audit.audit(payload, own=True).elf
    manifest.write(payload, {"elf": list(elves)})
    manifest.write_contents(payload)


@pytest.fixture
def payload_with_lists(payload, compile_c) -> Path:
    compile_c.library(f"{payload}/lib/libx.so.1")
    (payload / "lib/libx.so").symlink_to("libx.so.1")
    (payload / "text").write_text("text\n")
    lists(payload)
    assert find_broken(payload) == set()
    return payload


def test_added_module_is_an_error(payload_with_lists, compile_c):
    compile_c.library(f"{payload_with_lists}/lib/later.so")
    assert find_broken(payload_with_lists) == {("elf-set", "lib/later.so")}
    assert RULES["elf-set"].severity == "error"


def test_added_file_is_a_note(payload_with_lists):
    (payload_with_lists / "lib/later.py").write_text("x")
    assert find_broken(payload_with_lists) == {("file-added", "lib/later.py")}
    assert audit.audit(payload_with_lists).errors == ()


def test_pycache_files_are_ignored(payload_with_lists):
    (payload_with_lists / "lib/__pycache__").mkdir()
    (payload_with_lists / "lib/__pycache__/x.cpython-311.pyc").write_text("x")
    assert find_broken(payload_with_lists) == set()


@pytest.mark.parametrize("path", ["text", "lib/libx.so.1", "lib/libx.so"])
def test_missing_file_is_an_error(payload_with_lists, path):
    (payload_with_lists / path).unlink()
    assert ("file-missing", path) in find_broken(payload_with_lists)


def test_truncated_copy_is_an_error(payload_with_lists):
    (payload_with_lists / "text").write_text("te")
    (finding,) = audit.audit(payload_with_lists).findings
    assert (finding.rule.id, finding.path) == ("file-missing", "text")
    assert finding.message == "it has 2 bytes; 5 were built"


def test_changed_link_is_an_error(payload_with_lists):
    (payload_with_lists / "lib/libx.so").unlink()
    (payload_with_lists / "lib/libx.so").symlink_to("../text")
    assert find_broken(payload_with_lists) == {("file-missing", "lib/libx.so")}


def test_copy_that_follows_links_passes(payload_with_lists, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(payload_with_lists, copy)
    assert not (copy / "lib/libx.so").is_symlink()
    assert find_broken(copy) == set()


def test_record_lists_libraries_without_a_file_list(payload_with_lists):
    (payload_with_lists / manifest.CONTENTS).unlink()
    assert find_broken(payload_with_lists) == {("file-missing", manifest.CONTENTS)}
    (payload_with_lists / "lib/libx.so.1").unlink()
    assert ("file-missing", "lib/libx.so.1") in find_broken(payload_with_lists)


def test_payload_without_lists_is_audited(payload):
    manifest.write(payload, {"name": "x"})
    (payload / "text").write_text("x")
    assert find_broken(payload) == set()


# Run as another user, because root reads everything.
UNREADABLE = """\
import os, sys
from pathlib import Path
from rezbuild import audit
if os.getuid() == 0:
    os.setuid(65534)
print(sorted((f.rule.id, f.path) for f in audit.audit(Path(sys.argv[1])).findings))
"""


def test_unreadable_folder_is_named():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "closed").mkdir(mode=0)
        (folder / "secret").write_text("x")
        (folder / "secret").chmod(0)
        argv = [sys.executable, "-c", UNREADABLE, name]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    wanted = [(rule, path) for rule in ("mode", "unreadable") for path in ("closed", "secret")]
    assert done.stdout == f"{wanted}\n", done.stderr
