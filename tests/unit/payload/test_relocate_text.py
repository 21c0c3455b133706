"""Text files of a payload: scripts and .pc files work after a move."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rezbuild.errors import RelocationError
from rezbuild.payload import relocate_text

PREFIX = "/rezbuild/thing-1.0"
SCRIPT = "#!{interpreter}\n# -*- coding: utf-8 -*-\nimport sys\nprint(sys.argv[1:])\n"


@pytest.fixture
def payload(tmp_path) -> Path:
    """Make a payload whose bin/python3 starts the Python of the tests."""
    folder = tmp_path / "pay load"
    (folder / "bin").mkdir(parents=True)
    python = folder / "bin/python3"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I "$@"\n')
    python.chmod(0o755)
    return folder


def script(payload: Path, interpreter: str, name: str = "tool") -> Path:
    path = payload / "bin" / name
    path.write_text(SCRIPT.format(interpreter=interpreter))
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    "interpreter", [f"{PREFIX}/bin/python3", "/tmp/build/python3", "../python3"]
)
def test_script_finds_its_interpreter_after_a_move(payload, tmp_path, interpreter):
    path = script(payload, interpreter)
    assert relocate_text.fix(payload, PREFIX, {}) == [path]
    moved = tmp_path / "a place with 'quotes' and spaces"
    shutil.move(str(payload), moved)
    link = tmp_path / "link to tool"
    link.symlink_to(moved / "bin/tool")
    for way in (moved / "bin/tool", link):
        done = subprocess.run([way, "a b", "c"], capture_output=True, text=True, check=True)
        assert done.stdout == "['a b', 'c']\n"
    assert os.access(moved / "bin/tool", os.X_OK)


@pytest.mark.parametrize("program", ["python3", "python3.13", "python3.13t"])
def test_script_outside_bin_uses_python_on_path(payload, program):
    folder = payload / "lib/config"
    folder.mkdir(parents=True)
    path = script(payload, f"{PREFIX}/bin/{program}").rename(folder / "tool")
    relocate_text.fix(payload, PREFIX, {})
    assert path.read_text().startswith("#!/usr/bin/env python3\n")


def test_script_in_another_encoding_is_relocated(payload):
    path = script(payload, f"{PREFIX}/bin/python3")
    source = "# -*- coding: latin-1 -*-\nprint(ascii('\xe4'))\n"
    path.write_bytes(f"#!{PREFIX}/bin/python3\n{source}".encode("latin-1"))
    relocate_text.fix(payload, PREFIX, {})
    done = subprocess.run([path], capture_output=True, text=True, check=True)
    assert done.stdout == "'\\xe4'\n"


def test_script_without_a_possible_launcher_is_an_error(payload):
    path = script(payload, f"{PREFIX}/bin/python3")
    path.write_text(f"#!{PREFIX}/bin/python3\n'''Doc.'''\nfrom __future__ import annotations\n")
    with pytest.raises(RelocationError, match="cannot be given a launcher"):
        relocate_text.fix(payload, PREFIX, {})


@pytest.mark.parametrize("interpreter", [" /usr/local/bin/python", f"{PREFIX}/bin/python3"])
def test_module_with_a_first_line_keeps_its_docstring(payload, interpreter):
    path = payload / "lib/module.py"
    path.parent.mkdir()
    path.write_text(f"#!{interpreter}\n'''Doc.'''\nfrom __future__ import annotations\n")
    path.chmod(0o755)
    relocate_text.fix(payload, PREFIX, {})
    assert path.read_text().startswith("#!/usr/bin/env python3\n'''Doc.'''\n")


def test_interpreter_options_are_kept(payload):
    path = script(payload, f"{PREFIX}/bin/python3 -E")
    relocate_text.fix(payload, PREFIX, {})
    assert b'/python3" -E "$0"' in path.read_bytes()


@pytest.mark.parametrize("interpreter", ["/bin/sh", "/usr/bin/env python3", "/usr/bin/perl -w"])
def test_scripts_of_other_interpreters_are_unchanged(payload, interpreter):
    path = script(payload, interpreter)
    before = path.read_bytes()
    assert relocate_text.fix(payload, PREFIX, {}) == []
    assert path.read_bytes() == before


def test_pc_file_computes_its_paths(payload, tmp_path):
    pc = payload / "lib/pkgconfig/thing.pc"
    pc.parent.mkdir(parents=True)
    pc.write_text(
        f"prefix={PREFIX}\nexec_prefix=${{prefix}}\nlibdir={PREFIX}/lib\n"
        "Name: thing\nDescription: d\nVersion: 1\nLibs: -L${libdir} -lthing\n"
    )
    relocate_text.fix(payload, PREFIX, {})
    assert PREFIX not in pc.read_text()
    moved = tmp_path / "moved"
    shutil.move(str(payload), moved)
    done = subprocess.run(
        ["pkg-config", "--variable=libdir", "thing"],
        env={"PKG_CONFIG_PATH": str(moved / "lib/pkgconfig"), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(os.path.normpath(done.stdout.strip())) == moved / "lib"


def test_folders_of_the_build_are_replaced(payload):
    path = payload / "config"
    path.write_text("A=/b/dep/lib -L/b/dep C=/b/dep-2/lib D=/b/dep/deeper/x")
    path.chmod(0o444)
    places = {Path("/b/dep"): "/rezbuild/dep-1", Path("/b/dep/deeper"): "/rezbuild/deep"}
    relocate_text.fix(payload, PREFIX, places)
    assert path.read_text() == (
        "A=/rezbuild/dep-1/lib -L/rezbuild/dep-1 C=/b/dep-2/lib D=/rezbuild/deep/x"
    )
    assert path.stat().st_mode & 0o777 == 0o444


def test_binary_files_and_links_are_unchanged(payload):
    binary = payload / "binary"
    binary.write_bytes(b"/b/dep\0")
    (payload / "link").symlink_to("/b/dep")
    assert relocate_text.fix(payload, PREFIX, {Path("/b/dep"): "x"}) == []
    assert binary.read_bytes() == b"/b/dep\0"
