"""What was built from what: the fingerprint of the inputs, and the record in the payload."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rezbuild.catalogue import Recipe, Release
from rezbuild.errors import CatalogueError

MANIFEST = "rezbuild.json"
# What a change of can change a payload; the command line and its like cannot.
_MODULES = (
    "audit.py",
    "build.py",
    "data/libraries.toml",
    "elf.py",
    "hook.py",
    "manifest.py",
    "patches.py",
    "relocate.py",
    "text.py",
    "toolchain.py",
    "unpack.py",
)


def recipe_revision(recipe: Recipe, release: Release) -> str:
    """The hash (16 hex digits) of everything of ours that shapes this version's payload.

    Raises:
        CatalogueError: A file of the recipe is missing.
    """
    parts = [f"{name}\0{release.version}" for name in (recipe.name,)]
    parts += [f"{archive.file}\0{archive.sha256}" for archive in release.archives]
    here = Path(__file__).parent
    # These two must be there; recipe.py may import others.
    files = [recipe.folder / name for name in ("package.py", "recipe.py")]
    files += sorted(set(recipe.folder.glob("*.py")) - set(files))
    files += [recipe.folder / "patches" / name for name in release.patches]
    files += [here / name for name in _MODULES]
    try:
        parts += [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    except OSError as error:
        raise CatalogueError(
            f"{error.filename} cannot be read: {error.strerror}",
            advice=["a recipe has package.py, sources.toml and recipe.py"],
        ) from None
    parts += list(release.requires)
    return _digest(parts)


def fingerprint(
    recipe: Recipe, release: Release, profile: str, compiler: str, dependencies: Mapping[str, str]
) -> str:
    """The hash of all inputs of a build: equal inputs need no second build.

    Args:
        recipe: The recipe folder.
        release: The version.
        profile: Counts only where the recipe says that it changes what is built.
        compiler: What the compiler says of itself.
        dependencies: The fingerprint of each package it is built against, by name.
    """
    parts = [recipe_revision(recipe, release), profile if recipe.profiled else "", compiler]
    parts += [f"{name}\0{value}" for name, value in sorted(dependencies.items())]
    return _digest(parts)


def write(payload: Path, record: Mapping[str, Any]) -> None:
    """Writes the record into the payload."""
    text = json.dumps(record, indent=2, sort_keys=True) + "\n"
    (payload / MANIFEST).write_text(text, encoding="utf-8")


def read(payload: Path) -> dict[str, Any] | None:
    """The record of a payload, or None where there is none that can be read."""
    try:
        record = json.loads((payload / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
