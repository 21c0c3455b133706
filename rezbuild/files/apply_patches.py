"""Patches: applied exactly, or refused without a trace."""

from __future__ import annotations

import io
import os
import posixpath
import re
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from rezbuild.build import toolchain
from rezbuild.errors import MachineError, UnpackError

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
    program = toolchain.which("patch")
    advice = ["apt-get install patch, or dnf install patch"]
    if program is None:
        raise MachineError("the program patch is missing", advice=advice)
    version = subprocess.run(
        [program, "--version"], capture_output=True, check=False, env=toolchain.ENVIRONMENT
    )
    if not version.stdout.startswith(b"GNU patch"):
        raise MachineError(f"{program} is not GNU patch, which knows --fuzz", advice=advice)
    return program


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
            env=toolchain.ENVIRONMENT,
            cwd=self.scratch,
            check=False,
        )
        if result.returncode:
            output = result.stdout.decode(errors="replace").splitlines()[1:]
            failed = ", ".join(re.findall(r"Hunk (#\d+) FAILED", "\n".join(output)))
            reason = f"hunk {failed} does not match" if failed else "no hunk matches"
            raise _bad_patch(diff.patch, f"{diff.name}: {reason}", output)
        return target
