"""PGO profiles: stored in the cache for later builds with the same inputs.

A build with PGO compiles everything twice. The first program counts which code runs, how often and
with which values, while it runs the training. The second compilation uses these counts. Two
trainings never give equal counts, so two builds would differ. Therefore rezbuild treats the counts
as an input: it stores them by the fingerprint of the other inputs, and a later build with the same
fingerprint uses them and skips the training.
"""

from __future__ import annotations

import gzip
import os
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from rezbuild.errors import BuildError, ChecksumError
from rezbuild.files import unpack
from rezbuild.files.hashing import sha256

# The folder in the cache.
FOLDER = "profiles"


def stored_path(cache: Path, name: str, version: str, fingerprint: str) -> Path:
    """Return the file for the profile of a build with this fingerprint."""
    return cache / FOLDER / f"{name}-{version}-{fingerprint}.tar.gz"


def keep(source: Path, patterns: Iterable[str], target: Path) -> str:
    """Store a profile as an archive; equal profiles give equal archives.

    Args:
        source: The source folder of the build.
        patterns: The profile's files, below the source folder.
        target: The archive; it is written in one rename.

    Returns:
        The archive's SHA-256 in hex.

    Raises:
        BuildError: No file matches, or another build has stored another profile there.
    """
    found = {path for pattern in patterns for path in source.glob(pattern) if path.is_file()}
    if not found:
        raise BuildError(
            f"the training has written none of {', '.join(patterns)} in {source}",
            advice=["check the compiler's options, e.g. -fprofile-generate"],
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".part-", dir=target.parent) as folder:
        part = Path(folder, target.name)
        with part.open("wb") as raw:
            _write(raw, sorted((path.relative_to(source).as_posix(), path) for path in found))
            raw.flush()
            os.fsync(raw.fileno())
        # Other users may share the cache; they only read.
        part.chmod(0o644)
        _put(part, target)
    return sha256(target)


def _put(part: Path, target: Path) -> None:
    """Never replace a file: a released payload may have its SHA-256 in the record."""
    try:
        os.link(part, target)
    except FileExistsError:
        if sha256(part) != sha256(target):
            raise BuildError(
                "another build with the same inputs has stored another PGO profile meanwhile",
                tried=[f"its profile: {target}"],
                advice=["build again: the next build uses that profile"],
            ) from None


def restore(archive: Path, source: Path) -> str:
    """Unpack a stored profile to the places where a training would write it.

    Returns:
        The archive's SHA-256 in hex.

    Raises:
        UnpackError: The archive is damaged, or its content is not allowed.
    """
    with tempfile.TemporaryDirectory(prefix=".profile-", dir=source.parent) as folder:
        whole = Path(folder, "counts")
        unpack.unpack(archive, whole)
        for path in sorted(path for path in whole.rglob("*") if path.is_file()):
            target = source / path.relative_to(whole)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
    return sha256(archive)


def check(archive: Path, wanted: str, what: str) -> None:
    """Check that an archive is the profile that a payload was compiled with.

    Args:
        archive: The file.
        wanted: The SHA-256 in the payload's record.
        what: The package, for the message.

    Raises:
        BuildError: The file is missing.
        ChecksumError: The file is another profile.
    """
    if not archive.is_file():
        raise BuildError(
            f"the PGO profile that {what} was built with is missing",
            tried=[str(archive)],
            advice=[
                f"ask the builder of {what} for this file; its SHA-256 is {wanted}",
                "pass it with --pgo-profile, or copy it there",
            ],
        )
    found = sha256(archive)
    if found != wanted:
        raise ChecksumError(
            f"{archive} is not the PGO profile that {what} was built with",
            tried=[f"its SHA-256 is {found}, and {what} was built with {wanted}"],
            advice=[f"ask the builder of {what} for its profile"],
        )


def _write(raw: IO[bytes], files: Iterable[tuple[str, Path]]) -> None:
    # Write no name and time into the gzip header, and no owners, times and modes of files.
    packed = gzip.GzipFile("", "wb", fileobj=raw, mtime=0)
    with packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for name, path in files:
            info = tarfile.TarInfo(name)
            info.size = path.stat().st_size
            with path.open("rb") as stream:
                archive.addfile(info, stream)
