"""Make the ELF files of a payload relocatable: plan the changes, then apply them.

Libraries of other packages are bundled below ``deps/``. A library gets exactly the rpath that its
DT_NEEDED entries need, relative to ``$ORIGIN``. In a program, DT_NEEDED entries become paths if
possible, because ld.so opens a path without a search. docs/explanation/relocation.md has the
reasons.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rezbuild.elf import reader
from rezbuild.errors import RelocationError
from rezbuild.files.hashing import sha256
from rezbuild.payload import formats
from rezbuild.payload.dependency import Dependency
from rezbuild.payload.edit_files import Edit, edit_file, run, writable
from rezbuild.payload.formats import Binary

DEPS = "deps"


@dataclass(frozen=True)
class Bundled:
    """A library of another package that is copied into the payload.

    Attributes:
        source: The file that is copied; not a link.
        target: The path of the copy, relative to the payload. Its name is unique, see `_own_name`.
        package: Name and version of the other package, e.g. ``zlib-1.3.1``.
    """

    source: Path
    target: Path
    package: str


@dataclass(frozen=True)
class Plan:
    """All changes of a payload."""

    bundled: tuple[Bundled, ...]
    edits: tuple[Edit, ...]


def plan(payload: Path, dependencies: Iterable[Dependency]) -> Plan:
    """Find the libraries to bundle, and the rpath of every ELF file. Change nothing.

    The audit reports libraries that are not found.

    Raises:
        RelocationError: Several different libraries have the needed name.
        rezbuild.elf.reader.ElfError: A file is damaged.
    """
    return _Planner(payload, tuple(dependencies)).plan()


def strip(payload: Path, program: str) -> None:
    """Remove debug data and symbols for debuggers from every ELF file.

    Call this before `apply`, since strip undoes changes of patchelf.

    Raises:
        RelocationError: ``strip`` failed.
    """
    for path in reader.walk(payload):
        data = reader.read(path)
        if data.debug or data.type not in ("ET_EXEC", "ET_DYN"):
            continue
        with writable(path):
            run([program, "--strip-unneeded", str(path)], path)


def apply(plan: Plan, payload: Path, patchelf: str) -> None:
    """Copy the libraries into the payload, then edit each file once.

    Raises:
        RelocationError: ``patchelf`` failed.
    """
    for library in plan.bundled:
        target = payload / library.target
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(library.source, target)
        target.chmod(0o755)
    for edit in plan.edits:
        if edit.changed:
            edit_file(payload / edit.path, edit, patchelf)


def relative_links(payload: Path, prefix: str) -> None:
    """Make links relative if their targets are below the prefix or the payload's folder."""
    for path in _links(payload):
        target = os.readlink(path)
        for root in (prefix, str(payload)):
            if target == root or target.startswith(root + "/"):
                inside = payload / target[len(root) :].lstrip("/")
                path.unlink()
                path.symlink_to(os.path.relpath(inside, path.parent))
                break


def drop_names(payload: Path) -> None:
    """Keep two names of each library at most: its soname, and the name for linkers.

    Rez's package cache replaces links by files (rez/package_cache.py), so each name takes the
    library's size there. No program uses the name with the full version.
    """
    for path in list(reader.walk(payload)):
        soname = reader.read(path).soname
        links = [link for link in path.parent.iterdir() if link.is_symlink()]
        names = [link for link in links if link.resolve() == path.resolve()]
        if soname is None or soname == path.name or path.with_name(soname) not in names:
            continue
        for link in names:
            link.unlink()
            if link.suffix == ".so":
                link.symlink_to(soname)
        path.rename(path.with_name(soname))


# Name in DT_NEEDED, word size and machine.
_Kind = tuple[str, int, str]
_Index = dict[_Kind, list[tuple[Path, Binary]]]


