"""The fingerprint of a build's inputs, and the record and file lists in the payload."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from rezbuild.catalogue.model import Recipe, Release
from rezbuild.errors import CatalogueError
from rezbuild.files import safe_files
from rezbuild.files.hashing import sha256
from rezbuild.util import glibc_version

MANIFEST = "rezbuild.json"
CONTENTS = "rezbuild-files.json"
# A file of sha256sum(1); to check a payload: sha256sum -c rezbuild-files.sha256
SUMS = "rezbuild-files.sha256"
# The records of a payload, in the order in which they are written.
RECORDS = (MANIFEST, CONTENTS, SUMS)
_SUM = re.compile(rb"(\\?)([0-9a-f]{64})  (.+)", re.DOTALL)
_ESCAPE = re.compile(rb"\\(.)")
# JSON may contain surrogates, which cannot be encoded as UTF-8.
_SURROGATE = re.compile("[\ud800-\udfff]")
# The files of rezbuild that change payloads, by folder: if one of them changes, rezbuild builds
# again. The command line, farms and stores do not change payloads.
_SHAPING = (
    *("audit/*.py", "build/*.py", "elf/*.py", "macho/*.py", "payload/*.py"),
    *("data/libraries.toml", "data/run.sh"),
    *("files/apply_patches.py", "files/hashing.py", "files/unpack.py"),
    *("rez_plugin/package_definition.py", "util/import_file.py"),
)


def test_files(recipe: Path) -> list[Path]:
    """Return the files that a recipe adds to the test in its payloads."""
    return sorted(path for path in (recipe / "host").glob("*") if path.is_file())


def recipe_revision(recipe: Recipe, release: Release) -> str:
    """Return a hash (16 hex digits) of rezbuild's and the recipe's files that change the payload.

    Raises:
        CatalogueError: A file of the recipe is missing.
    """
    parts = [f"{name}\0{release.version}" for name in (recipe.name,)]
    parts += [f"{archive.file}\0{archive.sha256}" for archive in release.archives]
    here = Path(__file__).parents[1]
    # These two are required; recipe.py may import others. Checks do not change payloads.
    steps = recipe.steps
    files = [recipe.folder / "package.py", steps / "recipe.py"]
    known = {*files, steps / "package.py", *steps.glob("check*.py")}
    files += sorted(set(steps.glob("*.py")) - known) + test_files(steps)
    files += recipe.patches(release)
    files += [path for pattern in _SHAPING for path in sorted(here.glob(pattern))]
    try:
        parts += [sha256(path) for path in files]
    except OSError as error:
        raise CatalogueError(
            f"{error.filename} cannot be read: {error.strerror}",
            advice=["add package.py, sources.toml and recipe.py to the recipe"],
        ) from None
    parts += list(release.requires)
    # These are in the bill of materials.
    parts += [release.license, release.cpe, *release.license_files]
    return _digest(parts)


def fingerprint(
    recipe: Recipe, release: Release, profile: str, tools: str, dependencies: Mapping[str, str]
) -> str:
    """Return the hash of all inputs of a build; equal inputs need no second build.

    Args:
        recipe: The recipe.
        release: The version.
        profile: The build profile; ignored if the recipe's payload is the same in each profile.
        tools: `Toolchain.identity`: versions of compiler, assembler and linker.
        dependencies: The `identity` of each dependency, by name.
    """
    parts = [recipe_revision(recipe, release), profile if recipe.profiled else "", tools]
    parts += [f"{name}\0{value}" for name, value in sorted(dependencies.items())]
    return _digest(parts)


def identity(record: Mapping[str, Any]) -> str:
    """Return the identity of a dependency, for the fingerprint of a build that uses it.

    It is the dependency's fingerprint; with debug data, also its build-ids. Debug data fits one
    build only: a second build from the same inputs may differ, e.g. with a new PGO profile.
    """
    found = str(record.get("fingerprint"))
    ids: Mapping[str, str] = record.get("build_ids") or {}
    return _digest([found, *sorted(ids.values())]) if ids else found


def write(payload: Path, record: Mapping[str, Any]) -> None:
    """Write the record into the payload."""
    text = json.dumps(record, indent=2, sort_keys=True) + "\n"
    (payload / MANIFEST).write_text(text, encoding="utf-8")


def read(payload: Path) -> dict[str, Any] | None:
    """Return the record of a payload, or None if it is missing or invalid.

    A value of a wrong type makes a record invalid: users who can write the payload may write
    anything into it.
    """
    found = _read(payload / MANIFEST)
    return found if found is not None and all(_fits(*item) for item in found.items()) else None


def write_contents(payload: Path) -> None:
    """Write the two lists of the payload's files: sizes and targets of links, and checksums.

    The lists are separate files, because each build and resolve reads the record, but only the
    audit reads the lists.
    """
    listed: dict[str, int | str] = {}
    for folder, folders, names in os.walk(payload):
        for name in (*folders, *names):
            path = Path(folder, name)
            place = path.relative_to(payload).as_posix()
            if path.is_symlink():
                listed[place] = os.readlink(path)
            elif name in names and place not in RECORDS:
                listed[place] = path.stat().st_size
    text = json.dumps(listed, indent=0, sort_keys=True) + "\n"
    (payload / CONTENTS).write_text(text, encoding="utf-8")
    files = [name for name, size in listed.items() if isinstance(size, int)]
    sums = [_sum_line(payload, name) for name in sorted([*files, MANIFEST, CONTENTS])]
    (payload / SUMS).write_bytes(b"".join(sums))


def read_contents(payload: Path) -> dict[str, int | str] | None:
    """Return the list of a payload's files, or None if it cannot be read."""
    return _read(payload / CONTENTS)


