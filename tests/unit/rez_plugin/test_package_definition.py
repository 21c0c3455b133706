"""`define` in a ``package.py``, loaded and installed by Rez."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rezbuild.catalogue import sources_toml
from rezbuild.payload import manifest
from rezbuild.rez_plugin import package_definition

SOURCES = """\
default = "1.2.3"
license = "MIT"
profiled = true
file = "thing-{version}.tar.gz"
urls = ["https://example.invalid/{file}"]
[versions."1.2.3"]
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
requires = ["other-1"]
"""
OWN = """\
name = "thing"
description = "A thing."
uuid = "thing"
tools = ["thing"]
"""
DEFINED = f"""\
from rezbuild.rez_plugin.package_definition import define

{OWN}define(globals())
"""
# Recipes had this form before `define`; other people's recipes may still have it.
WRITTEN_OUT = f"""\
{OWN}relocatable = cachable = True


@early()
def version():
    import rezbuild

    return rezbuild.package().version


@early()
def variants():
    import rezbuild

    return rezbuild.package().variants


@early()
def private_build_requires():
    import rezbuild

    return rezbuild.package().requires


@early()
def build_command():
    import rezbuild

    return rezbuild.package().build_command


@early()
def built_from():
    import rezbuild

    return rezbuild.package().built_from


def commands():
    env.PATH.prepend("{{root}}/bin")
"""
PLATFORM = '[versions."2025"]\nrequires = ["~thing-1"]\nglibc = "2.28"\n'
PLATFORM_WRITTEN_OUT = f"""\
{OWN}build_command = False


@early()
def version():
    import rezbuild

    return rezbuild.platform().version


@early()
def requires():
    import rezbuild

    return list(rezbuild.platform().requires)
"""

# A new process, because Rez loads plugins once, and not if warnings are errors.
INSTALL = """\
import sys
from rez.developer_package import DeveloperPackage
for variant in DeveloperPackage.from_path(sys.argv[1]).iter_variants():
    variant.install(sys.argv[2])
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a recipe's folder without its package.py."""
    folder = tmp_path / "thing"
    folder.mkdir()
    (folder / "sources.toml").write_text(SOURCES)
    (folder / "recipe.py").touch()
    monkeypatch.setenv("REZBUILD_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("REZBUILD_THING_VERSION", raising=False)
    return folder


def load(folder: Path, definition: str) -> subprocess.CompletedProcess[str]:
    """Load a definition by Rez, and install it into the folder ``repository`` beside."""
    (folder / "package.py").write_text(definition)
    argv = [sys.executable, "-c", INSTALL, folder, folder.parent / "repository"]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def install(folder: Path, definition: str) -> dict[str, str]:
    """Install a definition by Rez; return the text of each attribute by name."""
    repository = folder.parent / "repository"
    shutil.rmtree(repository, ignore_errors=True)
    repository.mkdir()
    done = load(folder, definition)
    assert done.returncode == 0, done.stderr
    (file,) = repository.glob("thing/*/package.py")
    parts = re.split(r"\n\n(?=\S)", file.read_text())[1:]
    found = {re.sub(r"^@late\(\)\ndef |^def ", "", part).split("(")[0]: part for part in parts}
    return {re.split(r"\W", name)[0]: part.rstrip() for name, part in found.items()}


def test_definition_equals_a_written_out_one(folder):
    new, old = install(folder, DEFINED), install(folder, WRITTEN_OUT)
    assert {"name", "version", "variants", "commands", "built_from"} <= old.keys()
    # The text of package.py is an input of the build, so the recipe's revision differs.
    assert new.keys() - old.keys() == {"tests", "glibc", "requires"}
    for name in old.keys() - {"built_from", "timestamp"}:
        assert new[name] == old[name]


def test_definition_leaves_no_other_name_behind(folder):
    names = "name version description tools private_build_requires variants commands uuid timestamp"
    names += " relocatable cachable tests glibc requires built_from format_version"
    assert install(folder, DEFINED).keys() == set(names.split())


def test_late_functions_are_stored_with_their_whole_source(folder):
    found = install(folder, DEFINED)
    assert found["commands"] == 'def commands():\n    env.PATH.prepend("{root}/bin")'
    for name in ("tests", "glibc", "requires"):
        assert found[name].startswith(f"@late()\ndef {name}():\n    ")
        assert "\n    return " in found[name]
        compile(found[name], name, "exec")


def test_attributes_of_package_py_stay(folder):
    own = "def commands():\n    env.OWN = '1'\n\n\nrequires = ['!other']\ncachable = False\n"
    found = install(folder, DEFINED.replace("define(", own + "define("))
    assert found["commands"] == "def commands():\n    env.OWN = '1'"
    assert found["fixed_requires"] == "fixed_requires = ['!other']"
    assert found["cachable"] == "cachable = False"


def test_package_without_tools_has_no_commands(folder):
    assert "commands" not in install(folder, DEFINED.replace('tools = ["thing"]\n', ""))


def test_dependencies_are_those_of_the_build_or_of_the_run_time(folder):
    found = install(folder, DEFINED)
    assert found["private_build_requires"] == "private_build_requires = ['other-1']"
    assert "fixed_requires" not in found
    run_time = DEFINED.replace("globals()", "globals(), requires_at_run_time=True")
    found = install(folder, run_time)
    assert found["fixed_requires"] == "fixed_requires = ['other-1']"
    assert "private_build_requires" not in found
    found = install(folder, run_time.replace("define(", "requires = ['!third']\ndefine("))
    assert "".join(found["fixed_requires"].split()) == "fixed_requires=['!third','other-1']"


def test_wrong_version_is_an_error_of_rez(folder, monkeypatch):
    monkeypatch.setenv("REZBUILD_THING_VERSION", "9.9")
    for definition in (DEFINED, WRITTEN_OUT):
        error = load(folder, definition).stderr
        assert "rez.exceptions.PackageMetadataError: " in error
        assert "next:  choose a version: 1.2.3" in error


def test_platform_definition_equals_a_written_out_one(folder):
    (folder / "sources.toml").unlink()
    (folder / "platform.toml").write_text(PLATFORM)
    new, old = install(folder, DEFINED), install(folder, PLATFORM_WRITTEN_OUT)
    assert old["requires"] == "requires = ['~thing-1']"
    for name in old.keys() - {"timestamp"}:
        assert new[name] == old[name]
    assert new["glibc"] == "glibc = '2.28'"
    assert new["draft"] == "draft = False"
    assert new.keys() - old.keys() == {"glibc", "draft", "relocatable", "cachable"}


def test_change_of_the_common_attributes_changes_the_revision(folder, tmp_path, monkeypatch):
    (folder / "package.py").write_text(DEFINED)
    recipe = sources_toml.load(folder)
    copy = shutil.copytree(Path(manifest.__file__).parents[1], tmp_path / "rezbuild")
    monkeypatch.setattr(manifest, "__file__", str(copy / "payload/manifest.py"))
    before = manifest.recipe_revision(recipe, recipe.release("1.2.3"))
    file = copy / "rez_plugin" / Path(package_definition.__file__).name
    file.write_text(file.read_text() + "# Changed.\n")
    assert manifest.recipe_revision(recipe, recipe.release("1.2.3")) != before
