"""Rules over files of any kind: modes, links, the first line of scripts."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from rezbuild.audit.places import Data
from rezbuild.libraries import host_libraries

_SHEBANG = re.compile(rb"#![ \t]*(\S+)(?:[ \t]+(?:-\S+[ \t]+)*(\S+))?")


def link(path: Path, root: Path) -> Iterator[tuple[str, str]]:
    """What is wrong with a symbolic link."""
    target = os.readlink(path)
    if target.startswith("/"):
        yield "link-absolute", f"it leads to {target}"
    elif not inside(Path(real := os.path.realpath(path)), root):
        yield "link-outside", f"it leads to {target}, which is {real}"
    if not path.exists():
        yield "link-dangling", f"{target} is not there"


def mode(value: int) -> Iterator[tuple[str, str]]:
    """What is wrong with the mode of a file or folder (``st_mode``)."""
    shown = f"its mode is {stat.S_IMODE(value):o}"
    if value & (stat.S_ISUID | stat.S_ISGID) and not stat.S_ISDIR(value):
        yield "setuid", shown
    if value & stat.S_IWOTH:
        yield "mode", f"{shown}: anyone can write it"
    if stat.S_ISDIR(value) and value & 0o555 != 0o555:
        yield "mode", f"{shown}: not everyone can enter it"
    if stat.S_ISREG(value):
        if value & 0o444 != 0o444:
            yield "mode", f"{shown}: not everyone can read it"
        if value & 0o111 not in (0, 0o111):
            yield "mode", f"{shown}: not everyone can run it"


def script(data: Data) -> Iterator[tuple[str, str]]:
    """What is wrong with the first line of a file that can be run."""
    match = _SHEBANG.match(data)
    if match is None:
        return
    named = [os.fsdecode(word) for word in match.groups() if word]
    # What env(1) looks for on PATH is whatever the Rez environment says.
    wanted = named[1:2] if named[0] == "/usr/bin/env" and named[1:2] else named[:1]
    for interpreter in wanted:
        by_name = wanted != named[:1] and "/" not in interpreter
        if not by_name and interpreter not in host_libraries().interpreters:
            yield "shebang", f"its interpreter is {interpreter}"


def inside(path: Path, root: Path) -> bool:
    """Whether a path is the folder or below it."""
    return path == root or root in path.parents