class _Planner:
    def __init__(self, payload: Path, dependencies: Sequence[Dependency]) -> None:
        self.payload = payload
        self.own = _libraries(payload)
        self.offered = _offers(dependencies)
        self.bundled: dict[Path, Bundled] = {}

    def plan(self) -> Plan:
        files = list(formats.walk(self.payload))
        edits = [self._edit(path.relative_to(self.payload), path) for path in files]
        done: set[Path] = set()
        # A bundled library may need further libraries: the loop adds them to the table.
        while pending := [place for place in self.bundled if place not in done]:
            for place in pending:
                done.add(place)
                edits.append(self._edit(place, self.bundled[place].source, bundled=True))
        bundled = tuple(self.bundled[place] for place in sorted(done))
        return Plan(bundled, tuple(sorted(edits, key=lambda edit: edit.path)))

    def _edit(self, place: Path, file: Path, *, bundled: bool = False) -> Edit:
        data = formats.read(file)
        # Needed libraries that are or will be in the payload, with their paths there.
        found = {name: there for name in data.needed if (there := self._place(name, data, bundled))}
        names = {name: there.name for name, there in found.items()}
        folder = place.parent
        origins = {name: _origin(data, there.parent, folder) for name, there in found.items()}
        plain = data.as_paths & set(found)
        names |= {name: f"{origins[name]}/{names[name]}" for name in plain}
        renamed = tuple((old, new) for old, new in names.items() if old != new)
        rpath = tuple(dict.fromkeys(o for name, o in origins.items() if name not in plain))
        soname = data.own_name(place.name if bundled else None)
        # Never keep DT_RUNPATH: LD_LIBRARY_PATH overrides it.
        news = data.rpath != rpath or data.runpath or renamed or data.soname != soname
        return Edit(place, soname if data.soname != soname else None, rpath, renamed, bool(news))

    def _place(self, name: str, data: Binary, bundled: bool) -> Path | None:
        """Return the path of a library in the payload; None if it will not be there."""
        if data.from_host(name):
            return None
        kind = (name, data.bits, data.machine)
        if not bundled and kind in self.own:
            found = self._among(self.own[kind], data).relative_to(self.payload)
            # Always use the soname, even if it is a link: in Rez's package cache, links become
            # files, and ld.so would load a library with two names twice.
            beside = found.with_name(Path(name).name)
            return beside if (self.payload / beside).exists() else found
        if kind not in self.offered:
            return None
        source, package, version = self.offered[kind]
        # A library that the dependency has bundled has a unique name already.
        unique = DEPS in source.parts[-5:]
        own_name = source.name if unique else _own_name(name, source, data.SUFFIX)
        target = Path(DEPS, package, version, "lib", own_name)
        self.bundled.setdefault(target, Bundled(source, target, f"{package}-{version}"))
        return target

    def _among(self, candidates: Sequence[tuple[Path, Binary]], data: Binary) -> Path:
        """Return the library that the rpath finds, else the one beside the file, else any."""
        paths = [path for path, _ in candidates]
        for element in (*data.rpath, *data.runpath, data.ORIGIN):
            folder = Path(os.path.normpath(element.replace(data.ORIGIN, str(data.path.parent))))
            for path in paths:
                if path.parent == folder:
                    return path
        if len({path.read_bytes() for path in paths}) > 1:
            raise RelocationError(
                f"the payload has several files {paths[0].name}, and {data.path} needs one",
                tried=[str(path) for path in paths],
                advice=["link it with an rpath that finds the right one"],
            )
        return paths[0]


def _origin(data: Binary, folder: Path, start: Path) -> str:
    relative = os.path.relpath(folder, start)
    return data.ORIGIN if relative == "." else f"{data.ORIGIN}/{relative}"


def _own_name(name: str, source: Path, suffix: str) -> str:
    """Return a unique name for a library, with a hash of its content: ``libz-1a2b3c4d.so.1``.

    If a library with the same soname is loaded already, ld.so uses that one and ignores the rpath.
    It could be the host's, if another library of the host has loaded it.
    """
    stem, dot, rest = Path(name).name.partition(suffix)
    digest = sha256(source)[:8]
    return f"{stem}-{digest}{dot}{rest}"


def _libraries(folder: Path) -> _Index:
    """Return the shared libraries below a folder."""
    found: _Index = {}
    for path in formats.walk(folder) if folder.is_dir() else ():
        data = formats.read(path)
        if data.loadable and not data.interpreter:
            kind = (data.soname or path.name, data.bits, data.machine)
            found.setdefault(kind, []).append((path, data))
    return found


def _offers(dependencies: Sequence[Dependency]) -> dict[_Kind, tuple[Path, str, str]]:
    """Return the libraries of the dependencies: file, package name and version."""
    found: dict[_Kind, tuple[Path, str, str]] = {}
    for dependency in dependencies:
        for kind, files in _libraries(dependency.lib).items():
            found.setdefault(kind, (files[0][0], dependency.name, dependency.version))
    # If no resolved package has a library, use one that a dependency has bundled.
    for dependency in dependencies:
        for kind, files in _libraries(dependency.root / DEPS).items():
            package, version = files[0][0].relative_to(dependency.root / DEPS).parts[:2]
            found.setdefault(kind, (files[0][0], package, version))
    return found


def _links(payload: Path) -> list[Path]:
    return [
        Path(folder, name)
        for folder, folders, files in os.walk(payload)
        for name in (*folders, *files)
        if os.path.islink(os.path.join(folder, name))
    ]


def bundled_packages(plan: Plan) -> Mapping[str, list[str]]:
    """Return the names of the bundled libraries, by package."""
    found: dict[str, list[str]] = {}
    for library in plan.bundled:
        found.setdefault(library.package, []).append(library.target.name)
    return found
