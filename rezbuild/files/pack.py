"""A payload as one file, and back: packed the same from the same tree, held to a sum afterwards.

The sum is of the tree, not of the packed file: whichever release of zstd packed it, and whether it
was packed at all, the same payload has the same sum.
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
from rezbuild.files import temp_folders
from rezbuild.files import unpack as archives
from rezbuild.files.hashing import sha256

# Rez writes them into a variant that it installs, with times and places.
OF_REZ = ("build.rxt", "variant.json")
# A python of 108 MB: 36 MB in one second; level 9 makes 32 MB of it in four, level 19 28 MB in 100.
_LEVEL = 3
# Bytes of memory that a blob may ask for, which says so itself (RFC 8878, 3.1.1.1.2).
_MOST_WINDOW = 1 << 27
_MOST = 4 << 30
_CHUNK = 1 << 20


def digest(root: Path) -> str:
    """The sum (sha256, 64 hex digits) of a payload: names, kinds, modes, targets and contents.

    Times and owners are not in it, nor are the two files that Rez adds to a variant.

    Raises:
        StoreError: Something in it is neither a file nor a folder nor a link.
        OSError: It cannot be read.
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
        # In ASCII, whatever bytes the names have.
        total.update(json.dumps(line).encode("ascii") + b"\n")
    return total.hexdigest()


def pack(root: Path, stream: BinaryIO) -> None:
    """Writes a payload as a tar archive in zstd: the same tree gives the same bytes.

    Raises:
        StoreError: Something in it is neither a file nor a folder nor a link.
        OSError: It cannot be read, or ``stream`` not be written.
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
    """Makes a payload of what `pack` has written, at a place where nothing is.

    Args:
        stream: The packed payload, which may hold anything.
        target: A folder to make; its parent is there.
        digest: The sum that the payload must have.

    Raises:
        StoreError: It is damaged, would reach outside, or is another payload. Nothing is left.
        OSError: The disk cannot be written.
    """
    with temp_folders.private(target.parent, ".unpack-") as folder:
        archive, tree = folder / "payload.tar", folder / "payload"
        try:
            _inflate(stream, archive)
            archives.unpack(archive, tree)
            _restore_modes(archive, tree)
        except (RezbuildError, zstandard.ZstdError, tarfile.TarError) as error:
            why = error.message if isinstance(error, RezbuildError) else str(error)
            raise StoreError(f"a packed payload is refused: {why}") from None
        found = _digest(tree)
        if found != digest:
            raise StoreError(f"a packed payload has the sum {found}, not {digest}")
        tree.rename(target)


# An argument of `unpack` has its name.
_digest = digest


def _inflate(stream: BinaryIO, archive: Path) -> None:
    """Raises StoreError where there is more than any payload has."""
    decompressor = zstandard.ZstdDecompressor(max_window_size=_MOST_WINDOW)
    size = 0
    with archive.open("wb") as file, decompressor.stream_reader(stream, closefd=False) as reader:
        while block := reader.read(_CHUNK):
            size += len(block)
            if size > _MOST:
                raise StoreError(f"it holds more than {_MOST} bytes")
            file.write(block)


def _restore_modes(archive: Path, tree: Path) -> None:
    """What is unpacked has the modes and times of sources; a payload has its own, and is new."""
    folders = []
    with tarfile.open(archive, mode="r:", encoding="utf-8") as tar:
        for member in tar:
            path = tree / member.name
            if member.isdir():
                folders.append((path, member.mode & 0o777))
            elif member.isfile():
                path.chmod(member.mode & 0o777)
                os.utime(path)
    # At the end: in one that cannot be written nothing can be changed.
    for path, mode in reversed(folders):
        os.utime(path)
        path.chmod(mode)


def _walk(root: Path) -> Iterator[tuple[str, Path, os.stat_result]]:
    """Everything in a payload by its name in it, in the order of the names' bytes."""
    found = []
    for folder, folders, names in os.walk(root, onerror=_refuse):
        for name in (*folders, *names):
            path = Path(folder, name)
            place = path.relative_to(root).as_posix()
            if place not in OF_REZ:
                found.append((os.fsencode(place), place, path))
    for _, place, path in sorted(found):
        status = path.lstat()
        if not any(kind(status.st_mode) for kind in (stat.S_ISREG, stat.S_ISDIR, stat.S_ISLNK)):
            raise StoreError(f"{path} is neither a file nor a folder nor a link")
        yield place, path, status


def _refuse(error: OSError) -> None:
    raise error
