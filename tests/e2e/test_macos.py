"""Upstream's zlib, built for macOS by a cross-compiler: bundled, relocated and audited."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import macho_files
import pytest
from studio import ROOT

from rezbuild import audit
from rezbuild.catalogue import sources_toml
from rezbuild.files import unpack
from rezbuild.macho import reader, signature
from rezbuild.payload import formats, relocate
from rezbuild.payload.dependency import Dependency
from rezbuild.settings import Settings
from rezbuild.sources.fetch import Fetcher

pytestmark = pytest.mark.e2e

PREFIX = "/rezbuild/zlib"


@pytest.fixture(params=macho_files.MACHINES)
def compiler(request: pytest.FixtureRequest, tmp_path: Path) -> macho_files.Compiler:
    macho_files.require_compiler()
    return macho_files.Compiler(tmp_path, request.param, tmp_path / "cache")


def build_zlib(compiler: macho_files.Compiler, folder: Path) -> tuple[Path, Path]:
    """Return the folder of the installed library, and a program that is linked to it."""
    recipe = sources_toml.load(ROOT / "packages/zlib")
    fetched = Fetcher(Settings.read()).fetch(recipe.release(recipe.default))
    source = unpack.unpack(fetched.path, folder / "source")
    env = {
        **compiler.env,
        "CC": shlex.join([*compiler.argv, "-g0"]),
        "LDFLAGS": "-Wl,-headerpad_max_install_names",
    }
    tools = [f"{name}={compiler.zig} {name.lower()}" for name in ("AR", "RANLIB")]
    for argv in (
        ["./configure", f"--prefix={PREFIX}", "--uname=Darwin"],
        ["make", "ARFLAGS=rcs", *tools],
        ["make", "install", f"DESTDIR={folder}/dest", "ARFLAGS=rcs", *tools],
    ):
        subprocess.run(argv, cwd=source, env=env, check=True, capture_output=True)
    return folder / f"dest{PREFIX}", source / "minigzipsh"


def test_zlib_travels_with_the_program_that_needs_it(compiler, tmp_path):
    installed, program = build_zlib(compiler, tmp_path)
    payload = tmp_path / "payload"
    (payload / "bin").mkdir(parents=True)
    shutil.copy(program, payload / "bin")
    plan = relocate.plan(payload, [Dependency("zlib", "1", installed)])
    relocate.apply(plan, payload, "patchelf is not used")
    shutil.rmtree(installed)
    (library,) = (payload / "deps/zlib/1/lib").iterdir()
    assert library.name.startswith("libz.1-")
    assert library.suffix == ".dylib"
    needed = reader.read(payload / "bin/minigzipsh").needed
    assert f"@loader_path/../deps/zlib/1/lib/{library.name}" in needed
    assert audit.audit(payload, places=[tmp_path, PREFIX], own=True).findings == ()
    for path in formats.walk(payload):
        assert reader.read(path).machine == compiler.machine
        assert signature.problem(reader.read(path)) == ""
