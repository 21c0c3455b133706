"""Each audit rule, broken by a real file."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rezbuild import audit
from rezbuild.elf.host_libraries import host_libraries
from rezbuild.errors import UsageError
from rezbuild.payload import manifest

START = "void _start(void) { for (;;) ; }\n"


def find_broken(payload: Path) -> set[tuple[str, str]]:
    return {(finding.rule.id, finding.path) for finding in audit.audit(payload).findings}


@pytest.fixture
def payload(tmp_path) -> Path:
    folder = tmp_path / "payload"
    (folder / "lib").mkdir(parents=True)
    return folder


def test_empty_payload_passes(payload):
    assert find_broken(payload) == set()


def test_program_on_glibc_alone_passes(payload, compile_c):
    compile_c.program(f"{payload}/bin/program")
    assert find_broken(payload) == set()


def test_missing_library_is_an_error(payload, compile_c, tmp_path):
    library = compile_c.library(f"{tmp_path}/elsewhere/libfar.so.1")
    compile_c.library(f"{payload}/lib/libnear.so.1", "-Wl,--no-as-needed", str(library))
    assert find_broken(payload) == {("needed-unresolved", "lib/libnear.so.1")}


def test_library_beside_the_file_needs_a_rpath(payload, compile_c):
    """The host, LD_LIBRARY_PATH or the rpath of another file do not count."""
    library = compile_c.library(f"{payload}/lib/libfar.so.1")
    compile_c.library(f"{payload}/lib/libnear.so.1", "-Wl,--no-as-needed", str(library))
    assert find_broken(payload) == {("needed-unresolved", "lib/libnear.so.1")}


@pytest.mark.parametrize("origin", ["$ORIGIN", "${ORIGIN}/../lib"])
def test_library_is_found_by_the_own_rpath(payload, compile_c, origin):
    library = compile_c.library(f"{payload}/lib/libfar.so.1")
    rpath = f"-Wl,--disable-new-dtags,-rpath,{origin}"
    compile_c.library(f"{payload}/lib/libnear.so.1", "-Wl,--no-as-needed", str(library), rpath)
    assert find_broken(payload) == set()


def test_absolute_needed_path_is_refused_even_if_it_exists(payload, compile_c):
    bare = compile_c(f"{payload}/lib/libbare.so", "int f(void) { return 1; }\n", "-shared", "-fPIC")
    compile_c.program(f"{payload}/bin/x", "-Wl,--no-as-needed", str(bare))
    assert ("needed-absolute", "bin/x") in find_broken(payload)


def test_library_for_another_machine_does_not_count(payload, compile_c):
    library = compile_c.library(f"{payload}/lib/libfar.so.1")
    rpath = "-Wl,--disable-new-dtags,-rpath,$ORIGIN"
    compile_c.library(f"{payload}/lib/libnear.so.1", "-Wl,--no-as-needed", str(library), rpath)
    data = bytearray(library.read_bytes())
    data[18:20] = b"\xb7\x00"  # e_machine: AArch64
    library.write_bytes(data)
    assert ("needed-unresolved", "lib/libnear.so.1") in find_broken(payload)


def test_loader_must_be_that_of_the_abi(payload, compile_c):
    compile_c.program(f"{payload}/bin/x", "-Wl,--dynamic-linker=/opt/store/ld.so")
    assert find_broken(payload) == {("interpreter", "bin/x")}


@pytest.mark.parametrize("kind", ["filter", "auxiliary", "audit", "depaudit"])
def test_auxiliary_libraries_are_refused(payload, compile_c, kind):
    compile_c.library(f"{payload}/lib/libx.so", f"-Wl,--{kind}=libother.so.9")
    assert find_broken(payload) == {("helper", "lib/libx.so")}


def test_misaligned_segment_is_an_error(payload, compile_c):
    path = compile_c.library(f"{payload}/lib/libx.so")
    data = bytearray(path.read_bytes())
    size, count = (int.from_bytes(data[at : at + 2], "little") for at in (54, 56))
    for number in range(count):
        start = int.from_bytes(data[32:40], "little") + number * size
        if data[start] == 1:  # PT_LOAD
            data[start + 48 : start + 56] = (0x200000).to_bytes(8, "little")  # p_align
    path.write_bytes(data)
    assert find_broken(payload) == {("segment-misaligned", "lib/libx.so")}


def test_origin_of_a_linked_library_is_the_link(payload, compile_c):
    library = compile_c.library(f"{payload}/far/libfar.so.1")
    rpath = "-Wl,--disable-new-dtags,-rpath,$ORIGIN/../far"
    compile_c.library(f"{payload}/lib/libnear.so.1", "-Wl,--no-as-needed", str(library), rpath)
    assert find_broken(payload) == set()
    (payload / "lib/beside.so").symlink_to("libnear.so.1")
    assert find_broken(payload) == set()
    (payload / "deep/er").mkdir(parents=True)
    (payload / "deep/er/link.so").symlink_to("../../lib/libnear.so.1")
    assert find_broken(payload) == {("needed-unresolved", "deep/er/link.so")}


def test_link_that_leaves_through_another_is_found(payload, tmp_path):
    (tmp_path / "outside").write_text("x")
    (payload / "deep").mkdir()
    (payload / "deep/up").symlink_to("..")
    (payload / "out").symlink_to("deep/up/../outside")
    assert ("link-outside", "out") in find_broken(payload)


def test_runpath_is_refused(payload, compile_c):
    library = compile_c.library(f"{payload}/lib/libfar.so.1")
    rpath = "-Wl,--enable-new-dtags,-rpath,$ORIGIN"
    compile_c.library(f"{payload}/lib/libnear.so.1", "-Wl,--no-as-needed", str(library), rpath)
    assert find_broken(payload) == {("rpath-runpath", "lib/libnear.so.1")}


@pytest.mark.parametrize(
    ("rpath", "rule"),
    [
        ("/usr/lib", "rpath-absolute"),
        ("lib", "rpath-absolute"),
        ("$ORIGINAL/lib", "rpath-absolute"),
        ("$ORIGIN/../../elsewhere", "rpath-outside"),
        ("$ORIGIN/../share", "rpath-unneeded"),
        ("$ORIGIN", "rpath-unneeded"),
    ],
)
def test_bad_rpaths_are_errors(payload, compile_c, rpath, rule):
    compile_c.library(f"{payload}/lib/libx.so.1", f"-Wl,--disable-new-dtags,-rpath,{rpath}")
    assert find_broken(payload) == {(rule, "lib/libx.so.1")}


def test_second_folder_with_the_same_library_is_unneeded(payload, compile_c):
    library = compile_c.library(f"{payload}/lib/libfar.so.1")
    (payload / "other").mkdir()
    shutil.copy(library, payload / "other")
    rpath = "-Wl,--disable-new-dtags,-rpath,$ORIGIN:$ORIGIN/../other"
    compile_c.library(f"{payload}/lib/libnear.so.1", "-Wl,--no-as-needed", str(library), rpath)
    (finding,) = audit.audit(payload).findings
    assert finding.rule.id == "rpath-unneeded"
    assert "$ORIGIN/../other" in finding.message


def test_known_host_library_is_a_note_with_its_reason(payload, compile_c):
    soname = next(iter(host_libraries().known))
    library = compile_c.library(f"{payload}/../{soname}")
    compile_c.library(f"{payload}/lib/libx.so", "-Wl,--no-as-needed", str(library))
    (finding,) = audit.audit(payload).findings
    assert (finding.rule.id, finding.severity) == ("needed-host", "note")
    assert host_libraries().known[soname] in finding.message
    assert audit.audit(payload).errors == ()


def test_executable_stack_is_an_error(payload, compile_c):
    compile_c.library(f"{payload}/lib/libx.so", "-Wl,-z,execstack")
    assert ("stack-executable", "lib/libx.so") in find_broken(payload)


def test_writable_and_executable_segment_is_an_error(payload, compile_c):
    compile_c.program(
        f"{payload}/bin/x", "-static", "-nostdlib", "-no-pie", "-Wl,--omagic", source=START
    )
    assert ("write-execute", "bin/x") in find_broken(payload)


def test_text_relocations_are_errors(payload, compile_c):
    source = ".text\n.globl f\nf:\n.quad g\n"
    compile_c(
        f"{payload}/lib/libx.so",
        source,
        *("-shared", "-nostdlib", "-Wl,-z,notext"),
        language="assembler",
    )
    assert ("text-relocation", "lib/libx.so") in find_broken(payload)


def test_damaged_file_is_an_error(payload):
    (payload / "lib/libx.so").write_bytes(b"\x7fELF" + b"\xff" * 100)
    assert find_broken(payload) == {("elf-damaged", "lib/libx.so")}


@pytest.mark.parametrize(
    ("target", "rules"),
    [
        ("lib", set()),
        ("nowhere", {"link-dangling"}),
        ("/usr", {"link-absolute"}),
        ("/nowhere/at/all", {"link-absolute", "link-dangling"}),
        ("../../..", {"link-outside"}),
        ("link", {"link-dangling"}),
    ],
)
def test_bad_links_are_errors(payload, target, rules):
    (payload / "link").symlink_to(target)
    assert {rule for rule, _ in find_broken(payload)} == rules


@pytest.mark.parametrize("mode", [0o4755, 0o2755])
def test_setuid_is_an_error(payload, mode):
    (payload / "x").write_text("x")
    (payload / "x").chmod(mode)
    assert find_broken(payload) == {("setuid", "x")}


def test_object_files_and_archives_do_not_count(payload, compile_c):
    compile_c(f"{payload}/lib/x.o", "int f(void) { return 1; }\n", "-c")
    assert find_broken(payload) == set()


def test_errors_come_first(payload, compile_c):
    soname = next(iter(host_libraries().known))
    library = compile_c.library(f"{payload}/../{soname}")
    compile_c.library(f"{payload}/a.so", "-Wl,--no-as-needed", str(library))
    (payload / "z").symlink_to("nowhere")
    assert [finding.severity for finding in audit.audit(payload).findings] == ["error", "note"]


def test_missing_folder_is_wrong_usage():
    with pytest.raises(UsageError, match="not a folder"):
        audit.audit(Path("/nowhere/at/all"))


def test_change_of_the_audit_changes_the_revision():
    """The audit decides about installations, and writes a part of the record."""
    assert "audit/*.py" in manifest._SHAPING
