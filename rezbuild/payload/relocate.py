"""Makes the ELF files of a payload independent of where it stands: plan, then apply.

Libraries of other packages are bundled below ``deps/``. A library gets exactly the rpath that its
own DT_NEEDED entries need, relative to ``$ORIGIN``; in a program those entries become paths where
they can, which are opened without any search. docs/explanation/relocation.md has the reasons.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rezbuild.build import toolchain
from rezbuild.build.recipe_api import Dependency
from rezbuild.elf import reader
from rezbuild.elf.host_libraries import host_libraries
from rezbuild.elf.reader import Elf
from rezbuild.errors import RelocationError
from rezbuild.files.hashing import sha256

DEPS = "deps"


@dataclass(frozen=True)
class Bundled:
    """A library of another package that the payload carries.

    Attributes:
        source: The real file it is copied from.
        target: Where it goes, relative to the payload. Its name is its own, see `_own_name`.
        package: ``name-version`` of the package it comes from.
    """

    source: Path
    target: Path
    package: str


@dataclass(frozen=True)
class Edit:
    """What one file is to say.

    Attributes:
        path: Relative to the payload.
        soname: Its new DT_SONAME, or None to leave it.
        rpath: Elements that start with ``$ORIGIN``; empty for none.
        renamed: DT_NEEDED entries and what to put for them.
        changed: The file says something else now.
    """

    path: Path
    soname: str | None
    rpath: tuple[str, ...]
    renamed: tuple[tuple[str, str], ...]
    changed: bool


@dataclass(frozen=True)
class Plan:
    """Everything that relocation will do."""

    bundled: tuple[Bundled, ...]
    edits: tuple[Edit, ...]


def plan(payload: Path, dependencies: Iterable[Dependency]) -> Plan:
    """Finds the closure of libraries and the rpath of every ELF file. Changes nothing.

    What is found nowhere is left to the audit to name.

    Raises:
        RelocationError: Several different libraries could be meant.
        rezbuild.elf.reader.ElfError: A file is damaged.
    """
    return _Planner(payload, tuple(dependencies)).plan()


def strip(payload: Path, program: str) -> None:
    """Drops debug data and the symbols that only debuggers read, from every ELF file.

    Before `apply`, since strip would undo patchelf's work.

    Raises:
        RelocationError: ``strip`` failed.
    """
    for path in reader.walk(payload):
        data = reader.read(path)
        if data.debug or data.type not in ("ET_EXEC", "ET_DYN"):
            continue
        with _writable(path):
            _run([program, "--strip-unneeded", str(path)], path)


def apply(plan: Plan, payload: Path, patchelf: str) -> None:
    """Copies the libraries in, then edits each file once.

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
            path = payload / edit.path
            with _writable(path):
                if not edit.rpath:
                    # --remove-rpath alone leaves the old text in the file, and with it the path of
                    # a folder of this machine.
                    _run([patchelf, "--set-rpath", "", str(path)], path)
                _run([patchelf, *_patchelf_arguments(edit), str(path)], path)


def relative_links(payload: Path, prefix: str) -> None:
    """Makes links that name the prefix, or the payload where it lies now, relative."""
    for path in _links(payload):
        target = os.readlink(path)
        for root in (prefix, str(payload)):
            if target == root or target.startswith(root + "/"):
                inside = payload / target[len(root) :].lstrip("/")
                path.unlink()
                path.symlink_to(os.path.relpath(inside, path.parent))
                break


