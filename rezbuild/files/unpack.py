"""Extract source archives safely, or refuse them."""

from __future__ import annotations

import importlib
import io
import math
import os
import posixpath
import shutil
import stat
import tarfile
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

from rezbuild.errors import MachineError, UnpackError

# The first bytes of a compressed file (from the formats' specifications), and the module that opens
# it. The module is imported when needed: some interpreters lack one.
_OPENERS = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\xfd7zXZ\x00": "lzma"}
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")  # with files, without
_BLOCK = 512
_CHUNK = 1 << 20
# tarfile reads a pax header or a long name at once; real ones have some hundred bytes.
_MAX_READ = 1 << 24
# Characters of a name: Linux accepts no longer path (PATH_MAX). A header can contain a path with
# millions of folders, which would keep the checks busy for hours.
_MAX_NAME = 4096
_MOST_MODE = 0o177777
_SPECIAL_BITS = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX


def unpack(
    archive: Path, folder: Path, *, max_bytes: int = 4 << 30, max_members: int = 500_000
) -> Path:
    """Extract a tar archive (plain, gzip, bzip2 or xz) as `folder`; return the source root.

    The source root is the archive's only top-level folder or, if there is more at the top, `folder`
    itself. Files become 0644 or 0755, folders 0755; modification times are kept, owners are not.
    `max_bytes` counts the bytes of the unpacked archive.

    Raises:
        UnpackError: The archive is damaged, too large or would reach outside `folder`, or `folder`
            holds something already. Nothing of the archive is left behind.
    """
    try:
        _check_vacant(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".unpack-", dir=folder.parent) as scratch:
            staged = Path(scratch, "staged")
            _extract(archive, staged, max_bytes, max_members)
            staged.rename(folder)
    except OSError as error:
        raise UnpackError(
            f"{archive} cannot be unpacked into {folder}: {error}",
            advice=["check the free space and the permissions of both"],
        ) from error
    return _source_root(folder)


def _check_vacant(folder: Path) -> None:
    if not os.path.lexists(folder):
        return
    if folder.is_symlink() or not folder.is_dir() or any(folder.iterdir()):
        raise UnpackError(
            f"will not unpack into {folder}: it is not an empty folder",
            advice=["remove it, or choose another folder"],
        )


def _source_root(folder: Path) -> Path:
    entries = list(folder.iterdir())
    if len(entries) == 1 and entries[0].is_dir() and not entries[0].is_symlink():
        return entries[0]
    return folder


def _extract(archive: Path, staged: Path, max_bytes: int, max_members: int) -> None:
    extraction = _Extraction(archive, staged, max_bytes)
    try:
        with _open(archive) as raw, _Stream(raw, archive, max_bytes) as stream:
            # The file object is all of IO that tarfile uses: read, seek and tell.
            with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r:", encoding="utf-8") as tar:
                for count, member in enumerate(tar, 1):
                    if count > max_members:
                        raise _refusal(archive, f"it holds more than {max_members} members")
                    extraction.add(tar, member)
            stream.finish()
        extraction.finish()
    except (tarfile.TarError, ValueError, ArithmeticError, LookupError, RecursionError) as error:
        raise _refusal(archive, f"it is damaged or not a tar archive ({error})") from error


def _open(archive: Path) -> IO[bytes]:
    with open(archive, "rb") as stream:
        magic = stream.read(8)
    if magic.startswith(_ZIP):
        raise _refusal(archive, "it is a zip archive; only tar archives are supported")
    module = next((name for start, name in _OPENERS.items() if magic.startswith(start)), None)
    if module is None:
        return open(archive, "rb")
    try:
        return cast(IO[bytes], importlib.import_module(module).open(archive, "rb"))
    except ImportError as error:
        raise MachineError(
            f"{archive.name} cannot be unpacked: this interpreter has no module {module}",
            advice=["run rezbuild with an interpreter that has it"],
        ) from error


def _refusal(archive: Path, reason: str) -> UnpackError:
    return UnpackError(
        f"will not unpack {archive}: {reason}",
        advice=["check where the archive comes from and that it is complete"],
    )


class _Stream(io.RawIOBase):
    """The decompressed bytes of an archive, for tarfile: with a limit, and one class of errors."""

    def __init__(self, raw: IO[bytes], archive: Path, limit: int) -> None:
        super().__init__()
        self.raw, self.archive, self.limit = raw, archive, limit
        self.latest = b""

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MAX_READ:
            raise _refusal(self.archive, f"one of its headers claims to be {size} bytes long")
        try:
            self.latest = self.raw.read(size)
            position = self.raw.tell()
        except Exception as error:  # zlib, bz2 and lzma have different classes
            raise _refusal(self.archive, f"it is damaged or cut off ({error})") from error
        self._check(position)
        return self.latest

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._check(offset)
        try:
            return self.raw.seek(offset, whence)
        except Exception as error:
            raise _refusal(self.archive, f"it is damaged or cut off ({error})") from error

    def tell(self) -> int:
        return self.raw.tell()

    def finish(self) -> None:
        """Read to the end, where compressed files have their checksum.

        For tarfile, a damaged header after the first is the end of the archive. The real end is a
        block of zeros (POSIX.1, pax, ustar interchange format).
        """
        if self.latest != bytes(_BLOCK):
            raise _refusal(
                self.archive, "it is damaged or cut off (it ends without its last block)"
            )
        while self.read(_CHUNK):
            pass

    def _check(self, position: int) -> None:
        if position > self.limit:
            raise _refusal(self.archive, f"it holds more than {self.limit} bytes")


