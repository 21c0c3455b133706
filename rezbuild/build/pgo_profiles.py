"""What a compiler has counted in a training: kept in the cache, for builds from the same inputs.

A build with a compiler's profile is compiled twice. First so that it counts what is run, how often
and with which values; then programs train it; then again, as the counts advise. No two trainings
count the same, and so no two builds are the same. Here the counts are an input: they are kept by
the fingerprint of the others, and a later build from those is given them and does no training.
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

# In the cache.
FOLDER = "profiles"


def place(cache: Path, name: str, version: str, fingerprint: str) -> Path:
    """Where the counts for a build from certain inputs are kept."""
    return cache / FOLDER / f"{name}-{version}-{fingerprint}.tar.gz"


def keep(source: Path, patterns: Iterable[str], target: Path) -> str:
    """Keeps the counts; equal ones make an equal archive.

    Args:
        source: The folder that is built in.
        patterns: Of the files, below it.
        target: The archive; it is there as a whole, or not at all.

    Returns:
        Its SHA-256, in hex.

    Raises:
        BuildError: There are no such files, or another build has kept other counts there.
    """
    found = {path for pattern in patterns for path in source.glob(pattern) if path.is_file()}
    if not found:
        raise BuildError(
            f"the training has left none of {', '.join(patterns)} in {source}",
            advice=["the compiler's option names where its counts go, -fprofile-generate or alike"],
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".part-", dir=target.parent) as folder:
        part = Path(folder, target.name)
        with part.open("wb") as raw:
            _write(raw, sorted((path.relative_to(source).as_posix(), path) for path in found))
            raw.flush()
            os.fsync(raw.fileno())
        # For reading only; and others may build, and share the cache.
        part.chmod(0o644)
        _put(part, target)
    return sha256(target)


def _put(part: Path, target: Path) -> None:
    """Never over another one: a payload is recorded with its sum, and may be released already."""
    try:
        os.link(part, target)
    except FileExistsError:
        if sha256(part) != sha256(target):
            raise BuildError(
                "another build of the same inputs was trained meanwhile",
                tried=[f"its counts are kept as {target}"],
                advice=["build again: it takes those, and is the same as that build"],
            ) from None


def restore(archive: Path, source: Path) -> str:
    """Puts kept counts where a training would have left them.

    Returns:
        The archive's SHA-256, in hex.

    Raises:
        UnpackError: It is damaged, or holds what it should not.
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
    """Sees that an archive is the one that a payload was compiled with.

    Args:
        archive: The file.
        wanted: The sum in the payload's record.
        what: The package, for the message.

    Raises:
        BuildError: It is not there.
        ChecksumError: It is another one.
    """
    if not archive.is_file():
        raise BuildError(
            f"the compiler's profile that {what} was built with is not at hand",
            tried=[str(archive)],
            advice=[
                f"ask whoever built it for the file of that name; its SHA-256 is {wanted}",
                "then name it by --pgo-profile, or put it there",
            ],
        )
    found = sha256(archive)
    if found != wanted:
        raise ChecksumError(
            f"{archive} is not the compiler's profile that {what} was built with",
            tried=[f"its SHA-256 is {found}, and {what} was built with {wanted}"],
            advice=["it is of another training: ask whoever built the package for its own"],
        )


def _write(raw: IO[bytes], files: Iterable[tuple[str, Path]]) -> None:
    # No name and no time in the header of gzip; nothing of the files' owners, times and modes.
    packed = gzip.GzipFile("", "wb", fileobj=raw, mtime=0)
    with packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for name, path in files:
            info = tarfile.TarInfo(name)
            info.size = path.stat().st_size
            with path.open("rb") as stream:
                archive.addfile(info, stream)
