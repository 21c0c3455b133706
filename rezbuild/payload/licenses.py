"""The licence texts of a payload: its own, and those of all that is in it.

They stand in ``share/licenses/<name>-<version>/``, by their paths in the source.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from rezbuild.catalogue.sources_toml import FILE_NAME, Release
from rezbuild.errors import BuildError

FOLDER = "share/licenses"
# What upstreams call the file at the top of their sources.
_USUAL = re.compile(r"(licen[cs]e|copying|licensing|notice)([._-].*)?", re.IGNORECASE)
# An empty file is no text.
_SHORTEST = 20


def collect(payload: Path, source: Path, release: Release, inside: Iterable[Path]) -> None:
    """Copies the texts into the payload.

    Args:
        payload: The folder to add to.
        source: Where the release was unpacked and built.
        release: Says how its files are called.
        inside: The payloads that this one has something of; each has the texts of all in it.

    Raises:
        BuildError: The source has no such file, or a payload has no texts.
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
                f"{other.name}, which {release.name} is built against, has no licence texts",
                advice=["build that one again: rezbuild build --force NAME"],
            )
        shutil.copytree(texts, payload / FOLDER, dirs_exist_ok=True)


def _own(source: Path, release: Release) -> list[Path]:
    if release.license_files:
        found = {path for pattern in release.license_files for path in source.glob(pattern)}
    else:
        found = {path for path in source.iterdir() if _USUAL.fullmatch(path.name)}
    texts = sorted(path for path in found if path.is_file() and path.stat().st_size >= _SHORTEST)
    if not texts:
        named = ", ".join(release.license_files) or "LICENSE, COPYING or the like"
        raise BuildError(
            f"the source of {release.name} {release.version} has no licence text: {named}",
            advice=[f"name the file in {FILE_NAME}: license_files"],
        )
    return texts
