"""System packages that set-up, builds and tests need: data/system.txt, compared with a machine.

The script data/examine.sh does the comparison, since ``make python`` runs it before there is a
venv.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rezbuild.build import toolchain
from rezbuild.errors import MachineError
from rezbuild.settings import Settings
from rezbuild.util.processes import capture

_DATA = Path(__file__).parents[1] / "data"
# Each package manager's program, and the command that installs packages.
MANAGERS = {
    "apt": ("apt-get", "apt-get install"),
    "dnf": ("dnf", "dnf install"),
    "zypper": ("zypper", "zypper install"),
    "pacman": ("pacman", "pacman -S"),
}


@dataclass(frozen=True)
class Need:
    """One line of the table.

    Attributes:
        line: Its number.
        group: ``setup``, ``build`` or ``tests``.
        kind: ``program``, ``tool``, ``library``, ``header``, ``perl``, ``python`` or ``module``.
        name: The program, header or module; a version for ``python``.
        users: The packages whose build needs it; empty: every build.
        lost: What is not possible without it; empty: no build is possible.
        packages: The system packages that contain it, by package manager.
    """

    line: int
    group: str
    kind: str
    name: str
    users: tuple[str, ...]
    lost: str
    packages: dict[str, tuple[str, ...]]

    def __str__(self) -> str:
        words = {"perl": f"Perl module {self.name}", "header": f"C header {self.name}"}
        return words.get(self.kind, self.name)


def table(*groups: str) -> list[Need]:
    """Return the needs of some groups, in the order of the table."""
    lines = (_DATA / "system.txt").read_text(encoding="utf-8").splitlines()
    rows = [(number, line.split("|")) for number, line in enumerate(lines, 1) if "|" in line]
    return [_need(number, row) for number, row in rows if row[0].strip() in groups]


def examine(settings: Settings, *groups: str) -> list[tuple[Need, str]]:
    """Return each need of some groups, and what was found; "" if it is missing."""
    cc, cxx = toolchain.compilers(settings)
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PERL")},
        "BUILD_PATH": toolchain.build_path(settings),
        "REZBUILD_CC": cc,
        "REZBUILD_CXX": cxx,
        "HOST_PYTHON": sys.executable,
        "LC_ALL": "C",
    }
    argv = ["/bin/sh", str(_DATA / "examine.sh"), "--raw", *groups]
    done = capture(argv, env=env)
    found = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    return [(need, found.get(str(need.line), "")) for need in table(*groups)]


def packages(needs: Iterable[Need], manager: str) -> list[str]:
    """Return the system packages that contain some needs, each once."""
    return list(dict.fromkeys(name for need in needs for name in need.packages[manager]))


def commands(needs: Sequence[Need]) -> list[str]:
    """Return the command for this machine's package manager; without one, those of all four."""
    here = [name for name, (program, _) in MANAGERS.items() if toolchain.which(program)][:1]
    return [command(needs, name) for name in here or MANAGERS] if needs else []


def command(needs: Sequence[Need], manager: str) -> str:
    """Return the command that installs some needs, e.g. ``apt-get install gcc g++``."""
    return " ".join([MANAGERS[manager][1], *packages(needs, manager)])


def require(settings: Settings, names: Collection[str]) -> None:
    """Check that this machine has what the build of some packages needs.

    Raises:
        MachineError: Something is missing; the error lists all of it.
    """
    missing = _missing(settings, names)
    if missing:
        words = ", ".join(map(str, missing))
        raise MachineError(f"missing programs or libraries: {words}", advice=_advice(missing))


def explain(error: MachineError, settings: Settings) -> MachineError:
    """Return the error of a missing compiler, with everything else that is missing.

    The error of a compiler that the user has set is returned unchanged.
    """
    missing = [] if settings.cc or settings.cxx else _missing(settings, None)
    if not missing:
        return error
    words = ", ".join(map(str, missing))
    return MachineError(f"{error.message}; also missing: {words}", advice=_advice(missing))


def _advice(missing: Sequence[Need]) -> list[str]:
    return [
        *(f"install it, as root: {line}" for line in commands(missing)),
        "check this machine: rezbuild doctor",
    ]


def _missing(settings: Settings, names: Collection[str] | None) -> list[Need]:
    """Return the missing needs without which no build of some packages is possible."""
    return [
        need
        for need, found in examine(settings, "build")
        if not found
        and not need.lost
        and (names is None or not need.users or {*need.users} & {*names})
    ]


def _need(number: int, row: Sequence[str]) -> Need:
    group, need, users, lost, *brings = (cell.strip() for cell in row)
    kind, name = need.split()
    found = {manager: tuple(cell.split()) for manager, cell in zip(MANAGERS, brings)}
    return Need(number, group, kind, name, tuple(users.split()), lost, found)
