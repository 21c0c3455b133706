"""Comparison of a payload with the lists of files that its build wrote."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from rezbuild.payload import manifest

# Rez writes these into a variant's root after the build (rezplugins/build_process/local.py).
REZS_OWN = ("build.rxt", "variant.json")


def check(  # noqa: PLR0913, PLR0917 (the records and the files)
    root: Path,
    record: Mapping[str, Any],
    listed: Mapping[str, int | str] | None,
    sums: Mapping[str, str] | None,
    files: Mapping[str, int],
    elves: Iterable[str],
    digests: Mapping[str, str],
) -> Iterator[tuple[str, str, str]]:
    """Yield files that are missing, changed or new: path, rule and message.

    Args:
        root: The payload.
        record: Its ``rezbuild.json``.
        listed: Its ``rezbuild-files.json``, or None where there is none.
        sums: Its ``rezbuild-files.sha256``, or None where there is none.
        files: The existing regular files, with their sizes in bytes.
        elves: The ELF files among them.
        digests: The checksums of the files that are listed in ``sums``.
    """
    if "elf" not in record:
        # Payloads of old releases of rezbuild have no lists.
        if listed is not None or sums is not None:
            yield manifest.MANIFEST, "file-missing", "its list of programs and libraries is missing"
            yield from _sums(listed or {}, sums, digests)
        return
    if not (isinstance(record["elf"], list) and all(isinstance(p, str) for p in record["elf"])):
        yield manifest.MANIFEST, "file-missing", "its list of programs and libraries is damaged"
        return
    there, built = set(elves), set(record["elf"])
    # A copy that follows links, e.g. Rez's package cache, turns them into files.
    links = {path for path, was in (listed or {}).items() if isinstance(was, str)}
    for path in sorted(there - built - links):
        yield path, "elf-set", "it was added after the build"
    for path in sorted((built & set(files)) - there):
        yield path, "elf-set", "it was a program or library when it was built"
    if listed is None:
        yield manifest.CONTENTS, "file-missing", "it is the list of the payload's files"
    else:
        later = (path for path in _new(files, listed) if path not in there)
        yield from ((path, "file-added", "it was added after the build") for path in later)
    # A file with another size is already reported.
    same = {p: d for p, d in digests.items() if (listed or {}).get(p, files[p]) == files[p]}
    yield from _sums(listed or {}, sums, same)
    for path, was in (listed or dict.fromkeys(built)).items():
        yield from ((path, "file-missing", text) for text in _changed(root / path, was))


def _sums(
    listed: Mapping[str, int | str], sums: Mapping[str, str] | None, digests: Mapping[str, str]
) -> Iterator[tuple[str, str, str]]:
    """Yield the files whose checksums differ from those of the build."""
    if sums is None:
        yield manifest.SUMS, "file-missing", "it has the checksums of the payload's files"
        return
    for path, was in listed.items():
        if isinstance(was, int) and path not in sums:
            yield path, "file-changed", f"{manifest.SUMS} has no checksum of it"
    for path, found in digests.items():
        if found != sums[path]:
            yield path, "file-changed", f"its sha256 is {found}; {sums[path]} was built"


def _new(files: Mapping[str, int], listed: Mapping[str, Any]) -> Iterator[str]:
    known = {*listed, *REZS_OWN, *manifest.RECORDS}
    for path in files:
        # Python writes .pyc files to writable folders.
        if path not in known and "__pycache__" not in PurePosixPath(path).parts:
            yield path


def _changed(path: Path, was: int | str | None) -> Iterator[str]:
    """Compare a file with its listed size, or a link with its listed target."""
    if not os.path.lexists(path):
        yield "it was built, and is missing"
    elif isinstance(was, int) and path.lstat().st_size != was:
        yield f"it has {path.lstat().st_size} bytes; {was} were built"
    elif isinstance(was, str) and path.is_symlink() and os.readlink(path) != was:
        yield f"it leads to {os.readlink(path)}; it was built to lead to {was}"
