"""Programs that builds and tests need: the table, the script that reads it, the messages."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from host_tools import documented_packages

from rezbuild.errors import MachineError
from rezbuild.run import system_needs
from rezbuild.settings import Settings

SCRIPT = Path(system_needs.__file__).parents[1] / "data/examine.sh"
ESSENTIAL = ("sh", "sed", "cut", "tr", "cat")
EVERYTHING = (
    *("gcc", "g++", "make", "strip", "patch", "pkg-config", "awk", "cmp", "find", "perl"),
)


@pytest.fixture
def machine(tmp_path):
    """Return a function that runs the check with only some of the host's programs."""

    def run(programs: Sequence[str], *groups: str, manager: str = "") -> tuple[int, str]:
        folder = tmp_path / f"bin {len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        for name in (*ESSENTIAL, *programs):
            (folder / name).symlink_to(shutil.which(name) or "/bin/true")
        if manager:
            (folder / manager).symlink_to("/bin/true")
        env = {"PATH": str(folder), "BUILD_PATH": str(folder)}
        done = subprocess.run(
            ["/bin/sh", SCRIPT, *groups], env=env, capture_output=True, text=True, check=False
        )
        assert done.stderr == ""
        return done.returncode, done.stdout

    return run


def test_documented_packages_match_the_table():
    build, tests = documented_packages()
    assert build == system_needs.packages(system_needs.table("setup", "build"), "apt")
    assert tests == system_needs.packages(system_needs.table("tests"), "apt")


def test_each_need_has_a_package_for_each_manager():
    for need in system_needs.table("setup", "build", "tests"):
        lost = [manager for manager, names in need.packages.items() if not names]
        # These are essential packages of Debian.
        allowed = ["apt"] if need.name in ("awk", "cmp", "find") else []
        assert lost == allowed, need


def test_this_machine_passes(machine):
    assert machine(EVERYTHING, "build") == (0, "")


def test_bare_machine_gets_all_missing_needs_at_once(machine):
    status, said = machine([], manager="apt-get")
    assert status == 10
    lines = said.splitlines()
    for line in (
        *("  Python 3.9", "  ensurepip of python3", "  program make", "  program cc"),
        *("  program c++", "  header stdio.h", "  program perl", "  Perl module Time::Piece"),
        "  header X11/Xlib.h",
    ):
        assert line in lines
    build, _ = documented_packages()
    assert lines[-1] == f"  next:  install it, as root: apt-get install {' '.join(build)}"


def test_missing_program_is_one_package(machine):
    status, said = machine(
        [name for name in EVERYTHING if name != "patch"], "build", manager="zypper"
    )
    assert status == 10
    assert said.splitlines() == [
        "this machine lacks:",
        "  program patch",
        "  next:  install it, as root: zypper install patch",
    ]


@pytest.mark.parametrize(
    ("manager", "command"),
    [
        ("dnf", "dnf install perl-interpreter 'perl(FindBin)' 'perl(lib)' 'perl(IPC::Cmd)'"),
        ("pacman", "pacman -S perl"),
    ],
)
def test_command_uses_the_package_manager_of_the_machine(machine, manager, command):
    _, said = machine([name for name in EVERYTHING if name != "perl"], "build", manager=manager)
    assert command in said.splitlines()[-1]


def test_unknown_package_manager_gets_a_list(machine):
    _, said = machine([name for name in EVERYTHING if name != "make"], "build")
    assert [line.strip() for line in said.splitlines()[-4:]] == [
        "apt-get install make",
        "dnf install make",
        "zypper install make",
        "pacman -S make",
    ]


def test_missing_test_program_is_not_fatal(machine):
    status, said = machine(["git"], "tests", manager="apt-get")
    assert status == 0
    assert "  tool strace" in said.splitlines()
    assert "git" not in said.splitlines()[-1].split()


def test_first_new_enough_python_is_used(tmp_path):
    """python3 of Enterprise Linux 8 is 3.6; python3.11 is another package."""
    for name in ("python3", "python3.13", "python3.12", "python3.11"):
        (tmp_path / name).symlink_to("/bin/true" if name == "python3.11" else "/bin/false")
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    env.pop("HOST_PYTHON", None)
    argv = ["make", "-n", "-W", "pyproject.toml", ".venv/.base"]
    root = Path(__file__).parents[3]
    said = subprocess.run(argv, cwd=root, env=env, capture_output=True, text=True, check=True)
    assert "\npython3.11 -m venv .venv\n" in f"\n{said.stdout}"
    assert "HOST_PYTHON='python3.11' sh rezbuild/data/examine.sh" in said.stdout


def test_build_lists_all_missing_needs_of_its_packages(tmp_path, monkeypatch):
    """A machine with a compiler, and without Perl, patch and Tk's headers."""
    for name in ("gcc", "g++", "make", "strip", "pkg-config", "awk", "cmp", "find"):
        (tmp_path / name).symlink_to(shutil.which(name) or "")
    monkeypatch.setattr(system_needs.toolchain, "SYSTEM_PATH", str(tmp_path))
    settings = Settings(cache=tmp_path)
    with pytest.raises(MachineError) as caught:
        system_needs.require(settings, ["zlib"])
    assert caught.value.message == "missing programs or libraries: patch"
    with pytest.raises(MachineError) as caught:
        system_needs.require(settings, ["zlib", "openssl"])
    message = caught.value.message
    assert re.search(r"libraries: patch, perl, Perl module FindBin, .*Pod::Usage$", message)
    assert any("install" in line and " perl" in line for line in caught.value.advice)


def test_missing_compiler_is_named_with_other_needs(tmp_path, monkeypatch):
    monkeypatch.setattr(system_needs.toolchain, "SYSTEM_PATH", str(tmp_path))
    plain, named = Settings(cache=tmp_path), Settings(cache=tmp_path, cc="/no/cc")
    error = MachineError("no compiler 'cc'", advice=["or set REZBUILD_CC"])
    found = system_needs.explain(error, plain)
    assert found.message.startswith("no compiler 'cc'; also missing: make, cc, c++, strip,")
    assert system_needs.explain(error, named) is error
