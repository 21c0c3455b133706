"""Pack a payload into one file, and unpack it again. Equal trees give equal files.

The checksum depends on the tree only, not on the release of zstd that has packed it.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import zstandard

from rezbuild.errors import RezbuildError, StoreError
from rezbuild.files import safe_files, temp_folders
from rezbuild.files import unpack as archives
from rezbuild.files.hashing import sha256
from rezbuild.util import words

# Files that Rez writes into an installed variant; they contain times and paths.
OF_REZ = ("build.rxt", "variant.json")
# For a python of 108 MB, level 3 gives 36 MB in 1 s, level 9 32 MB in 4 s, level 19 28 MB in 100 s.
_LEVEL = 3
# Bytes of memory that a file may demand in its header (RFC 8878, 3.1.1.1.2).
_MAX_WINDOW = 1 << 27
# Bytes of an unpacked payload.
_MAX_SIZE = 4 << 30
_CHUNK = 1 << 20


def digest(root: Path) -> str:
    """Return the SHA-256 of a payload: names, kinds, modes, targets of links, and contents.

    It does not depend on times and owners, nor on the two files that Rez adds to a variant.

    Raises:
        StoreError: A path is neither a file nor a folder nor a link.
        OSError: A path cannot be read.
    """
    total = hashlib.sha256()
    for name, path, status in _walk(root):
        mode = stat.S_IMODE(status.st_mode)
        if stat.S_ISLNK(status.st_mode):
            line = [name, "link", 0, os.readlink(path)]
        elif stat.S_ISDIR(status.st_mode):
            line = [name, "folder", mode, ""]
        else:
            line = [name, "file", mode, sha256(path)]
        # json.dumps gives ASCII for all names.
        total.update(json.dumps(line).encode("ascii") + b"\n")
    return total.hexdigest()


def pack(root: Path, stream: BinaryIO) -> None:
    """Write a payload as a tar archive, compressed with zstd. Equal trees give equal bytes.

    Raises:
        StoreError: A path is neither a file nor a folder nor a link.
        OSError: A path cannot be read, or ``stream`` cannot be written.
    """
    compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
    with (
        compressor.stream_writer(stream, closefd=False) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name, path, status in _walk(root):
            # Without times and owners.
            member = tarfile.TarInfo(name)
            member.mode = stat.S_IMODE(status.st_mode)
            if stat.S_ISLNK(status.st_mode):
                member.type, member.linkname = tarfile.SYMTYPE, os.readlink(path)
                tar.addfile(member)
            elif stat.S_ISDIR(status.st_mode):
                member.type = tarfile.DIRTYPE
                tar.addfile(member)
            else:
                member.size = status.st_size
                with path.open("rb") as file:
                    tar.addfile(member, file)


def unpack(stream: BinaryIO, target: Path, digest: str) -> None:
    """Unpack a payload that `pack` has written.

    Args:
        stream: The packed payload; it is not trusted.
        target: The folder to create; its parent exists.
        digest: The expected `digest` of the payload.

    Raises:
        StoreError: The payload is damaged, unsafe, or a different one; ``target`` is not created.
        OSError: The disk cannot be written.
    """
    with temp_folders.private(target.parent, ".unpack-") as folder:
        archive, tree = folder / "payload.tar", folder / "payload"
        try:
            _inflate(stream, archive)
            archives.unpack(archive, tree)
            _restore_modes(archive, tree)
        except (RezbuildError, zstandard.ZstdError, tarfile.TarError) as error:
            raise StoreError(f"a packed payload is refused: {words.reason(error)}") from None
        found = _digest(tree)
        if found != digest:
            raise StoreError(f"a packed payload has the sum {found}, not {digest}")
        tree.rename(target)


# `unpack` has an argument with this name.
_digest = digest


def _inflate(stream: BinaryIO, archive: Path) -> None:
    """Decompress a packed payload.

    Raises:
        StoreError: It is larger than any payload.
    """
    decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW)
    size = 0
    with archive.open("wb") as file, decompressor.stream_reader(stream, closefd=False) as reader:
        while block := reader.read(_CHUNK):
            size += len(block)
            if size > _MAX_SIZE:
                raise StoreError(f"the packed tree has more than {_MAX_SIZE} bytes")
            file.write(block)


def _restore_modes(archive: Path, tree: Path) -> None:
    """Set the archive's modes and the current time; `archives.unpack` is made for sources."""
    folders = []
    with tarfile.open(archive, mode="r:", encoding="utf-8") as tar:
        for member in tar:
            path = tree / member.name
            if member.isdir():
                folders.append((path, member.mode & 0o777))
            elif member.isfile():
                path.chmod(member.mode & 0o777)
                os.utime(path)
    # Last: files in a read-only folder cannot be changed.
    for path, mode in reversed(folders):
        os.utime(path)
        path.chmod(mode)


def _walk(root: Path) -> Iterator[tuple[str, Path, os.stat_result]]:
    """Yield name, path and status of everything in a payload, sorted by the names' bytes."""
    found = []
    for path in safe_files.walk(root):
        place = path.relative_to(root).as_posix()
        if place not in OF_REZ:
            found.append((os.fsencode(place), place, path))
    for _, place, path in sorted(found):
        status = path.lstat()
        if not any(kind(status.st_mode) for kind in (stat.S_ISREG, stat.S_ISDIR, stat.S_ISLNK)):
            raise StoreError(f"{path} is neither a file nor a folder nor a link")
        yield place, path, status