@dataclass
class _Extraction:
    """The extraction of one archive into an empty folder."""

    archive: Path
    root: Path
    max_bytes: int
    size: int = 0
    kinds: dict[str, bytes] = field(default_factory=dict)  # name: tarfile's type
    times: dict[str, float] = field(default_factory=dict)  # of folders, for the end

    def __post_init__(self) -> None:
        self.root.mkdir()
        self.root.chmod(0o755)

    def add(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        name = self._name(member)
        self._check(name, member)
        if member.isdir():
            self._folder(name)
            self.times[name] = member.mtime
            return
        self._folder(posixpath.dirname(name))
        self.kinds[name] = tarfile.SYMTYPE if member.issym() else tarfile.REGTYPE
        path = self.root / name
        if member.issym():
            path.symlink_to(member.linkname)
        elif member.islnk():
            os.link(self.root / posixpath.normpath(member.linkname), path)
            return
        else:
            self._file(path, tar, member)
        self._date(path, member.mtime)

    def finish(self) -> None:
        if not self.kinds:
            raise _refusal(self.archive, "it holds nothing")
        self._check_links()
        for name, mtime in self.times.items():
            self._date(self.root / name, mtime)

    def _name(self, member: tarfile.TarInfo) -> str:
        """Return the member's path below the root; "" is the root."""
        name = member.name
        if len(name) > _MAX_NAME:
            raise _refusal(self.archive, f"a name in it is {len(name)} characters long")
        if name.startswith("/"):
            raise self._refusal(member, "its name is absolute")
        if ".." in name.split("/"):
            raise self._refusal(member, "its name has a ..")
        if not name or "\0" in name:
            raise self._refusal(member, "its name is empty or has a zero byte")
        normal = posixpath.normpath(name)
        return "" if normal == "." else normal

    def _check(self, name: str, member: tarfile.TarInfo) -> None:
        if not (member.isfile() or member.isdir() or member.issym() or member.islnk()):
            raise self._refusal(member, "it is a device, a fifo or of an unknown type")
        # A tar header can contain any number; the highest bits of real modes are the file type.
        if not 0 <= member.mode <= _MOST_MODE:
            raise self._refusal(member, f"its mode is {member.mode:o}")
        if member.mode & _SPECIAL_BITS:
            raise self._refusal(
                member, f"it has a setuid, setgid or sticky bit (mode {member.mode:o})"
            )
        if member.size < 0:
            raise self._refusal(member, f"its size is {member.size}")
        self._check_place(name, member)
        if member.issym():
            self._check_target(name, member)
        if member.islnk() and self._kind(member.linkname) != tarfile.REGTYPE:
            raise self._refusal(
                member, f"it is a hard link to {member.linkname!r}, no earlier file of it"
            )

    def _kind(self, name: str) -> bytes | None:
        return self.kinds.get(posixpath.normpath(name))

    def _check_place(self, name: str, member: tarfile.TarInfo) -> None:
        present = tarfile.DIRTYPE if not name else self.kinds.get(name)
        if present is not None and not (member.isdir() and present == tarfile.DIRTYPE):
            raise self._refusal(member, "its name is taken by an earlier member")
        parent = posixpath.dirname(name)
        while parent:
            if self.kinds.get(parent, tarfile.DIRTYPE) != tarfile.DIRTYPE:
                raise self._refusal(
                    member, f"it would be written through {parent!r}, which is no folder"
                )
            parent = posixpath.dirname(parent)

    def _check_target(self, name: str, member: tarfile.TarInfo) -> None:
        target = member.linkname
        if not target or "\0" in target or target.startswith("/"):
            raise self._refusal(
                member, f"it is a symlink to {target!r}, which is not a relative path"
            )
        normal = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
        if normal == ".." or normal.startswith("../"):
            raise self._refusal(member, f"it is a symlink to {target!r}, which leaves the folder")

    def _check_links(self) -> None:
        """Check all symlinks at the end: one may lead through another."""
        root = os.path.realpath(self.root)
        for name, kind in self.kinds.items():
            if kind != tarfile.SYMTYPE:
                continue
            target = os.path.realpath(self.root / name)
            if target != root and not target.startswith(root + "/"):
                raise _refusal(
                    self.archive, f"its member {name!r} is a symlink that leaves the folder"
                )

    def _folder(self, name: str) -> None:
        if not name or name in self.kinds:
            return
        self._folder(posixpath.dirname(name))
        path = self.root / name
        path.mkdir()
        path.chmod(0o755)
        self.kinds[name] = tarfile.DIRTYPE

    def _file(self, path: Path, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        # Holes of a sparse file take no space in the archive, so count the size here.
        self.size += member.size
        if self.size > self.max_bytes:
            raise _refusal(self.archive, f"it holds more than {self.max_bytes} bytes")
        source = cast(IO[bytes], tar.extractfile(member))
        with open(path, "xb") as target:
            shutil.copyfileobj(source, target, _CHUNK)
            if target.tell() != member.size:
                raise self._refusal(member, "the archive ends within it")
        path.chmod(0o755 if member.mode & stat.S_IXUSR else 0o644)

    def _date(self, path: Path, mtime: float) -> None:
        stamp = math.floor(mtime) * 10**9 + int(mtime % 1 * 10**9)
        os.utime(path, ns=(stamp, stamp), follow_symlinks=False)

    def _refusal(self, member: tarfile.TarInfo, reason: str) -> UnpackError:
        return _refusal(self.archive, f"its member {member.name!r} is refused, {reason}")
