"""The audit of a payload: is it relocatable, and independent of the host?

The rules are data; docs/reference/audit.md lists them. The audit runs and changes nothing. It reads
each file once, in one pass over the tree.
"""

from __future__ import annotations

import collections
import hashlib
import mmap
import os
import stat
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rezbuild.audit import contents, files, glibc
from rezbuild.audit.binary import Binaries
from rezbuild.audit.glibc import Needs
from rezbuild.audit.places import Data, Places, placeholder_prefix
from rezbuild.audit.rules import ERROR, NOTE, RULES, Finding, Rule
from rezbuild.elf import reader, sections
from rezbuild.elf.reader import MAGIC
from rezbuild.errors import UsageError
from rezbuild.payload import formats, manifest

__all__ = ["ERROR", "NOTE", "RULES", "Finding", "Needs", "Report", "Rule", "audit"]

# Larger files are mapped, not read into memory.
_LARGE = 64 << 20


@dataclass(frozen=True)
class Report:
    """The result of an audit.

    Attributes:
        findings: Errors first, then by rule and path.
        own: The tree is a payload that rezbuild built.
        elf: The ELF files.
        needs: The glibc and other runtime libraries of the host that the tree needs.
        places: The number of files that contain each path of a machine.
    """

    findings: tuple[Finding, ...]
    own: bool
    elf: tuple[str, ...]
    needs: Needs
    places: Mapping[str, int]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that forbid an installation."""
        return tuple(finding for finding in self.findings if finding.severity == ERROR)

    @property
    def notes(self) -> tuple[Finding, ...]:
        """The findings that are only reported."""
        return tuple(finding for finding in self.findings if finding.severity != ERROR)


def audit(
    root: Path,
    *,
    places: Iterable[str | Path] = (),
    own: bool | None = None,
    ceiling: str | None = None,
) -> Report:
    """Check a folder by all rules.

    Args:
        root: A payload, or any other tree.
        places: Absolute paths that no file may contain, besides the tree's own path.
        own: rezbuild built the tree; None: yes if it has a ``rezbuild.json``.
        ceiling: The newest glibc that it may need, e.g. ``2.28``.

    Raises:
        UsageError: ``root`` is not a readable folder.
    """
    if not root.is_dir():
        raise UsageError(
            f"{root} is not a folder",
            advice=["name a payload (a variant's root) or a Rez request such as python-3.11"],
        )
    there = os.path.lexists(root / manifest.MANIFEST)
    record = manifest.read(root) if there else None
    ours = there if own is None else own
    # The first path is the one that the user gave, with its links.
    names = Places([root, root.absolute(), *places])
    listed = manifest.read_contents(root) if there else None
    sums = manifest.read_sums(root) if there else None
    tree = _Tree(root.resolve(), ours, names, ceiling, listed, sums or {})
    found = list(tree.findings())
    if there and record is None:
        text = "it cannot be read, or has a value of a wrong type"
        found.append((manifest.MANIFEST, "file-missing", text))
    if there:
        found += contents.check(
            tree.root, record or {}, listed, sums, tree.sizes, tree.elves, tree.digests
        )
    findings = [Finding(RULES[r], path, text, RULES[r].weight(ours)) for path, r, text in found]
    order = {rule: number for number, rule in enumerate(RULES)}
    findings.sort(key=lambda f: (f.severity != ERROR, order[f.rule.id], f.path, f.message))
    needs = glibc.needs(tree.binaries.files)
    named = dict(tree.named.most_common())
    return Report(tuple(findings), ours, tuple(tree.elves), needs, named)


@dataclass
class _Tree:
    """One pass over a tree. A finding is a path, a rule and a message."""

    root: Path
    own: bool
    places: Places
    ceiling: str | None
    listed: Container[str] | None
    sums: Container[str]
    digests: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    elves: list[str] = field(default_factory=list)
    named: collections.Counter[str] = field(default_factory=collections.Counter)

    def __post_init__(self) -> None:
        self.binaries = Binaries(self.root)

    def findings(self) -> Iterator[tuple[str, str, str]]:
        """Yield the findings in the order of the tree."""
        yield from ((".", *found) for found in files.mode(self.root.stat().st_mode))
        for folder, folders, names in os.walk(self.root, onerror=self._refuse_root):
            for name in sorted((*folders, *names)):
                path = os.path.join(folder, name)
                place = os.path.relpath(path, self.root)
                if place not in contents.REZS_OWN:  # Rez's files name the repository of the variant
                    yield from ((place, *found) for found in self._entry(Path(path), place))
        yield from self.binaries.exported()
        yield from self.binaries.loaded()

    def _refuse_root(self, error: OSError) -> None:
        if Path(error.filename) == self.root:
            raise UsageError(f"{error.filename} cannot be read: {error.strerror}")

    def _entry(self, path: Path, place: str) -> Iterator[tuple[str, str]]:
        yield from self._naming(self.places.in_name(place), "its own name contains")
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            yield from self._naming(self.places.in_name(os.readlink(path)), "it leads to")
            yield from files.link(path, self.root)
            yield from self.binaries.link(place)
            return
        yield from files.mode(status.st_mode)
        yield from files.kind(path, status.st_mode)
        if stat.S_ISDIR(status.st_mode) and not os.access(path, os.R_OK | os.X_OK):
            yield "unreadable", f"its mode is {stat.S_IMODE(status.st_mode):o}"
        if stat.S_ISREG(status.st_mode):
            self.sizes[place] = status.st_size
            yield from self._file(path, place, status)

    def _file(self, path: Path, place: str, status: os.stat_result) -> Iterator[tuple[str, str]]:
        try:
            data = _bytes(path, status.st_size)
        except OSError as error:
            yield "unreadable", f"its mode is {stat.S_IMODE(status.st_mode):o}: {error.strerror}"
            return
        if place in self.sums:
            self.digests[place] = hashlib.sha256(data).hexdigest()
        text = data.find(b"\0") < 0
        # A .pyc that was compiled after the build names its source; it is not part of the payload.
        later = "__pycache__" in path.parts and self.listed is not None
        if not later or place in (self.listed or ()):
            yield from self._naming(self.places.in_data(data, text=text), "it names")
        if text and self.own and (prefix := placeholder_prefix(data)):
            yield "text-prefix", f"it names {prefix}"
        if status.st_mode & 0o111:
            yield from files.script(data, place)
        if path.suffix == ".la":
            yield "libtool-archive", "programs link without it"
        if data[: len(MAGIC)] == MAGIC:
            self.elves.append(place)
        if data[: len(MAGIC)] in formats.MAGICS:
            yield from self.binaries.check(place)
            if place in self.binaries.files:
                yield from glibc.check(self.binaries.files[place], self.ceiling)
                yield from self._sections(path)

    def _sections(self, path: Path) -> Iterator[tuple[str, str]]:
        """Search compressed sections, whose paths a search in the file does not find."""
        try:
            for name, data in sections.compressed_sections(path):
                named = self.places.in_data(data, text=False)
                yield from self._naming(named, f"its section {name} names")
        except reader.ElfError as error:
            yield "elf-damaged", error.message

    def _naming(self, named: list[str], how: str) -> Iterator[tuple[str, str]]:
        for name in named:
            self.named[name] += 1
            yield "build-path", f"{how} {name}"


def _bytes(path: Path, size: int) -> Data:
    with open(path, "rb", buffering=0) as stream:
        if size < _LARGE:
            return stream.read()
        return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
