"""Source archives and patches: extracted and applied exactly, or refused without a trace."""

from __future__ import annotations

import importlib
import io
import math
import os
import posixpath
import re
import shutil
import stat
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, cast

from rezbuild.errors import MachineError, UnpackError

# The first bytes of a compressed file (the formats' own specifications) and the standard library's
# module that opens it; loaded when needed, as an interpreter may have been built without one.
_OPENERS = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\xfd7zXZ\x00": "lzma"}
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")  # with files, without
_BLOCK = 512
_CHUNK = 1 << 20
# tarfile reads a pax header or a long name in one piece; real ones are some hundred bytes.
_MAX_READ = 1 << 24
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
            f"cannot unpack {archive} into {folder}: {error}",
            advice=["look at the free space and the permissions of both"],
        ) from error
    return _source_root(folder)


def _check_vacant(folder: Path) -> None:
    if not os.path.lexists(folder):
        return
    if folder.is_symlink() or not folder.is_dir() or any(folder.iterdir()):
        raise UnpackError(
            f"will not unpack into {folder}: it is not an empty folder",
            advice=["remove it or name another one"],
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
            f"cannot unpack {archive.name}: this interpreter has no module {module}",
            advice=["run rezbuild with an interpreter that has it"],
        ) from error


def _refusal(archive: Path, reason: str) -> UnpackError:
    return UnpackError(
        f"will not unpack {archive}: {reason}",
        advice=["check where the archive comes from and that it is complete"],
    )


class _Stream(io.RawIOBase):
    """The bytes inside an archive, for tarfile: bounded, and failing in one way only."""

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
        except Exception as error:  # zlib, bz2 and lzma each have their own
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
        """Read on to the end, where the compressors keep their sums.

        tarfile takes a damaged header after the first for the archive's end. The real end is a
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
    """One archive on its way into a folder that nobody else uses."""

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
        """The member's place below the root; the root itself is an empty name."""
        name = member.name
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
        """Symlinks again, now that all are there: one may lead through another."""
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
        # Holes of a sparse file cost nothing in the archive: they are counted here.
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


def apply_patches(root: Path, patches: Sequence[Path]) -> None:
    """Apply unified diffs, with one folder stripped from their names (-p1), to the files in `root`.

    GNU patch does it, file by file, without fuzz, and not the library patch-ng: that (1.19) takes
    an already patched file for success and deletes or overwrites files without comparing them.
    A hunk may apply at another line, if its whole context matches there. All patches apply or no
    file changes. The patched files get one common time: to make, none is older than another.

    Raises:
        UnpackError: A hunk does not apply, or a patch is damaged, holds no diff, reaches outside
            `root` or asks for what diffs alone cannot say (renames, modes, binary files).
        MachineError: GNU patch is missing.
    """
    if not patches:
        return
    program = _gnu_patch()
    root = root.resolve()
    try:
        with tempfile.TemporaryDirectory(prefix=".patch-", dir=root.parent) as scratch:
            tree = _PatchedTree(root, Path(scratch), program)
            for patch in patches:
                for diff in _read_diffs(patch):
                    tree.apply(diff)
            tree.commit()
    except OSError as error:
        raise UnpackError(
            f"cannot patch {root}: {error}", advice=["look at its permissions and the free space"]
        ) from error


def _gnu_patch() -> str:
    program = shutil.which("patch")
    advice = ["apt-get install patch, or dnf install patch"]
    if program is None:
        raise MachineError("the program patch is missing", advice=advice)
    version = subprocess.run([program, "--version"], capture_output=True, check=False)
    if not version.stdout.startswith(b"GNU patch"):
        raise MachineError(f"{program} is not GNU patch, which knows --fuzz", advice=advice)
    return program


