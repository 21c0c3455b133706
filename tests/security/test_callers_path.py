"""Programs on the caller's PATH, which no build may run."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from rezbuild.build import toolchain
from rezbuild.files import apply_patches
from rezbuild.payload import debug_data, relocate
from rezbuild.settings import Settings
from rezbuild.sources import debian_archive
from rezbuild.verify import build_variations

# Programs that rezbuild starts; recipes have a separate environment.
PROGRAMS = ("patch", "strip", "objcopy", "patchelf", "locale", "faketime", "apt-get", "apt-config")
DIFF = """\
--- a/file
+++ b/file
@@ -1 +1 @@
-old
+new
"""


@pytest.fixture
def marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file into which each program on the caller's PATH writes its name."""
    folder, marks = tmp_path / "callers", tmp_path / "marks"
    folder.mkdir()
    for name in PROGRAMS:
        program = folder / name
        program.write_text(f'#!/bin/sh\necho {name} >>"{marks}"\nexec /usr/bin/{name} "$@"\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return marks


def test_patch_of_the_caller_is_not_run(tmp_path, marks):
    """``rezbuild export``, farm jobs and ``rezbuild reproduce`` keep the caller's PATH."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source/file").write_text("old\n")
    (tmp_path / "x.patch").write_text(DIFF)
    apply_patches.apply_patches(tmp_path / "source", [tmp_path / "x.patch"])
    assert (tmp_path / "source/file").read_text() == "new\n"
    assert not marks.exists()


def test_payload_tools_of_the_caller_are_not_run(tmp_path, marks, small_library):
    tools = toolchain.find(Settings(tmp_path))
    relocate.strip(small_library.parent, tools.tool("strip"))
    kept = debug_data.keep(
        small_library.parent, tmp_path / "debug", tools.tool("objcopy"), lambda _: []
    )
    program = toolchain.patchelf()
    assert toolchain.patchelf_version(program) >= toolchain.PATCHELF_MINIMUM
    assert Path(program).parent != tmp_path / "callers"
    assert isinstance(kept, dict)
    assert not marks.exists()


def test_reproduce_tools_of_the_caller_are_not_run(marks):
    build_variations._locale()
    build_variations._clock()
    assert not marks.exists()


def test_apt_of_the_caller_is_not_run(tmp_path, marks):
    if not toolchain.which("apt-get"):
        pytest.skip("no apt-get here")
    source = debian_archive.SourceArchive(Settings(tmp_path / "cache"), print)
    source._base.mkdir(parents=True)
    source._configure()
    list(source._repositories())
    assert not marks.exists()


@pytest.fixture
def small_library(tmp_path: Path) -> Path:
    path = tmp_path / "tree/libx.so"
    path.parent.mkdir()
    argv = ["cc", "-g", "-shared", "-fPIC", "-Wl,--build-id", "-x", "c", "-", "-o", path]
    subprocess.run(argv, input="int x;", text=True, check=True, env={"PATH": "/usr/bin:/bin"})
    return path
