"""Relocation and audit of Mach-O files: names, paths, bundled libraries, signatures."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from macho_files import PREFIX, Chain, llvm_says

from rezbuild import audit
from rezbuild.audit.places import Places
from rezbuild.errors import RelocationError
from rezbuild.macho import reader, signature
from rezbuild.payload import formats, relocate
from rezbuild.payload.dependency import Dependency

SYSTEM = "/usr/lib/libSystem.B.dylib"


@pytest.fixture
def chain(compile_macho, tmp_path) -> Chain:
    return Chain(compile_macho, tmp_path)


def plain(name: str) -> str:
    """Return a library's name without its hash."""
    return re.sub(r"-[0-9a-f]{8}\.dylib", ".dylib", name)


def files(payload: Path) -> dict[str, reader.MachO]:
    found = {path.relative_to(payload): reader.read(path) for path in formats.walk(payload)}
    return {plain(str(path)): data for path, data in found.items()}


def needs(data: reader.MachO) -> list[str]:
    return [plain(name) for name in data.needed if name != SYSTEM]


def rules(payload: Path) -> set[str]:
    return {finding.rule.id for finding in audit.audit(payload, own=True).findings}


def test_every_need_becomes_a_path_in_the_payload(chain):
    chain.relocate()
    found = files(chain.payload)
    assert {place: needs(data) for place, data in found.items()} == {
        "bin/program": ["@loader_path/../lib/libtop.3.dylib"],
        "lib/python3/module.so": ["@loader_path/../libtop.3.dylib"],
        "lib/libtop.3.dylib": ["@loader_path/../deps/mid/2.0/lib/libmiddle.2.dylib"],
        "deps/mid/2.0/lib/libmiddle.2.dylib": ["@loader_path/../../../low/1.0/lib/libbase.1.dylib"],
        "deps/low/1.0/lib/libbase.1.dylib": [],
    }
    assert not any(data.rpath for data in found.values())


def test_own_names_contain_no_folder_and_are_unique(chain):
    chain.relocate()
    found = {path: reader.read(path) for path in formats.walk(chain.payload)}
    for path, data in found.items():
        assert data.soname == (f"@rpath/{path.name}" if data.type == "dylib" else None)
        assert ("deps" in path.parts) == (plain(path.name) != path.name)


def test_llvm_reads_the_same_names(chain):
    chain.relocate()
    for path in formats.walk(chain.payload):
        data = reader.read(path)
        used = [name for name in llvm_says("--dylibs-used", path) if name != data.soname]
        assert used == list(data.needed)
        assert llvm_says("--dylib-id", path) == ([data.soname] if data.soname else [])
        assert llvm_says("--rpaths", path) == []


def test_closure_is_in_the_payload_after_a_move(chain, tmp_path):
    """Follow the paths as dyld does, from the program to the last library."""
    chain.relocate()
    chain.move(tmp_path / "another place, with spaces")
    pending, seen = [chain.payload / "bin/program"], set()
    while pending:
        path = pending.pop()
        seen.add(plain(path.name))
        for name in reader.read(path).needed:
            if name != SYSTEM:
                assert name.startswith("@loader_path/")
                pending.append(Path(os.path.normpath(path.parent / name.partition("/")[2])))
    assert seen == {"program", "libtop.3.dylib", "libmiddle.2.dylib", "libbase.1.dylib"}
    assert audit.audit(chain.payload, own=True).findings == ()


def test_signatures_are_valid_after_the_edit(chain):
    chain.relocate()
    for path in formats.walk(chain.payload):
        data = reader.read(path)
        assert signature.problem(data) == ""
        assert (data.signature is not None) == (data.machine == "ARM64")


def test_no_file_names_a_folder_of_the_build(chain, tmp_path):
    chain.relocate()
    places = Places([tmp_path, PREFIX])
    for path in formats.walk(chain.payload):
        assert places.in_data(path.read_bytes(), text=False) == []


def test_audit_refuses_the_payload_before_relocation(chain):
    assert rules(chain.payload) >= {"needed-absolute", "needed-unresolved", "rpath-absolute"}


def test_second_relocation_changes_nothing(chain):
    chain.relocate()
    plan = relocate.plan(chain.payload, [])
    assert not any(edit.changed for edit in plan.edits)


def test_payload_with_bundled_libraries_can_be_a_dependency(chain, compile_macho, tmp_path):
    """The new payload gets the libraries that its dependency has bundled, with their names."""
    chain.relocate()
    top = chain.payload / "lib/libtop.3.dylib"
    user = tmp_path / "user"
    compile_macho.library(
        f"{user}/lib/libuser.dylib",
        str(top),
        source="int top(void); int user(void) { return top(); }\n",
    )
    plan = relocate.plan(user, [Dependency("chain", "3.0", chain.payload)])
    relocate.apply(plan, user, "patchelf is not used")
    assert {plain(str(library.target)) for library in plan.bundled} == {
        "deps/chain/3.0/lib/libtop.3.dylib",
    }
    assert "needed-unresolved" in rules(user)


def test_file_without_room_in_its_header_is_refused(compile_macho, tmp_path):
    """llvm-install-name-tool overwrites the code, and succeeds."""
    payload = tmp_path / "payload"
    base = compile_macho.library(f"{payload}/lib/a/{'x' * 60}.dylib", own_name="/b")
    source = "int answer(void); int main(void) { return answer(); }\n"
    compile_macho(f"{payload}/bin/program", source, str(base), room=False)
    with pytest.raises(RelocationError, match=r"link it with -Wl,-headerpad_max_install_names"):
        relocate.apply(relocate.plan(payload, []), payload, "patchelf is not used")
    assert "macho-damaged" in rules(payload)


def test_library_of_another_machine_is_not_found(chain, compile_macho, tmp_path, zig_cache):
    chain.relocate()
    other = type(compile_macho)(
        tmp_path, "ARM64" if compile_macho.machine == "x86_64" else "x86_64", zig_cache
    )
    top = chain.payload / "lib/libtop.3.dylib"
    top.unlink()
    other.library(str(top), source="int top(void) { return 1; }\n")
    assert "needed-unresolved" in rules(chain.payload)


def test_changed_code_breaks_the_signature(chain):
    chain.relocate()
    data = reader.read(chain.program)
    code = bytearray(chain.program.read_bytes())
    end, _ = data.signature or (len(code), 0)
    code[end - 1] ^= 1
    chain.program.write_bytes(code)
    assert rules(chain.payload) == ({"signature"} if data.machine == "ARM64" else set())


def test_program_that_is_not_executable_is_found(chain):
    chain.relocate()
    chain.program.chmod(0o644)
    assert rules(chain.payload) == {"mode"}


def test_library_from_the_hosts_folders_is_refused(compile_macho, tmp_path):
    """Homebrew's folder is not a part of macOS."""
    payload = tmp_path / "payload"
    base = compile_macho.library("libz.dylib", own_name="/usr/local/lib/libz.dylib")
    source = "int answer(void); int main(void) { return answer(); }\n"
    compile_macho.program(f"{payload}/bin/program", str(base), source=source)
    relocate.apply(relocate.plan(payload, []), payload, "patchelf is not used")
    found = [(f.rule.id, f.message) for f in audit.audit(payload, own=True).findings]
    assert found == [("needed-absolute", "/usr/local/lib/libz.dylib")]
