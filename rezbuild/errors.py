"""One tree of errors: what failed, what was tried, what to do next, and the exit code."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# Names the file in which a build process leaves its error for whoever started Rez.
REPORT = "REZBUILD_REPORT"
_LOOK = "check the space and the rights there"


class RezbuildError(Exception):
    """A failure that a user can act on; the command line prints it without a trace.

    Args:
        message: What failed, in one sentence.
        tried: What was tried, one line each.
        advice: What to do next, one line each.
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
    """A request, option or REZBUILD_* variable that makes no sense."""

    exit_code = 2


class CatalogueError(RezbuildError):
    """A sources.toml that cannot be used, or a package or version that is not in it."""

    exit_code = 3


class FetchError(RezbuildError):
    """No route gave the source archive."""

    exit_code = 4


class ChecksumError(RezbuildError):
    """Bytes arrived that are not the pinned ones. Never retried, never passed over."""

    exit_code = 5


class SignatureError(RezbuildError):
    """A source that its upstream has not signed, as far as the pinned keys say."""

    exit_code = 5


class UnpackError(RezbuildError):
    """An archive that would write outside its folder, or a patch that does not apply exactly."""

    exit_code = 6


class BuildError(RezbuildError):
    """A step of a build failed."""

    exit_code = 7


class RelocationError(RezbuildError):
    """A payload could not be made independent of where it stands."""

    exit_code = 8


class AuditError(RezbuildError):
    """A payload breaks a rule of the audit."""

    exit_code = 9


class MachineError(RezbuildError):
    """Something this machine lacks: a compiler, a tool, a repository that can be written."""

    exit_code = 10

    @classmethod
    def from_os_error(cls, error: OSError) -> MachineError:
        """What the system said about a file, for the user."""
        if isinstance(error, shutil.Error) and error.args and isinstance(error.args[0], list):
            # Of a whole tree: (from, to, why) of each file that was not copied.
            _, place, why = error.args[0][0]
            number = f", and {len(error.args[0]) - 1} more" if error.args[0][1:] else ""
            return cls(f"{place}{number}: {why.partition(': ')[0]}", advice=[_LOOK])
        where = f"{error.filename}: " if error.filename else ""
        return cls(f"{where}{error.strerror or error}", advice=[_LOOK])


class RezError(RezbuildError):
    """Rez could not resolve, build, install or release."""

    exit_code = 11


class CheckError(RezbuildError):
    """A payload does not do what it should."""

    exit_code = 12


class OutdatedError(RezbuildError):
    """What is installed is older than the catalogue; only its exit code is used."""

    exit_code = 13


class StoreError(RezbuildError):
    """A payload or an entry of a store that is not what it should be, or cannot be had."""

    exit_code = 14


class SeveralFailedError(RezbuildError):
    """Builds of one run that failed, each for a reason of its own.

    Args:
        errors: Two or more.
    """

    def __init__(self, errors: Sequence[RezbuildError]) -> None:
        super().__init__(f"{len(errors)} builds failed")
        self.errors = tuple(errors)
        codes = {error.exit_code for error in errors}
        # Where they differ, none of them would say it all.
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
        f"a defect of rezbuild itself: {type(error).__name__}: {error}",
        advice=["run it again with REZBUILD_TRACE=1, and report what it shows"],
    )


def write_report(error: RezbuildError) -> bool:
    """Leaves an error for whoever started Rez; whether somebody did who will tell the user."""
    file = os.environ.get(REPORT)
    if not file:
        return False
    try:
        Path(file).write_text(json.dumps(to_report(error)), encoding="utf-8")
    except OSError:  # no space, for one: it goes to the log then, whose end is shown
        return False
    return True


def to_report(error: RezbuildError) -> dict[str, Any]:
    """An error as plain data, to hand it from the build process to the one that started Rez."""
    return {
        "type": type(error).__name__,
        "message": error.message,
        "tried": list(error.tried),
        "advice": list(error.advice),
    }


def from_report(report: Mapping[str, Any]) -> RezbuildError:
    """The error that `to_report` was given, with its exit code; a worker may send anything."""
    kinds = {kind.__name__: kind for kind in RezbuildError.__subclasses__()}
    # It is made of other errors.
    kinds.pop(SeveralFailedError.__name__)
    kind = kinds.get(str(report.get("type")), RezbuildError)
    tried, advice = (report.get(name) for name in ("tried", "advice"))
    return kind(
        str(report.get("message")),
        tried=[str(line) for line in tried] if isinstance(tried, list) else [],
        advice=[str(line) for line in advice] if isinstance(advice, list) else [],
    )
