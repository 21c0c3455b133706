"""What a second build is given that the first one did not have: `rezbuild reproduce` varies it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rezbuild.build import toolchain

# No user of that number is likely to be there.
_USER = 47110
_HOSTNAME = "another-host"
_UMASK = 0o077
# A quarter of an hour is in it, and another day for half of the day.
_ZONE = "<+1245>-12:45"
# Seconds: another day, month and year.
_CLOCK = 400 * 24 * 3600
_FAKETIME = "libfaketime.so.1"


@dataclass(frozen=True)
class Conditions:
    """The circumstances of a build.

    Attributes:
        umask: Of the process.
        hostname: A name that the build alone sees, or "".
        user: The number of the user it sees itself as, or None: whoever calls.
        environ: The caller's environment; no build may take anything from it.
        steps: What the steps of the build are given besides: the library that shifts their clock.
        jobs: Parallel ones.
        same: What could not be varied, and why.
    """

    umask: int
    hostname: str
    user: int | None
    environ: Mapping[str, str]
    steps: Mapping[str, str]
    jobs: int
    same: tuple[str, ...] = ()

    def as_data(self) -> dict[str, object]:
        """For people and programs."""
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


def usual(jobs: int) -> Conditions:
    """Those of any build here."""
    return Conditions(0o022, "", None, dict(os.environ), {}, jobs)


def others(folder: Path, jobs: int) -> Conditions:
    """As different as this machine lets them be.

    Args:
        folder: One of this build's own, where its home is made.
        jobs: Of the build before.
    """
    same = []
    home = folder / "another home"
    home.mkdir()
    isolated = _may("seen_as", _USER)
    # Without a user namespace only root may do that.
    named = isolated or _may("own_hostname", _HOSTNAME)
    if not isolated:
        same.append("user: the kernel lets nobody make user namespaces here")
    if not named:
        same.append("host name: the kernel does not let this user have one of its own")
    locale = _locale()
    if locale is None:
        same.append("locale: locale -a knows no other than C")
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


def _may(condition: str, value: object) -> bool:
    """Whether a rebuild can have one of its conditions here; tried in a process."""
    start = f"from rezbuild.verify import rebuild_process; rebuild_process.{condition}({value!r})"
    argv = [sys.executable, "-I", "-c", start]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def _locale() -> str | None:
    """One that is installed; of another language, where there is one."""
    program = toolchain.which("locale")
    if program is None:
        return None
    done = subprocess.run([program, "-a"], capture_output=True, text=True, check=False)
    names = [name for name in done.stdout.split() if name not in ("C", "POSIX")]
    return min(names, key=lambda name: (name.startswith(("C.", "en_")), name), default=None)


def _clock() -> dict[str, str]:
    """What shifts the clock of the programs that are given it (faketime(1)), where it is there."""
    program = toolchain.which("faketime")
    if program is None:
        return {}
    # The program knows where its library is.
    argv = [program, "-f", "+0", sys.executable, "-c", "import os; print(os.environ['LD_PRELOAD'])"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    library = done.stdout.strip()
    if done.returncode != 0 or not library:
        return {}
    return {"LD_PRELOAD": library, "FAKETIME": f"+{_CLOCK}", "FAKETIME_NO_CACHE": "1"}
