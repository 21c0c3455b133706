"""The license texts of a payload and of all its parts.

They are in ``share/licenses/<name>-<version>/``, with their paths in the source.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from rezbuild.catalogue.model import FILE_NAME, Release
from rezbuild.errors import BuildError

FOLDER = "share/licenses"
# Usual names of the file at the top of a source.
_USUAL = re.compile(r"(licen[cs]e|copying|licensing|notice)([._-].*)?", re.IGNORECASE)
# Bytes; shorter files are not license texts.
_SHORTEST = 20


def collect(payload: Path, source: Path, release: Release, inside: Iterable[Path]) -> None:
    """Copy the texts into the payload.

    Args:
        payload: The payload.
        source: The source folder of the release.
        release: The release; its catalogue entry may name the files.
        inside: Payloads that are linked or copied into this one, with all their texts.

    Raises:
        BuildError: The source or one of these payloads has no license text.
    """
    target = payload / FOLDER / f"{release.name}-{release.version}"
    for path in _own(source, release):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    for other in inside:
        texts = other / FOLDER
        if not texts.is_dir():
            raise BuildError(
                f"{other.name}, a dependency of {release.name}, has no license texts",
                advice=["build it again: rezbuild build --force NAME"],
            )
        shutil.copytree(texts, payload / FOLDER, dirs_exist_ok=True)


def _own(source: Path, release: Release) -> list[Path]:
    if release.license_files:
        found = {path for pattern in release.license_files for path in source.glob(pattern)}
    else:
        found = {path for path in source.iterdir() if _USUAL.fullmatch(path.name)}
    texts = sorted(path for path in found if path.is_file() and path.stat().st_size >= _SHORTEST)
    if not texts:
        named = ", ".join(release.license_files) or "LICENSE, COPYING or similar"
        raise BuildError(
            f"the source of {release.name} {release.version} has no license text: {named}",
            advice=[f"set license_files in {FILE_NAME}"],
        )
    return texts