def drop_names(payload: Path) -> None:
    """Gives each library two names at most: its soname, and the one that programs link by.

    Rez's package cache makes a file of every link (rez/package_cache.py), so each name costs the
    library's size there. Nothing asks for the name with the whole version.
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


# Libraries by the name that DT_NEEDED may say and the kind of file that may need them.
_Kind = tuple[str, int, str]
_Index = dict[_Kind, list[tuple[Path, Elf]]]


class _Planner:
    def __init__(self, payload: Path, dependencies: Sequence[Dependency]) -> None:
        self.payload = payload
        self.host = host_libraries()
        self.own = _libraries(payload)
        self.offered = _offers(dependencies)
        self.bundled: dict[Path, Bundled] = {}

    def plan(self) -> Plan:
        files = list(reader.walk(self.payload))
        edits = [self._edit(path.relative_to(self.payload), path) for path in files]
        done: set[Path] = set()
        # A bundled library may need further ones: the table grows while it is gone through.
        while pending := [place for place in self.bundled if place not in done]:
            for place in pending:
                done.add(place)
                edits.append(self._edit(place, self.bundled[place].source, bundled=True))
        bundled = tuple(self.bundled[place] for place in sorted(done))
        return Plan(bundled, tuple(sorted(edits, key=lambda edit: edit.path)))

    def _edit(self, place: Path, file: Path, *, bundled: bool = False) -> Edit:
        data = reader.read(file)
        # What is found in the payload, or will be: (name as it is now, place).
        found = {name: there for name in data.needed if (there := self._place(name, data, bundled))}
        names = {name: there.name for name, there in found.items()}
        origins = {name: _origin(there.parent, place.parent) for name, there in found.items()}
        # The version check of ld.so matches names, so an entry with versions must keep its own
        # (dl-version.c, find_needed).
        plain = set(found) - {file for file, _ in data.versions} if data.interpreter else set()
        names |= {name: f"{origins[name]}/{names[name]}" for name in plain}
        renamed = tuple((old, new) for old, new in names.items() if old != new)
        rpath = tuple(dict.fromkeys(o for name, o in origins.items() if name not in plain))
        soname = place.name if bundled and data.soname != place.name else None
        # DT_RUNPATH loses to LD_LIBRARY_PATH, so it is never what we want.
        news = data.rpath != rpath or data.runpath or renamed or soname
        return Edit(place, soname, rpath, renamed, data.dynamic and bool(news))

    def _place(self, name: str, data: Elf, bundled: bool) -> Path | None:
        """Where in the payload ``name`` is or will be; None where it is not to be."""
        if name in self.host.glibc:
            return None
        kind = (name, data.bits, data.machine)
        if not bundled and kind in self.own:
            found = self._among(self.own[kind], data).relative_to(self.payload)
            # By its soname, also where that is a link: in Rez's package cache links become files,
            # and a library needed by two names would be loaded twice.
            return (
                found.with_name(name) if (self.payload / found).with_name(name).exists() else found
            )
        if kind not in self.offered:
            return None
        source, package, version = self.offered[kind]
        # What was bundled before has a name of its own already.
        own_name = name if DEPS in source.parts[-5:] else _own_name(name, source)
        target = Path(DEPS, package, version, "lib", own_name)
        self.bundled.setdefault(target, Bundled(source, target, f"{package}-{version}"))
        return target

    def _among(self, candidates: Sequence[tuple[Path, Elf]], data: Elf) -> Path:
        """The one that the file finds now, else the one beside it, else the only one."""
        paths = [path for path, _ in candidates]
        for element in (*data.rpath, *data.runpath, "$ORIGIN"):
            folder = Path(os.path.normpath(element.replace("$ORIGIN", str(data.path.parent))))
            for path in paths:
                if path.parent == folder:
                    return path
        if len({path.read_bytes() for path in paths}) > 1:
            raise RelocationError(
                f"{data.path} needs {paths[0].name}, and the payload has several of that name",
                tried=[str(path) for path in paths],
                advice=["link it with a rpath to the one that is meant"],
            )
        return paths[0]


def _origin(folder: Path, start: Path) -> str:
    relative = os.path.relpath(folder, start)
    return "$ORIGIN" if relative == "." else f"$ORIGIN/{relative}"


def _own_name(name: str, source: Path) -> str:
    """A name that no other library has, as ``libz-1a2b3c4d.so.1``: it says which bytes it is.

    ld.so takes a library that is loaded already for any that has its soname, whatever the rpath
    says: the host's, when a library of the host needed it first.
    """
    stem, dot, rest = name.partition(".so")
    digest = sha256(source)[:8]
    return f"{stem}-{digest}{dot}{rest}"


def _libraries(folder: Path) -> _Index:
    """The shared libraries below a folder."""
    found: _Index = {}
    for path in reader.walk(folder) if folder.is_dir() else ():
        data = reader.read(path)
        if data.type == "ET_DYN" and not data.interpreter:
            kind = (data.soname or path.name, data.bits, data.machine)
            found.setdefault(kind, []).append((path, data))
    return found


def _offers(dependencies: Sequence[Dependency]) -> dict[_Kind, tuple[Path, str, str]]:
    """What the dependencies have: the file, and the package and version it is from."""
    found: dict[_Kind, tuple[Path, str, str]] = {}
    for dependency in dependencies:
        for kind, files in _libraries(dependency.lib).items():
            found.setdefault(kind, (files[0][0], dependency.name, dependency.version))
    # What a dependency bundled itself serves where no resolved package has the library.
    for dependency in dependencies:
        for kind, files in _libraries(dependency.root / DEPS).items():
            package, version = files[0][0].relative_to(dependency.root / DEPS).parts[:2]
            found.setdefault(kind, (files[0][0], package, version))
    return found


def _patchelf_arguments(edit: Edit) -> list[str]:
    arguments = ["--set-soname", edit.soname] if edit.soname else []
    if not edit.rpath:
        arguments += ["--remove-rpath"]
    else:
        arguments += ["--force-rpath", "--set-rpath", ":".join(edit.rpath)]
    for name, path in edit.renamed:
        arguments += ["--replace-needed", name, path]
    return arguments


def _run(argv: Sequence[str], path: Path) -> None:
    done = subprocess.run(
        argv, capture_output=True, text=True, check=False, env=toolchain.ENVIRONMENT
    )
    if done.returncode != 0:
        raise RelocationError(
            f"{Path(argv[0]).name} failed on {path}: {done.stderr.strip() or done.returncode}",
            tried=[" ".join(argv)],
            advice=["rezbuild doctor checks the versions of strip and patchelf"],
        )


@contextlib.contextmanager
def _writable(path: Path) -> Iterator[None]:
    """Lets the owner write the file, and this name of it alone, for a while.

    Some installers leave it read-only; another hard link to it needs another rpath.
    """
    mode = path.stat().st_mode
    if path.stat().st_nlink > 1:
        copy = path.with_name(f".{path.name}.copy")
        shutil.copy2(path, copy)
        copy.replace(path)
    path.chmod(mode | 0o200)
    try:
        yield
    finally:
        path.chmod(mode)


def _links(payload: Path) -> list[Path]:
    return [
        Path(folder, name)
        for folder, folders, files in os.walk(payload)
        for name in (*folders, *files)
        if os.path.islink(os.path.join(folder, name))
    ]


def bundled_packages(plan: Plan) -> Mapping[str, list[str]]:
    """The names of the bundled libraries by the package they are from."""
    found: dict[str, list[str]] = {}
    for library in plan.bundled:
        found.setdefault(library.package, []).append(library.target.name)
    return found
