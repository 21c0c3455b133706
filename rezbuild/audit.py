"""Rules over a payload: is it relocatable, and independent of the host?

The rules are data; docs/audit.md lists them. Nothing is run and nothing is changed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rezbuild import elf
from rezbuild.elf import Elf, ElfError
from rezbuild.errors import UsageError
from rezbuild.libraries import host_libraries

ERROR, NOTE = "error", "note"


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
    Rule("needed-host", NOTE, "a known host library, until a package of ours brings it"),
    Rule("rpath-absolute", ERROR, "it names a folder of the machine that built it"),
    Rule("rpath-outside", ERROR, "it breaks when the package is copied without its neighbours"),
    Rule("rpath-unneeded", ERROR, "each folder in vain costs a look-up per library and start"),
    Rule("rpath-runpath", ERROR, "DT_RUNPATH loses to LD_LIBRARY_PATH, which DCCs leak"),
    Rule("stack-executable", ERROR, "glibc 2.41 and newer refuses to load it"),
    Rule("text-relocation", ERROR, "its code cannot be shared, and SELinux refuses it"),
    Rule("write-execute", ERROR, "memory that can be written and run serves attackers"),
    Rule("link-absolute", ERROR, "it leads back to where the payload was"),
    Rule("link-outside", ERROR, "it breaks when the payload is copied alone"),
    Rule("link-dangling", ERROR, "Rez's package cache stalls on it"),
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
    elif mode & (stat.S_ISUID | stat.S_ISGID) and not stat.S_ISDIR(mode):
        yield "setuid", f"its mode is {stat.S_IMODE(mode):o}"
    if elf.is_elf(path):
        yield from _elf(path, root)


def _link(path: Path, root: Path) -> Iterator[tuple[str, str]]:
    target = os.readlink(path)
    if target.startswith("/"):
        yield "link-absolute", f"it leads to {target}"
    elif not _inside(Path(os.path.normpath(path.parent / target)), root):
        yield "link-outside", f"it leads to {target}"
    if not path.exists():
        yield "link-dangling", f"{target} is not there"


def _elf(path: Path, root: Path) -> Iterator[tuple[str, str]]:
    try:
        data = elf.read(path)
    except ElfError as error:
        yield "elf-damaged", error.message
        return
    yield from _memory(data)
    if data.dynamic:
        yield from _search(data, root)


def _memory(data: Elf) -> Iterator[tuple[str, str]]:
    if data.type not in ("ET_EXEC", "ET_DYN"):
        return
    if data.executable_stack:
        yield "stack-executable", "PT_GNU_STACK asks for an executable stack"
    if data.textrel:
        yield "text-relocation", "DT_TEXTREL"
    if data.writable_and_executable:
        yield "write-execute", "a segment can be written and run"


def _search(data: Elf, root: Path) -> Iterator[tuple[str, str]]:
    if data.runpath:
        yield "rpath-runpath", ":".join(data.runpath)
    used = set()
    for name in data.needed:
        hit = _resolve(name, data, root)
        if hit is not None:
            used.add(hit)
        elif name not in host_libraries().glibc:
            yield from _not_found(name)
    for element in (*data.rpath, *data.runpath):
        yield from _element(element, data, root, used)


def _resolve(name: str, data: Elf, root: Path) -> str | None:
    """The rpath element that finds ``name`` inside the payload ("" for a path); ld.so(8)."""
    if "/" in name:
        return "" if _is_inside_file(_expand(name, data), root) else None
    for element in (*data.rpath, *data.runpath):
        if _is_inside_file(_expand(element, data) / name, root):
            return element
    return None


def _not_found(name: str) -> Iterator[tuple[str, str]]:
    reason = host_libraries().known.get(name)
    if reason is not None:
        yield "needed-host", f"{name} ({reason})"
    else:
        yield "needed-unresolved", f"{name} is not found by its own rpath and is not glibc's"


def _element(element: str, data: Elf, root: Path, used: set[str]) -> Iterator[tuple[str, str]]:
    shown = element or "an empty element (the current folder)"
    if not element.startswith(("$ORIGIN", "${ORIGIN}")):
        yield "rpath-absolute", f"{shown} does not start with $ORIGIN"
    elif not _inside(_expand(element, data), root):
        yield "rpath-outside", f"{shown} leaves the payload"
    elif element not in used:
        yield "rpath-unneeded", f"{shown} finds nothing that the file needs"


def _expand(text: str, data: Elf) -> Path:
    origin = str(data.path.parent)
    for token in ("${ORIGIN}", "$ORIGIN"):
        text = text.replace(token, origin)
    return Path(os.path.normpath(text))


def _inside(path: Path, root: Path) -> bool:
    return path == root or root in path.parents


def _is_inside_file(path: Path, root: Path) -> bool:
    return _inside(path, root) and path.is_file()
