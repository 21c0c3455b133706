"""Makes the ELF files of a payload independent of where it stands: plan, then apply.

Libraries of other packages are bundled below ``deps/``. A library gets exactly the rpath that its
own DT_NEEDED entries need, relative to ``$ORIGIN``; in a program those entries become paths where
they can, which are opened without any search. docs/relocation.md has the reasons and the numbers.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rezbuild import elf
from rezbuild.build import Dependency
from rezbuild.elf import Elf
from rezbuild.errors import RelocationError
from rezbuild.libraries import host_libraries

DEPS = "deps"


@dataclass(frozen=True)
class Bundled:
    """A library of another package that the payload carries.

    Attributes:
        source: The real file it is copied from.
        target: Where it goes, relative to the payload; its name is what DT_NEEDED says.
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
        rpath: Elements that start with ``$ORIGIN``; empty for none.
        renamed: DT_NEEDED entries and the paths to put for them.
        changed: The file says something else now.
    """

    path: Path
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
        rezbuild.elf.ElfError: A file is damaged.
    """
    return _Planner(payload, tuple(dependencies)).plan()


def strip(payload: Path, program: str) -> None:
    """Drops debug data from every ELF file; before `apply`, since strip would undo patchelf's work.

    Raises:
        RelocationError: ``strip`` failed.
    """
    files = [path for path in elf.walk(payload) if elf.read(path).type in ("ET_EXEC", "ET_DYN")]
    for path in files:
        with _writable(path):
            _run([program, "--strip-debug", str(path)], path)


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


class _Planner:
    def __init__(self, payload: Path, dependencies: Sequence[Dependency]) -> None:
        self.payload = payload
        self.host = host_libraries()
        self.own = _libraries([payload])
        self.offered = _offers(dependencies)
        self.bundled: dict[str, Bundled] = {}

    def plan(self) -> Plan:
        edits = [self._edit(path.relative_to(self.payload), path) for path in self._files()]
        # A bundled library may need further ones: the list grows while it is walked.
        queue = list(self.bundled.values())
        for library in queue:
            known = set(self.bundled)
            edits.append(self._edit(library.target, library.source))
            queue += [self.bundled[name] for name in self.bundled if name not in known]
        return Plan(tuple(queue), tuple(sorted(edits, key=lambda edit: edit.path)))

    def _files(self) -> Iterable[Path]:
        return list(elf.walk(self.payload))

    def _edit(self, place: Path, file: Path) -> Edit:
        data = elf.read(file)
        origins = self._origins(place, data)
        # The version check of ld.so matches names, so an entry with versions must keep its own
        # (dl-version.c, find_needed).
        plain = set(origins) - {file for file, _ in data.versions} if data.interpreter else set()
        renamed = tuple((name, f"{origins[name]}/{name}") for name in data.needed if name in plain)
        rpath = tuple(dict.fromkeys(o for name, o in origins.items() if name not in plain))
        # DT_RUNPATH loses to LD_LIBRARY_PATH, so it is never what we want.
        changed = data.dynamic and bool(data.rpath != rpath or data.runpath or renamed)
        return Edit(place, rpath, renamed, changed)

    def _origins(self, place: Path, data: Elf) -> dict[str, str]:
        """The folder of each library that is or will be in the payload, from ``$ORIGIN`` on."""
        folders = {name: self._folder(name) for name in data.needed}
        return {name: _origin(f, place.parent) for name, f in folders.items() if f is not None}

    def _folder(self, name: str) -> Path | None:
        """Where in the payload ``name`` is, or will be; None where it is not to be."""
        if name in self.host.glibc:
            return None
        if name in self.own:
            return self.own[name].parent.relative_to(self.payload)
        if name not in self.bundled and name in self.offered:
            source, package, version = self.offered[name]
            target = Path(DEPS, package, version, "lib", name)
            self.bundled[name] = Bundled(source, target, f"{package}-{version}")
        return self.bundled[name].target.parent if name in self.bundled else None


def _origin(folder: Path, start: Path) -> str:
    relative = os.path.relpath(folder, start)
    return "$ORIGIN" if relative == "." else f"$ORIGIN/{relative}"


def _libraries(folders: Iterable[Path]) -> dict[str, Path]:
    """Shared libraries below the folders by the name that DT_NEEDED may say; the first one wins."""
    found: dict[str, Path] = {}
    for folder in filter(Path.is_dir, folders):
        for path in elf.walk(folder):
            data = elf.read(path)
            if data.type == "ET_DYN" and data.soname:
                found.setdefault(data.soname, path)
    return found


def _offers(dependencies: Sequence[Dependency]) -> dict[str, tuple[Path, str, str]]:
    """What the dependencies have, by soname: the file, and the package and version it is from."""
    found: dict[str, tuple[Path, str, str]] = {}
    for dependency in dependencies:
        for soname, path in _libraries([dependency.lib]).items():
            found.setdefault(soname, (path, dependency.name, dependency.version))
    # What a dependency bundled itself serves where no resolved package has the library.
    for dependency in dependencies:
        for soname, path in _libraries([dependency.root / DEPS]).items():
            package, version = path.relative_to(dependency.root / DEPS).parts[:2]
            found.setdefault(soname, (path, package, version))
    return found


def _patchelf_arguments(edit: Edit) -> list[str]:
    arguments = ["--remove-rpath"]
    if edit.rpath:
        arguments = ["--force-rpath", "--set-rpath", ":".join(edit.rpath)]
    for name, path in edit.renamed:
        arguments += ["--replace-needed", name, path]
    return arguments


def _run(argv: Sequence[str], path: Path) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RelocationError(
            f"{Path(argv[0]).name} failed on {path}: {done.stderr.strip() or done.returncode}",
            tried=[" ".join(argv)],
            advice=["rezbuild doctor checks the versions of strip and patchelf"],
        )


@contextlib.contextmanager
def _writable(path: Path) -> Iterator[None]:
    """Lets the owner write the file for a while: some installers leave it read-only."""
    mode = path.stat().st_mode
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
