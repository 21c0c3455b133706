"""Rules over a payload: is it relocatable, and independent of the host?

The rules are data; docs/audit.md lists them. Nothing is run and nothing is changed.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rezbuild import elf
from rezbuild.elf import Elf, ElfError
from rezbuild.errors import UsageError
from rezbuild.libraries import host_libraries

ERROR, NOTE = "error", "note"
# As glibc reads it: in braces, or with nothing behind it that could belong to the name.
_ORIGIN = re.compile(r"\$ORIGIN(?![A-Za-z0-9_])|\$\{ORIGIN\}")


@dataclass(frozen=True)
class Rule:
    """One promise.

    Attributes:
        severity: ``error``: the payload must not be installed. ``note``: it is reported.
        reason: What goes wrong where the rule is broken.
    """

    id: str
    severity: str
    reason: str


@dataclass(frozen=True)
class Finding:
    """A file that breaks a rule.

    Attributes:
        path: Relative to the payload.
    """

    rule: Rule
    path: str
    message: str


_ALL = (
    Rule("elf-damaged", ERROR, "a file that cannot be read cannot be loaded"),
    Rule("needed-unresolved", ERROR, "the library comes from the host, or from nowhere"),
    Rule("needed-absolute", ERROR, "it names a place, which is another one after a move"),
    Rule("needed-host", NOTE, "a known host library, until a package of ours brings it"),
    Rule("rpath-absolute", ERROR, "it names a folder of the machine that built it"),
    Rule("rpath-outside", ERROR, "it breaks when the package is copied without its neighbours"),
    Rule("rpath-unneeded", ERROR, "each folder in vain costs a look-up per library and start"),
    Rule("rpath-runpath", ERROR, "DT_RUNPATH loses to LD_LIBRARY_PATH, which DCCs leak"),
    Rule("interpreter", ERROR, "the loader it names is on no other host"),
    Rule("helper", ERROR, "it loads a library besides those it needs, from wherever it is found"),
    Rule("segment-misaligned", ERROR, "glibc before 2.35 refuses to load it"),
    Rule("stack-executable", ERROR, "glibc 2.41 and newer refuses to load it"),
    Rule("text-relocation", ERROR, "its code cannot be shared, and SELinux refuses it"),
    Rule("write-execute", ERROR, "memory that can be written and run serves attackers"),
    Rule("link-absolute", ERROR, "it leads back to where the payload was"),
    Rule("link-outside", ERROR, "it breaks when the payload is copied alone"),
    Rule("link-dangling", ERROR, "Rez's package cache stalls on it"),
    Rule("unreadable", ERROR, "nobody can say what is in it, and those who need it cannot load it"),
    Rule("setuid", ERROR, "a studio's repository must not give anyone's rights away"),
)
RULES = {rule.id: rule for rule in _ALL}


def audit(root: Path) -> list[Finding]:
    """Every finding in the folder, errors first, then by path.

    Raises:
        UsageError: It is no folder that can be read.
    """
    if not root.is_dir():
        raise UsageError(
            f"{root} is not a folder",
            advice=["name a payload (a variant's root) or a Rez request such as python-3.11"],
        )
    top = root.resolve()
    findings = [Finding(RULES[rule], path, text) for rule, path, text in _findings(top)]
    return sorted(findings, key=lambda f: (f.rule.severity != ERROR, f.path, f.rule.id, f.message))


def errors(findings: Iterable[Finding]) -> list[Finding]:
    """Those that forbid an installation."""
    return [finding for finding in findings if finding.rule.severity == ERROR]


def _findings(root: Path) -> Iterator[tuple[str, str, str]]:
    for path in _entries(root):
        place = os.path.relpath(path, root)
        for rule, message in _file(path, root):
            yield rule, place, message


def _entries(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root, onerror=_unreadable):
        for name in sorted((*folders, *files)):
            yield Path(folder, name)


def _unreadable(error: OSError) -> None:
    raise UsageError(f"{error.filename} cannot be read: {error.strerror}")


def _file(path: Path, root: Path) -> Iterator[tuple[str, str]]:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        yield from _link(path, root)
        return
    if mode & (stat.S_ISUID | stat.S_ISGID) and not stat.S_ISDIR(mode):
        yield "setuid", f"its mode is {stat.S_IMODE(mode):o}"
    if stat.S_ISREG(mode) and not os.access(path, os.R_OK):
        yield "unreadable", f"its mode is {stat.S_IMODE(mode):o}"
    if elf.is_elf(path):
        yield from _elf(path, root)


def _link(path: Path, root: Path) -> Iterator[tuple[str, str]]:
    target = os.readlink(path)
    real = Path(os.path.realpath(path))
    if target.startswith("/"):
        yield "link-absolute", f"it leads to {target}"
    elif not _inside(real, root):
        yield "link-outside", f"it leads to {target}"
    if not path.exists():
        yield "link-dangling", f"{target} is not there"
    elif elf.is_elf(real) and real.parent != path.parent:
        yield from _linked_library(path, real, root)


def _linked_library(path: Path, real: Path, root: Path) -> Iterator[tuple[str, str]]:
    """Of a library opened through a link, ``$ORIGIN`` is the link's folder (of a program it isn't).

    What it has in vain is said of the file itself.
    """
    with contextlib.suppress(ElfError):
        data = elf.read(real)
        if data.dynamic and not data.interpreter:
            found = _search(data, root, path.parent)
            yield from ((rule, text) for rule, text in found if rule == "needed-unresolved")


def _elf(path: Path, root: Path) -> Iterator[tuple[str, str]]:
    try:
        data = elf.read(path)
    except ElfError as error:
        yield "elf-damaged", error.message
        return
    yield from _memory(data)
    if data.interpreter and data.interpreter not in host_libraries().loaders:
        yield "interpreter", data.interpreter
    for name in data.helpers:
        yield "helper", name
    if data.dynamic:
        yield from _search(data, root, path.parent)


def _memory(data: Elf) -> Iterator[tuple[str, str]]:
    if data.type not in ("ET_EXEC", "ET_DYN"):
        return
    if data.executable_stack:
        yield "stack-executable", "PT_GNU_STACK asks for an executable stack"
    if data.textrel:
        yield "text-relocation", "DT_TEXTREL"
    if data.misaligned:
        yield "segment-misaligned", "a segment's address and place in the file do not agree"
    if data.writable_and_executable:
        yield "write-execute", "a segment can be written and run"


def _search(data: Elf, root: Path, origin: Path) -> Iterator[tuple[str, str]]:
    if data.runpath:
        yield "rpath-runpath", ":".join(data.runpath)
    used = set()
    for name in data.needed:
        hit = _resolve(name, data, root, origin)
        if hit is not None:
            used.add(hit)
        elif name.startswith("/"):
            yield "needed-absolute", name
        elif name not in host_libraries().glibc:
            yield from _not_found(name)
    for element in (*data.rpath, *data.runpath):
        yield from _element(element, root, origin, used)


def _resolve(name: str, data: Elf, root: Path, origin: Path) -> str | None:
    """The rpath element that finds ``name`` inside the payload ("" for a path); ld.so(8)."""
    if "/" in name:
        found = _ORIGIN.match(name) and _fits(_expand(name, origin), data, root)
        return "" if found else None
    for element in (*data.rpath, *data.runpath):
        if _fits(_expand(element, origin) / name, data, root):
            return element
    return None


def _fits(path: Path, data: Elf, root: Path) -> bool:
    """Whether a library of the same kind is there: ld.so passes over those of another machine."""
    real = Path(os.path.realpath(path))
    if not _inside(real, root) or not elf.is_elf(real):
        return False
    try:
        found = elf.read(real)
    except ElfError:
        return False
    return (found.bits, found.machine) == (data.bits, data.machine)


def _not_found(name: str) -> Iterator[tuple[str, str]]:
    reason = host_libraries().known.get(name)
    if reason is not None:
        yield "needed-host", f"{name} ({reason})"
    else:
        yield "needed-unresolved", f"{name} is not found by its own rpath and is not glibc's"


def _element(element: str, root: Path, origin: Path, used: set[str]) -> Iterator[tuple[str, str]]:
    shown = element or "an empty element (the current folder)"
    if not _ORIGIN.match(element):
        yield "rpath-absolute", f"{shown} does not start with $ORIGIN"
    elif not _inside(_expand(element, origin), root):
        yield "rpath-outside", f"{shown} leaves the payload"
    elif element not in used:
        yield "rpath-unneeded", f"{shown} finds nothing that the file needs"


def _expand(text: str, origin: Path) -> Path:
    return Path(os.path.realpath(_ORIGIN.sub(lambda _: str(origin), text)))


def _inside(path: Path, root: Path) -> bool:
    return path == root or root in path.parents
