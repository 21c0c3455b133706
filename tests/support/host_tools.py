"""Programs and libraries of the system that some tests use; without them, a test is skipped."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from rezbuild.run import system_needs
from rezbuild.util.glibc_version import host_glibc, number

ROOT = Path(__file__).parents[2]
_TABLE = {need.name: need for need in system_needs.table("tests")}


def missing(*tools: str) -> str:
    """Return the reason to skip a test and the packages that it needs; "" if no tool is missing."""
    lost = [_TABLE[tool] for tool in tools if not _is_here(_TABLE[tool])]
    names = ", ".join(need.name for need in lost)
    return f"no {names} here: {' or '.join(system_needs.commands(lost))}" if lost else ""


def _is_here(need: system_needs.Need) -> bool:
    if need.kind != "library":
        return shutil.which(need.name) is not None
    said = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True)
    return f"\t{need.name} " in said.stdout


def needs_tool(*tools: str) -> pytest.MarkDecorator:
    """Return the mark for tests that run these programs."""
    return pytest.mark.skipif(bool(missing(*tools)), reason=missing(*tools))


def require_tool(*tools: str) -> None:
    """Skip the test that calls this, where one of the programs is missing."""
    reason = missing(*tools)
    if reason:
        pytest.skip(reason)


def require_newer_glibc(version: str) -> None:
    """Skip the test that calls this, if the host's glibc is not newer."""
    host = host_glibc()
    if not host or number(host) <= number(version):
        pytest.skip(f"a host with a glibc newer than {version} runs this; here: {host or 'none'}")


def documented_packages() -> tuple[list[str], list[str]]:
    """Return the apt packages that README.md names for builds, and those for tests."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"(?m)^    apt-get install ((?:.*\\\n)*.*)$", text)
    builds, tests = (command.replace("\\\n", " ").split() for command in commands)
    return builds, tests


def command_lines() -> dict[int, str]:
    """Return the command line of each running process, by its id (proc(5))."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
            found[int(folder.name)] = os.fsdecode(b" ".join(words))
    return found