def read_sums(payload: Path) -> dict[str, str] | None:
    """Return the checksums of a payload's files, or None if they cannot be read."""
    try:
        lines = safe_files.read(payload / SUMS).split(b"\n")
    except OSError:
        return None
    return dict(filter(None, map(_sum_of_line, lines)))


def _fits(name: str, value: object) -> bool:
    """Return whether a value of a record has the right type."""
    return value is None or name not in _KINDS or _KINDS[name](value)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and not _SURROGATE.search(value)


def _is_table(value: object) -> bool:
    return isinstance(value, dict)


def _is_list(value: object) -> bool:
    return isinstance(value, list)


def _has_texts(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_text, [*value, *value.values()]))


def _has_lists(value: object) -> bool:
    lists = value.values() if isinstance(value, dict) else [None]
    return all(isinstance(one, list) and all(map(_is_text, one)) for one in lists)


def _is_version(value: object) -> bool:
    return isinstance(value, str) and glibc_version.PATTERN.fullmatch(value) is not None


# Checks of the values that rezbuild uses.
_TEXTS = ["name", "version", "profile", "recipe", "fingerprint", "training"]
_TEXTS += ["compiler", "machine", "assembler", "linker", "glibc_floor"]
_KINDS: dict[str, Callable[[object], bool]] = {
    **dict.fromkeys(_TEXTS, _is_text),
    **dict.fromkeys(("build_ids", "built_against", "patches"), _has_texts),
    **dict.fromkeys(("source", "bundled", "hardening", "runtimes"), _is_table),
    **dict.fromkeys(("options", "host_libraries"), _is_list),
    "glibc": _is_version,
    "glibc_because": _has_lists,
}


def _sum_line(payload: Path, name: str) -> bytes:
    if not (payload / name).is_file():
        return b""
    place = os.fsencode(name)
    escaped = place.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
    mark = b"\\" if escaped != place else b""
    return mark + sha256(payload / name).encode() + b"  " + escaped + b"\n"


def _sum_of_line(line: bytes) -> tuple[str, str] | None:
    found = _SUM.fullmatch(line)
    if found is None:
        return None
    mark, digest, place = found.groups()
    if mark:
        place = _ESCAPE.sub(lambda m: {b"n": b"\n", b"r": b"\r"}.get(m[1], m[1]), place)
    return os.fsdecode(place), digest.decode()


def _read(path: Path) -> dict[str, Any] | None:
    try:
        data = safe_files.parse_json(safe_files.read(path))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
