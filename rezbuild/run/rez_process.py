"""The processes ``rez-build`` and ``rez-release``, their logs, and the errors that they report."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rezbuild.errors import REPORT, RezbuildError, RezError, from_report
from rezbuild.files import disk_space
from rezbuild.repository import installed, staging
from rezbuild.util import jobserver
from rezbuild.util.processes import RunningTask, Task

# Rez's output, in the build folder of a version.
LOG = "rez.log"
# A Rez that outlived this process could delete packages of the next build: PR_SET_PDEATHSIG,
# prctl(2).
_DIE_WITH_PARENT = "import ctypes, signal; ctypes.CDLL(None).prctl(1, signal.SIGKILL); "


class RezProcesses:
    """Starts Rez in recipe folders, for one repository.

    Args:
        own: The repository of the target; "" for the repository of Rez's configuration.
        repository: The folder of the repository that packages go to.
        release: Run ``rez-release`` instead of ``rez-build``.
        jobs: The jobs of all builds.

    Attributes:
        command: ``build`` or ``release``.
        folder: A temporary folder for files of this run; set before the first process.
    """

    def __init__(self, own: str, repository: Path, *, release: bool, jobs: int) -> None:
        self.command = "release" if release else "build"
        self.folder = Path()
        self._own = own
        self._repository = repository
        self._release = release
        self._jobs = jobs

    def start(  # noqa: PLR0913 (a process, and its log)
        self,
        name: str,
        recipe: Path,
        log: Path,
        variables: Mapping[str, str],
        arguments: Sequence[str],
        *,
        after: bool = False,
    ) -> Task:
        """Start Rez in a recipe's folder.

        Args:
            name: The package.
            recipe: The recipe's folder.
            log: The file for all output.
            variables: Further environment variables.
            arguments: Further arguments.
            after: Append to the log of an earlier task.
        """
        # Unbuffered, so that the log keeps the order of lines.
        argv = rez_command(self.command, "--process", staging.PROCESS, *arguments, python=("-u",))
        env = {
            **os.environ,
            **installed.environment(self._own, release=self._release),
            **variables,
            REPORT: str(self._report(name)),
            jobserver.VARIABLE: str(jobserver.path(self.folder)),
            "REZBUILD_JOBS": str(self._jobs),
            # Without this, a Rez that gets a signal ends its whole process group: other builds and
            # this process (rez/cli/_util.py, sigbase_handler).
            "_REZ_NO_KILLPG": "1",
        }
        return Task(name, argv, recipe, env, log, after=after)

    def failure(self, task: RunningTask, recipe: Path, status: int) -> RezbuildError:
        """Return the error that a build has reported, or else one with the end of Rez's log."""
        log = f"read all output of rez-{self.command}: {task.log}"
        try:
            error = from_report(json.loads(self._report(task.name).read_text(encoding="utf-8")))
        except (OSError, ValueError):
            lines = "\n".join(f"    {line}" for line in task.tail())
            failed = RezError(
                f"rez-{self.command} of {task.name} ended with exit code {status}. "
                f"Its last lines:\n{lines}",
                advice=[log, f"run it by hand: cd {recipe} && rez-{self.command}"],
            )
            return disk_space.explain(failed, [task.log.parent, self.folder, self._repository])
        error.advice += (log,)
        return error

    def _report(self, name: str) -> Path:
        return self.folder / f"{name}.json"


def rez_command(command: str, *arguments: str, python: Sequence[str] = ()) -> list[str]:
    """Return the argument list of ``rez-<command>``, however Rez was installed.

    Args:
        command: The command of Rez, e.g. ``env``.
        arguments: Its arguments.
        python: Options of the interpreter.
    """
    start = f"{_DIE_WITH_PARENT}from rez.cli._main import run; run({command!r})"
    return [sys.executable, *python, "-c", start, *arguments]
