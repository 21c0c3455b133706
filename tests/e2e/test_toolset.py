"""A compiler in a separate folder, e.g. Red Hat's gcc-toolset: a build uses all its programs."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

TOOLS = (
    *("gcc", "g++", "as", "ld", "ar", "ranlib", "nm", "strip", "objcopy"),
    *("gcc-ar", "gcc-ranlib", "gcc-nm"),
)
# Each script logs its name and runs the system's program.
SCRIPT = """\
#!/bin/sh
echo {name} >>'{log}'
{more}exec /usr/bin/{name} "$@"
"""
STEPS = """\
def build(b):
    b.search_dependencies()
    b.make(f"PREFIX={b.prefix}")
    b.run(b.env["CXX"], "-x", "c++", "-c", "low.c", "-o", "low.o")
    for ar, ranlib, nm in (("ar", "ranlib", "nm"), ("gcc-ar", "gcc-ranlib", "gcc-nm")):
        b.run(ar, "rc", "low.a", "low.o")
        b.run(ranlib, "low.a")
        b.run(nm, "low.a")
    b.install(f"PREFIX={b.prefix}", "install")
    (b.payload / "compiler").write_text(b.env["CC"])
"""


class Toolset:
    """The folder of a toolset, and the log of its called programs."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "root/usr/bin"
        self.bin.mkdir(parents=True)
        self.log = folder / "log"
        for name in TOOLS:
            self.add(name)

    def add(self, name: str, more: str = "") -> None:
        path = self.bin / name
        path.write_text(SCRIPT.format(name=name, log=self.log, more=more))
        path.chmod(0o755)

    def set_version(self, name: str, version: str) -> None:
        """Let a program print another version."""
        self.add(name, f'[ "$1" = --version ] && echo "{version}" && exit\n')

    def called_programs(self) -> set[str]:
        return set(self.log.read_text().split()) if self.log.exists() else set()


@pytest.fixture
def toolset(tmp_path) -> Toolset:
    return Toolset(tmp_path / "opt/rh/gcc-toolset-14")


@pytest.fixture
def recipe(samples):
    (samples.recipes / "low/recipe.py").write_text(STEPS)
    samples.edit("low/sources.toml", "profiled = true", "profiled = true\ndebug = true")


def payload(studio) -> Path:
    (found,) = studio.local.glob("low/1.0.0/*/*")
    return found


@pytest.mark.usefixtures("recipe")
def test_build_uses_each_program_of_the_toolset(studio, toolset):
    studio.rezbuild("build", "low", REZBUILD_CC=str(toolset.bin / "gcc"))
    assert toolset.called_programs() == {*TOOLS}
    # The record has the compiler's name without its folder.
    assert (payload(studio) / "compiler").read_text() == "gcc"
    files = (path for path in payload(studio).rglob("*") if path.is_file())
    assert not [path for path in files if os.fsencode(toolset.bin) in path.read_bytes()]


@pytest.mark.usefixtures("recipe")
def test_other_assembler_or_linker_gives_another_build(studio, toolset):
    chosen = {"REZBUILD_CC": str(toolset.bin / "gcc")}
    studio.rezbuild("build", "low", **chosen)
    record = json.loads((payload(studio) / "rezbuild.json").read_text())
    assert re.match(r"GNU assembler .*\d\.\d+", record["assembler"])
    assert re.match(r"GNU ld .*\d\.\d+", record["linker"])
    assert "nothing to do" in studio.rezbuild("build", "low", **chosen).stdout
    for name, what in (("as", "assembler"), ("ld", "linker")):
        old = record[what]
        toolset.set_version(name, "GNU made-up 99.1")
        out = studio.rezbuild("build", "low", **chosen).stdout
        assert f"it was built with another {what} ({old})" in out
        record = json.loads((payload(studio) / "rezbuild.json").read_text())
        assert record[what] == "GNU made-up 99.1"
    told = studio.rezbuild("manifest", payload(studio)).stdout
    assert re.search(r"assembler +GNU made-up 99\.1 *\n *linker +GNU made-up 99\.1 *\n", told)


@pytest.mark.usefixtures("recipe")
def test_store_separates_payloads_of_two_assemblers(studio, toolset, tmp_path):
    chosen = {"REZBUILD_CC": str(toolset.bin / "gcc"), "REZBUILD_STORE": str(tmp_path / "store")}
    (tmp_path / "store").mkdir()
    studio.rezbuild("build", "low", **chosen)
    toolset.set_version("as", "GNU made-up 99.1")
    assert "(the nearest: assembler)" in studio.rezbuild("build", "low", **chosen).stdout