_HUNK = re.compile(rb"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
# How diff -N dates a file that is not there: the epoch, in whatever time zone.
_ABSENT = re.compile(r"(1970-01-01|1969-12-31) ")
_NEW_MODE = re.compile(rb"new file mode 100(644|755)\s*$")
_UNSUPPORTED = (
    b"old mode ",
    b"new file mode ",
    b"rename from ",
    b"copy from ",
    b"GIT binary patch",
    b"Binary files ",
)


@dataclass(frozen=True)
class _Diff:
    """What a patch does to one file."""

    patch: Path
    name: str  # below the root
    creates: bool
    deletes: bool
    executable: bool
    hunks: bytes


def _bad_patch(patch: Path, reason: str, output: Sequence[str] = ()) -> UnpackError:
    return UnpackError(
        f"cannot apply patch {patch}: {reason}",
        tried=output,
        advice=["make the patch anew from the sources of this very version (diff -u, git diff)"],
    )


def _read_diffs(patch: Path) -> list[_Diff]:
    try:
        lines = io.BytesIO(patch.read_bytes()).readlines()
    except OSError as error:
        raise _bad_patch(patch, f"it cannot be read ({error.strerror})") from error
    diffs = list(_DiffReader(patch, lines).diffs())
    if not diffs:
        raise _bad_patch(patch, "it holds no unified diff")
    return diffs


class _DiffReader:
    """Cuts a patch into diffs of one file each.

    What GNU patch would pass over as garbage, such as a damaged hunk, is an error here.
    """

    def __init__(self, patch: Path, lines: list[bytes]) -> None:
        self.patch, self.lines = patch, lines
        self.at = 0

    def diffs(self) -> Iterator[_Diff]:
        executable = False
        while self.at < len(self.lines):
            if self._starts(b"--- ") and self._starts(b"+++ ", 1):
                yield self._diff(executable)
                executable = False
                continue
            executable = self._header() or executable
            self.at += 1

    def _line(self, ahead: int = 0) -> bytes:
        return self.lines[self.at + ahead] if self.at + ahead < len(self.lines) else b""

    def _starts(self, start: bytes, ahead: int = 0) -> bool:
        return self._line(ahead).startswith(start)

    def _bad(self, reason: str) -> UnpackError:
        return _bad_patch(self.patch, f"{reason} (line {self.at + 1})")

    def _header(self) -> bool:
        """Check a line between diffs; whether it makes the next file an executable one."""
        mode = _NEW_MODE.match(self._line())
        if mode:
            return mode.group(1) == b"755"
        if self._starts(b"@@ -"):
            raise self._bad("a hunk belongs to no file")
        if self._line().startswith(_UNSUPPORTED):
            raise self._bad("only the text of files can be patched, no modes, renames or binaries")
        return False

    def _diff(self, executable: bool) -> _Diff:
        old, new = self._name(b"--- "), self._name(b"+++ ")
        name = new or old
        if name is None or (old and new and old != new):
            raise self._bad(f"it does not say which file is meant, {old!r} or {new!r}")
        start = self.at
        number = 0
        while self._starts(b"@@ -"):
            number += 1
            self._hunk(f"{name}, hunk {number}")
        if not number:
            raise self._bad(f"the diff of {name} has no hunks")
        if self._line()[:1] in (b" ", b"+", b"-") and not self._starts(b"--"):
            raise self._bad(f"{name}, hunk {number} is longer than it says")
        hunks = b"".join(self.lines[start : self.at])
        return _Diff(self.patch, name, old is None, new is None, executable, hunks)

    def _name(self, start: bytes) -> str | None:
        """The file's name with its first folder stripped, None for a file that is not there."""
        text = os.fsdecode(self._line()[len(start) :]).rstrip("\r\n")
        name, _, date = text.partition("\t")
        if name == "/dev/null" or _ABSENT.match(date):
            self.at += 1
            return None
        stripped = name.partition("/")[2]
        if name.startswith(("/", '"')) or not stripped or "\0" in name:
            raise self._bad(f"it names {name!r}, which is no plain path with a folder to strip")
        if stripped.startswith("/") or ".." in name.split("/"):
            raise self._bad(f"it names {name!r}, which may lie outside the sources")
        self.at += 1
        return posixpath.normpath(stripped)

    def _hunk(self, what: str) -> None:
        """Go behind the hunk that starts here."""
        match = _HUNK.match(self._line())
        if not match:
            raise self._bad(f"{what} starts with a damaged line")
        old, new = (int(match.group(i) or b"1") for i in (2, 4))
        if not old and (match.group(1) != b"0" or not what.endswith(" 1")):
            raise self._bad(f"{what} has no line to be checked against the file; use diff -u")
        self.at += 1
        while old > 0 or new > 0:
            kind = self._line()[:1]
            if kind not in (b" ", b"-", b"+", b"\\", b"\n", b"\r"):
                raise self._bad(f"{what} is damaged or cut off")
            old -= kind not in (b"+", b"\\")
            new -= kind not in (b"-", b"\\")
            self.at += 1
        if old or new:
            raise self._bad(f"{what} does not have as many lines as it says")
        while self._starts(b"\\"):
            self.at += 1


@dataclass
class _PatchedTree:
    """The files in `root` as they will be; nothing is written there before `commit`."""

    root: Path
    scratch: Path
    program: str
    files: dict[str, Path | None] = field(default_factory=dict)  # None: deleted
    modes: dict[str, int] = field(default_factory=dict)
    count: int = 0

    def apply(self, diff: _Diff) -> None:
        source = self._current(diff)
        if diff.creates:
            if source is not None:
                raise _bad_patch(diff.patch, f"{diff.name}, a new file, is there already")
            source = self.scratch / "empty"
            source.touch()
            self.modes[diff.name] = 0o755 if diff.executable else 0o644
        elif source is None:
            raise _bad_patch(diff.patch, f"{diff.name} is not there")
        else:
            self.modes.setdefault(diff.name, stat.S_IMODE(source.stat().st_mode))
            if diff.hunks.startswith(b"@@ -0,0 ") and source.stat().st_size:
                raise _bad_patch(diff.patch, f"{diff.name}, an empty file to it, has lines")
        patched = self._patched(diff, source)
        if diff.deletes and patched.stat().st_size:
            raise _bad_patch(diff.patch, f"{diff.name}, to be deleted, has other lines as well")
        self.files[diff.name] = None if diff.deletes else patched

    def commit(self) -> None:
        now = time.time_ns()
        for name, patched in self.files.items():
            target = self.root / name
            if patched is None:
                target.unlink(missing_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            patched.chmod(self.modes[name])
            os.utime(patched, ns=(now, now))
            patched.replace(target)

    def _current(self, diff: _Diff) -> Path | None:
        """The file as the diffs before this one left it, None if there is none."""
        if diff.name in self.files:
            return self.files[diff.name]
        path = self.root / diff.name
        for parent in map(str, PurePosixPath(diff.name).parents):
            if self.files.get(parent) or (self.root / parent).is_file():
                raise _bad_patch(diff.patch, f"{diff.name} lies below {parent}, which is a file")
        if path.is_symlink() or os.path.realpath(path) != str(path):
            raise _bad_patch(diff.patch, f"{diff.name} lies behind a symlink")
        if not path.exists():
            return None
        if not path.is_file():
            raise _bad_patch(diff.patch, f"{diff.name} is no file")
        return path

    def _patched(self, diff: _Diff, source: Path) -> Path:
        self.count += 1
        target = self.scratch / str(self.count)
        # Names of our own, so that patch has nothing to decide.
        text = b"--- old\n+++ new\n" + diff.hunks
        options = ["--unified", "--fuzz=0", "--batch", "--forward", "--binary", "--reject-file=-"]
        result = subprocess.run(
            [self.program, *options, f"--output={target}", str(source)],
            input=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={"LC_ALL": "C", "PATH": os.environ.get("PATH", os.defpath)},
            cwd=self.scratch,
            check=False,
        )
        if result.returncode:
            output = result.stdout.decode(errors="replace").splitlines()[1:]
            failed = ", ".join(re.findall(r"Hunk (#\d+) FAILED", "\n".join(output)))
            reason = f"hunk {failed} does not match" if failed else "no hunk matches"
            raise _bad_patch(diff.patch, f"{diff.name}: {reason}", output)
        return target
