"""The errors that users see: the problem, what was tried, what to do next, the exit code."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rezbuild.util import words

# The variable with the file to which a build process writes its error, for the process above Rez.
REPORT = "REZBUILD_REPORT"
_DISK_ADVICE = "check the free space and the permissions"


class RezbuildError(Exception):
    """A failure that a user can act on; the command line prints it without a traceback.

    Args:
        message: The problem: a noun and what is wrong with it.
        tried: What was tried, one line each.
        advice: What to do next, one imperative line each.
    """

    exit_code = 1

    def __init__(
        self, message: str, *, tried: Sequence[str] = (), advice: Sequence[str] = ()
    ) -> None:
        super().__init__(message)
        self.message = message
        self.tried = tuple(tried)
        self.advice = tuple(advice)

    def __str__(self) -> str:
        lines = [self.message]
        lines += [f"  tried: {line}" for line in self.tried]
        lines += [f"  next:  {line}" for line in self.advice]
        return "\n".join(lines)


class UsageError(RezbuildError):
    """An invalid request, option or REZBUILD_* variable."""

    exit_code = 2


class CatalogueError(RezbuildError):
    """An invalid sources.toml, or a package or version that is not in it."""

    exit_code = 3


class FetchError(RezbuildError):
    """A source archive could not be downloaded."""

    exit_code = 4


class ChecksumError(RezbuildError):
    """A file has another checksum than the pinned one. Never retried, never ignored."""

    exit_code = 5


class SignatureError(RezbuildError):
    """A source that is not signed by a pinned key of its upstream."""

    exit_code = 5


class UnpackError(RezbuildError):
    """An archive that would write outside its folder, or a patch that does not apply exactly."""

    exit_code = 6


class BuildError(RezbuildError):
    """A step of a build failed."""

    exit_code = 7


class RelocationError(RezbuildError):
    """A payload could not be made relocatable."""

    exit_code = 8


class AuditError(RezbuildError):
    """A payload breaks a rule of the audit."""

    exit_code = 9


class MachineError(RezbuildError):
    """A problem of this machine: a missing compiler, a read-only folder, a full disk."""

    exit_code = 10

    @classmethod
    def from_os_error(cls, error: OSError) -> MachineError:
        """Return the error for a failed system call."""
        if isinstance(error, shutil.Error) and error.args and isinstance(error.args[0], list):
            # shutil.copytree: (source, target, reason) of each file that was not copied.
            _, place, reason = error.args[0][0]
            number = f", and {len(error.args[0]) - 1} more" if error.args[0][1:] else ""
            why = words.without_number(reason).partition(": ")[0]
            return cls(f"{place}{number}: {why}", advice=[_DISK_ADVICE])
        where = f"{error.filename}: " if error.filename else ""
        return cls(f"{where}{error.strerror or words.reason(error)}", advice=[_DISK_ADVICE])


class RezError(RezbuildError):
    """Rez could not resolve, build, install or release."""

    exit_code = 11


class CheckError(RezbuildError):
    """A payload fails a check."""

    exit_code = 12


class OutdatedError(RezbuildError):
    """Installed packages are older than the catalogue; only its exit code is used."""

    exit_code = 13


class StoreError(RezbuildError):
    """A store, or an entry of a store, that is damaged, not trusted or not available."""

    exit_code = 14


class ReleaseError(RezbuildError):
    """A release that is not possible yet, or that lacks its tag."""

    exit_code = 15


class LockError(RezbuildError):
    """A lock file that cannot be read, or does not fit the recipes here."""

    exit_code = 16


class SeveralFailedError(RezbuildError):
    """Several failed builds of one run, each with its own error.

    Args:
        errors: Two or more.
    """

    def __init__(self, errors: Sequence[RezbuildError]) -> None:
        super().__init__(f"{len(errors)} builds failed")
        self.errors = tuple(errors)
        codes = {error.exit_code for error in errors}
        # If the codes differ, no single one is right.
        self.exit_code = codes.pop() if len(codes) == 1 else RezbuildError.exit_code

    def __str__(self) -> str:
        parts = [f"{n} of {len(self.errors)}: {e}" for n, e in enumerate(self.errors, 1)]
        return "\n\n".join([self.message, *parts])


def as_error(error: Exception) -> RezbuildError:
    """Return an exception as an error for the user.

    An OSError is a fault of the machine. Any other exception is a defect of rezbuild; with
    REZBUILD_TRACE=1 it is raised again, so that Python shows its traceback.
    """
    if isinstance(error, RezbuildError):
        return error
    if isinstance(error, OSError):
        return MachineError.from_os_error(error)
    if os.environ.get("REZBUILD_TRACE") == "1":
        raise error
    return RezbuildError(
        f"a defect of rezbuild itself: {type(error).__name__}: {words.reason(error)}",
        advice=["run it again with REZBUILD_TRACE=1, and report the traceback"],
    )


def write_report(error: RezbuildError) -> bool:
    """Write an error for the process above Rez; return whether that process will print it."""
    file = os.environ.get(REPORT)
    if not file:
        return False
    try:
        Path(file).write_text(json.dumps(to_report(error)), encoding="utf-8")
    except OSError:  # e.g. a full disk: the error goes to the log, whose end is printed
        return False
    return True


def to_report(error: RezbuildError) -> dict[str, Any]:
    """Return an error as plain data, for the process that started Rez."""
    return {
        "type": type(error).__name__,
        "message": error.message,
        "tried": list(error.tried),
        "advice": list(error.advice),
    }


def from_report(report: Mapping[str, Any]) -> RezbuildError:
    """Return the error of a report, with its exit code; a worker may send any data."""
    kinds = {kind.__name__: kind for kind in RezbuildError.__subclasses__()}
    # It consists of other errors.
    kinds.pop(SeveralFailedError.__name__)
    kind = kinds.get(str(report.get("type")), RezbuildError)
    tried, advice = (report.get(name) for name in ("tried", "advice"))
    return kind(
        str(report.get("message")),
        tried=[str(line) for line in tried] if isinstance(tried, list) else [],
        advice=[str(line) for line in advice] if isinstance(advice, list) else [],
    )
