"""Rules for all files: modes, links, the first line of scripts."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from rezbuild.audit.places import Data
from rezbuild.elf.host_libraries import host_libraries

# Options and variables of env(1) in the first line of a script.
_ENV = ("/usr/bin/env", "/bin/env")
_OPTION = re.compile(r"-.*|[A-Za-z_][A-Za-z0-9_]*=.*", re.DOTALL)
# sh runs the second line; Python reads it as a text: '\'\'\'exec' /opt/python "$0" "$@"
_POLYGLOT = re.compile(rb"""["']+exec["']*[ \t]+["']*(/[^\s"']+)""")
# Modules of the standard library have such a first line, but are imported.
_MODULE = re.compile(r"(?:^|/)python[0-9.]*/.*\.py$")
_PYTHON = re.compile(r"python[0-9.]*")
# Bytes of a script that are read: Linux reads 256 for the first line.
_HEAD = 1024
_SPECIAL = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
}
_CAPABILITIES = "security.capability"


def link(path: Path, root: Path) -> Iterator[tuple[str, str]]:
    """Check a symbolic link."""
    target = os.readlink(path)
    if target.startswith("/"):
        yield "link-absolute", f"it leads to {target}"
    elif not inside(Path(real := os.path.realpath(path)), root):
        yield "link-outside", f"it leads to {target}, which is {real}"
    if not path.exists():
        yield "link-dangling", f"{target} does not exist"


def mode(value: int) -> Iterator[tuple[str, str]]:
    """Check the mode of a file or folder (``st_mode``)."""
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


def kind(path: Path, value: int) -> Iterator[tuple[str, str]]:
    """Check the kind of a file (``st_mode``), and its capabilities(7)."""
    if not any(known(value) for known in (stat.S_ISREG, stat.S_ISDIR, stat.S_ISLNK)):
        yield "special-file", f"it is {_SPECIAL.get(stat.S_IFMT(value), 'no file')}"
    if stat.S_ISREG(value):
        try:
            names = os.listxattr(path, follow_symlinks=False)
        except OSError:
            return  # a file system without attributes
        if _CAPABILITIES in names:
            yield "capabilities", f"it has {_CAPABILITIES}"


def script(data: Data, place: str) -> Iterator[tuple[str, str]]:
    """Check the interpreter of an executable file."""
    head = data[:_HEAD]
    if head[:2] != b"#!":
        return
    first, *lines = head.split(b"\n")
    words = os.fsdecode(first[2:]).split()
    if not words:
        return
    if words[0] in _ENV:
        plain = [word for word in words[1:] if not _OPTION.fullmatch(word)]
        yield from _by_env(plain, module=_MODULE.search(place) is not None)
    elif words[0] not in host_libraries().interpreters:
        yield "shebang", f"its interpreter is {words[0]}"
    else:
        named = (word for word in words[1:] if word.startswith("/"))
        yield from (("shebang", f"its interpreter runs {word}") for word in named)
    for line in lines[:2]:
        match = _POLYGLOT.match(line)
        if match and os.fsdecode(match[1]) not in host_libraries().interpreters:
            yield "shebang", f"its interpreter is {os.fsdecode(match[1])}"


def _by_env(words: list[str], *, module: bool) -> Iterator[tuple[str, str]]:
    """Check a program of env(1): a path, or a name that env searches on PATH."""
    if not words:
        return
    if "/" in words[0] and words[0] not in host_libraries().interpreters:
        yield "shebang", f"its interpreter is {words[0]}"
    elif _PYTHON.fullmatch(words[0]) and not module:
        yield "shebang-path", f"env looks for {words[0]}"


def inside(path: Path, root: Path) -> bool:
    """Whether a path is ``root`` or below it."""
    return path == root or root in path.parents
