"""The conditions that `rezbuild reproduce` varies between two builds."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rezbuild.build import toolchain
from rezbuild.util.processes import capture

# An unlikely user id.
_USER = 47110
_HOSTNAME = "another-host"
_UMASK = 0o077
# Its offset has a quarter of an hour; for half of the day, the date differs.
_ZONE = "<+1245>-12:45"
# Seconds; the day, the month and the year differ.
_CLOCK = 400 * 24 * 3600
_FAKETIME = "libfaketime.so.1"


@dataclass(frozen=True)
class Conditions:
    """The conditions of a build.

    Attributes:
        umask: The umask of the process.
        hostname: A host name that only the build sees, or "".
        user: The user id that the build sees, or None: the caller's.
        environ: The caller's environment, which must not affect the build.
        steps: Variables for the steps of the build: the library that shifts their clock.
        jobs: The number of parallel jobs.
        same: The conditions that could not be varied, with reasons.
    """

    umask: int
    hostname: str
    user: int | None
    environ: Mapping[str, str]
    steps: Mapping[str, str]
    jobs: int
    same: tuple[str, ...] = ()

    def as_data(self) -> dict[str, object]:
        """Return the conditions for the report."""
        shown = {"umask": f"{self.umask:03o}", "jobs": self.jobs, "environment": self._shown()}
        if self.user is not None:
            shown["user"] = self.user
        if self.hostname:
            shown["host name"] = self.hostname
        if self.steps:
            shown["clock"] = f"{_CLOCK // 86400} days later"
        return shown

    def _shown(self) -> str:
        names = ("LC_ALL", "TZ", "HOME", "USER", "PYTHONHASHSEED", "SOURCE_DATE_EPOCH")
        return " ".join(f"{n}={self.environ[n]}" for n in names if n in self.environ)


def usual_conditions(jobs: int) -> Conditions:
    """Return the conditions of a normal build on this machine."""
    return Conditions(0o022, "", None, dict(os.environ), {}, jobs)


def varied_conditions(folder: Path, jobs: int) -> Conditions:
    """Return conditions that differ as much as this machine allows.

    Args:
        folder: A folder for this build only; its home folder is created in it.
        jobs: The jobs of the first build.
    """
    same = []
    home = folder / "another home"
    home.mkdir()
    isolated = _is_allowed("enter_user_namespace", _USER)
    # Without a user namespace, only root may set a host name.
    named = isolated or _is_allowed("set_hostname", _HOSTNAME)
    if not isolated:
        same.append("user: the kernel does not allow user namespaces")
    if not named:
        same.append("host name: the kernel does not allow this user to set it")
    locale = _locale()
    if locale is None:
        same.append("locale: locale -a lists only C")
    clock = _clock()
    if not clock:
        same.append(f"clock: {_FAKETIME} is not installed (package faketime)")
    environ = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG"))},
        **({"LC_ALL": locale, "LANG": locale} if locale else {}),
        "TZ": _ZONE,
        "HOME": str(home),
        "USER": "another",
        "LOGNAME": "another",
        "PYTHONHASHSEED": "4711",
        "SOURCE_DATE_EPOCH": "4711",
        "CFLAGS": "-DANOTHER",
    }
    return Conditions(
        umask=_UMASK,
        hostname=_HOSTNAME if named else "",
        user=_USER if isolated else None,
        environ=environ,
        steps=clock,
        jobs=jobs + 1,
        same=tuple(same),
    )


def _is_allowed(condition: str, value: object) -> bool:
    """Try a condition in a child process; return whether the kernel allows it."""
    start = f"from rezbuild.verify import rebuild_process; rebuild_process.{condition}({value!r})"
    argv = [sys.executable, "-I", "-c", start]
    return capture(argv).returncode == 0


def _locale() -> str | None:
    """Return an installed locale, of another language if possible."""
    program = toolchain.which("locale")
    if program is None:
        return None
    done = capture([program, "-a"])
    names = [name for name in done.stdout.split() if name not in ("C", "POSIX")]
    return min(names, key=lambda name: (name.startswith(("C.", "en_")), name), default=None)


def _clock() -> dict[str, str]:
    """Return variables that shift the clock of programs, if faketime(1) is installed."""
    program = toolchain.which("faketime")
    if program is None:
        return {}
    # The program knows the path of its library.
    argv = [program, "-f", "+0", sys.executable, "-c", "import os; print(os.environ['LD_PRELOAD'])"]
    done = capture(argv)
    library = done.stdout.strip()
    if done.returncode != 0 or not library:
        return {}
    return {"LD_PRELOAD": library, "FAKETIME": f"+{_CLOCK}", "FAKETIME_NO_CACHE": "1"}
