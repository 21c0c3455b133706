"""The key of a payload contains each input that may change it."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from payloads import payload

from rezbuild.build import toolchain
from rezbuild.build.inputs import Inputs, Job
from rezbuild.catalogue import sources_toml
from rezbuild.payload.dependency import Dependency
from rezbuild.settings import Settings
from rezbuild.store import key as keys

SOURCES = """\
default = "1.0"
license = "MIT"
file = "thing-{version}.tar.gz"
urls = ["https://upstream.invalid/{file}"]
requires = ["low"]
profiled = true
[versions."1.0"]
sha256 = "SUM"
patches = ["one.patch"]
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    folder = tmp_path / "recipes/thing"
    (folder / "patches").mkdir(parents=True)
    (folder / "sources.toml").write_text(SOURCES.replace("SUM", "0" * 64))
    for name in ("package.py", "recipe.py", "patches/one.patch"):
        (folder / name).write_text(name)
    return folder


def gather(recipe: Path, low: Path, profile: str = "fast", **more: str) -> dict[str, object]:
    # A process caches the version of its compiler.
    keys.machine_inputs.cache_clear()
    settings = Settings(cache=recipe, **more)
    dependencies = {"low": Dependency("low", "1.0", low)}
    job = Job(recipe, "1.0", recipe, (), profile, dependencies)
    return keys.gather_inputs(Inputs.gather(job, settings))


def test_each_input_is_in_the_key(recipe, tmp_path):
    low = payload(tmp_path / "low", "low")
    first = gather(recipe, low)
    assert keys.hash_inputs(first) == keys.hash_inputs(gather(recipe, low))
    found = {keys.hash_inputs(first): "nothing"}

    def assert_differs(what: str, *names: str, **more: str) -> None:
        changed = gather(recipe, low, **more)
        assert {*names} <= {*keys.differences(first, changed)}, what
        assert keys.hash_inputs(changed) not in found, what
        found[keys.hash_inputs(changed)] = what

    assert_differs("profile", "profile", profile="optimized")
    assert_differs("compiler's name", "environment", cc=toolchain.which("cc") or "")
    (recipe / "recipe.py").write_text("another")
    assert_differs("recipe", "recipe")
    (recipe / "patches/one.patch").write_text("another")
    assert_differs("patch", "patches", "recipe")
    (recipe / "sources.toml").write_text(SOURCES.replace("SUM", "1" * 64))
    assert_differs("source", "sources", "recipe")
    # Another payload from the same inputs has an equal record.
    (low / "lib/library.so").chmod(0o755)
    assert_differs("what it is built against", "against")


def test_other_compiler_of_the_same_name_changes_the_key(recipe, tmp_path):
    low = payload(tmp_path / "low", "low")
    compiler = tmp_path / "cc"
    compiler.write_text('#!/bin/sh\nexec gcc "$@"\n')
    compiler.chmod(0o755)
    first = gather(recipe, low, cc=str(compiler))
    compiler.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo "gcc (Studio 1) 99" && exit\nexec gcc "$@"\n'
    )
    second = gather(recipe, low, cc=str(compiler))
    assert keys.differences(first, second) == ["compiler"]
    # A compiler with another linker.
    compiler.write_text(
        '#!/bin/sh\n[ "$1" = -print-prog-name=ld ] && echo /bin/true && exit\nexec gcc "$@"\n'
    )
    assert keys.differences(first, gather(recipe, low, cc=str(compiler))) == ["linker"]
    # A compiler without a protection, as some versions of clang.
    compiler.write_text('#!/bin/sh\ncase "$*" in *-fstack-clash*) exit 1;; esac\nexec gcc "$@"\n')
    assert keys.differences(first, gather(recipe, low, cc=str(compiler))) == ["environment"]


def test_key_contains_no_path_of_this_machine(recipe, tmp_path):
    inputs = gather(recipe, payload(tmp_path / "low", "low"))
    assert str(tmp_path) not in json.dumps(inputs)
    assert os.environ["HOME"] not in json.dumps(inputs["environment"])
    assert inputs["glibc"] == os.confstr("CS_GNU_LIBC_VERSION").split()[1]
    assert re.fullmatch(r"0\.\d+(\.\d+)?", inputs["patchelf"])
    assert inputs["linker"]


def test_key_inputs_are_known_before_the_dependencies(recipe, tmp_path):
    inputs = gather(recipe, payload(tmp_path / "low", "low"))
    loaded = sources_toml.load(recipe)
    tools = toolchain.find(Settings(cache=tmp_path))
    planned = keys.planned_inputs(loaded, loaded.release("1.0"), "fast", tools)
    assert keys.matches(inputs, planned)
    assert not keys.matches({**inputs, "glibc": "2.17"}, planned)
    assert not keys.matches(inputs, {**planned, "profile": "optimized"})
    # The profile is no input if the recipe says so.
    plain = replace(loaded, profiled=False)
    assert keys.planned_inputs(plain, loaded.release("1.0"), "fast", tools) == keys.planned_inputs(
        plain, loaded.release("1.0"), "optimized", tools
    )
