"""Apply patches with GNU patch; refuse hunks that do not match exactly."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from rezbuild.build import toolchain
from rezbuild.errors import MachineError, UnpackError

_HUNK = re.compile(rb"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
# The old name of a new file; diff -N dates it at the epoch, in whatever time zone.
_ABSENT = re.compile(rb"--- (/dev/null\b|.*\t(1970-01-01|1969-12-31) )")
# Lines that change modes, create links, or contain binary data.
_UNSUPPORTED = re.compile(
    rb"old mode |new file mode (?!100(644|755)\s*$)|rename from |copy from |GIT binary patch"
    rb"|Binary files "
)
# --no-backup-if-mismatch: without it, a hunk at another line leaves a file *.orig.
_OPTIONS = (
    *("--strip=1", "--unified", "--fuzz=0", "--batch", "--forward", "--binary", "--verbose"),
    *("--reject-file=-", "--no-backup-if-mismatch"),
)

# Other output of --verbose. Lines with "|" repeat the patch.
_CHATTER = ("|", "-----", "Hmm", "The text leading up", "Perhaps you", "Using Plan", "done")


def apply_patches(root: Path, patches: Sequence[Path]) -> None:
    """Apply unified diffs, with one folder stripped from their names (-p1), to the files in `root`.

    A hunk may apply at another line if its whole context matches there. GNU patch follows no links
    and refuses names outside `root`. All patched files get the same time, because make compares
    times.

    Raises:
        UnpackError: A hunk does not apply, or a patch is damaged, has no diff, or has renames,
            modes or binary files. `root` may be patched in part.
        MachineError: GNU patch is missing.
    """
    if not patches:
        return
    program = _gnu_patch()
    try:
        changed = [root / name for patch in patches for name in _apply(program, root, patch)]
        now = time.time_ns()
        for path in filter(Path.is_file, changed):
            os.utime(path, ns=(now, now))
    except OSError as error:
        raise UnpackError(
            f"{root} cannot be patched: {error}",
            advice=["check its permissions and the free space"],
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
        raise MachineError(f"{program} is not GNU patch", advice=advice)
    return program


def _apply(program: str, root: Path, patch: Path) -> list[str]:
    """Apply one patch; return the names of the files that it writes."""
    try:
        text = patch.read_bytes()
    except OSError as error:
        raise _bad_patch(patch, f"it cannot be read ({error.strerror})") from error
    hunks = _count_hunks(patch, text.split(b"\n"))
    if not hunks:
        raise _bad_patch(patch, "it has no unified diff")
    result = subprocess.run(
        [program, *_OPTIONS, f"--directory={root}"],
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=toolchain.ENVIRONMENT,
        check=False,
    )
    output = result.stdout.decode(errors="replace").splitlines()
    # GNU patch ignores damaged parts and exits with 0, so count the applied hunks.
    applied = sum(bool(re.match(r"Hunk #\d+ succeeded ", line)) for line in output)
    if result.returncode or applied != hunks:
        said = [line for line in output if not line.startswith(_CHATTER)]
        raise _bad_patch(patch, "it does not match the sources", said)
    # GNU patch quotes odd names as a shell does.
    return [shlex.split(line)[2] for line in output if line.startswith("patching file ")]


def _count_hunks(patch: Path, lines: Sequence[bytes]) -> int:
    """Count the hunks of a patch.

    Raises:
        UnpackError: A hunk is damaged, or has no line to compare with the file.
    """
    count = old = new = 0
    created = False
    after = b""
    for number, line in enumerate(lines, 1):
        kind = line[:1]
        if old > 0 or new > 0:
            # "\\ No newline at end of file" belongs to the line before it.
            old -= kind not in (b"+", b"\\")
            new -= kind not in (b"-", b"\\")
            damaged = kind not in (b" ", b"-", b"+", b"\\", b"", b"\r")
            after = b" +-"
        elif line.startswith(b"@@ "):
            match = _HUNK.match(line)
            damaged = match is None or (match[2] == b"0" and not created)
            old, new = (int(match[i] or b"1") for i in (2, 4)) if match else (0, 0)
            count, created = count + 1, False
        else:
            created = created or bool(_ABSENT.match(line))
            # After a hunk, only a file's name or a mail's signature ("-- ") may begin with "-".
            damaged = old < 0 or new < 0 or (kind != b"" and kind in after and line[:2] != b"--")
            after = after if kind == b"\\" else b""
        if damaged or _UNSUPPORTED.match(line):
            raise _bad_patch(patch, f"line {number} is damaged or not supported")
    if old or new:
        raise _bad_patch(patch, "its last hunk is cut off")
    return count


def _bad_patch(patch: Path, problem: str, output: Sequence[str] = ()) -> UnpackError:
    return UnpackError(
        f"patch {patch} cannot be applied: {problem}",
        tried=output,
        advice=["create the patch again from the sources of this version (diff -u, git diff)"],
    )
