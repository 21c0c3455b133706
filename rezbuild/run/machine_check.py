"""Checks of this machine: what it lacks for a build, and the command that installs it."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rez
from rez.config import config

from rezbuild.build import ccache, toolchain
from rezbuild.errors import MachineError, RezbuildError
from rezbuild.files import noexec
from rezbuild.reporter import Reporter
from rezbuild.repository import installed
from rezbuild.run import named_folders, system_needs
from rezbuild.run.system_needs import Need
from rezbuild.settings import Settings
from rezbuild.store import Store, maintain
from rezbuild.util import words


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
        what: The thing that is checked.
        found: What was found; None if it is missing.
        lost: What is not possible without it; empty if no build is possible.
        need: Its line in the table of system packages.
        advice: Other advice.
    """

    what: str
    found: str | None
    lost: str = ""
    need: Need | None = None
    advice: str = ""

    @property
    def state(self) -> str:
        """``ok``, ``missing``, or ``optional``: missing, and builds are possible without it."""
        return "ok" if self.found is not None else "missing" if self.fatal else "optional"

    @property
    def fatal(self) -> bool:
        """Whether no build is possible on this machine."""
        return self.found is None and not self.lost


def examine(settings: Settings) -> list[Check]:
    """Check everything that a build needs."""
    return [
        Check("Python", f"{platform.python_version()} ({sys.executable})"),
        *_system(settings, "build"),
        *_patchelf(),
        *_ccache(settings),
        *_named_folders(settings),
        *_store(settings),
        *_rez(settings),
    ]


def examine_tests(settings: Settings) -> list[Check]:
    """Check everything else that the tests need."""
    return list(_system(settings, "tests"))


def report(checks: Sequence[Check], reporter: Reporter) -> None:
    """Print the checks and what to do."""
    for check in checks:
        detail = check.found or (f"missing (needed for {check.lost})" if check.lost else "required")
        reporter.result(f"{check.state:8}  {check.what}: {detail}")
    for line in _advice([check for check in checks if check.found is None]):
        reporter.result(f"  {line}")


def exit_code(checks: Sequence[Check]) -> int:
    """Return 0 if builds are possible on this machine."""
    return MachineError.exit_code if any(check.fatal for check in checks) else 0


def as_data(checks: Sequence[Check], commands: Mapping[str, str]) -> dict[str, Any]:
    """Return the checks for JSON, and the result of `commands`."""
    rows = [
        {
            "what": check.what,
            "state": check.state,
            "found": check.found,
            "needed_for": check.lost,
            "advice": list(_advice([check])) if check.found is None else [],
        }
        for check in checks
    ]
    return {"checks": rows, "commands": dict(commands)}


def commands(*groups: str) -> dict[str, str]:
    """Return the command that installs all needs of some groups, for each package manager."""
    needs = system_needs.table(*groups)
    return {manager: system_needs.command(needs, manager) for manager in system_needs.MANAGERS}


def _advice(missing: Sequence[Check]) -> Iterator[str]:
    for check in missing:
        if check.advice:
            yield f"{check.what}: {check.advice}"
    for line in system_needs.commands([check.need for check in missing if check.need]):
        yield f"install the missing packages (as root): {line}"


def _system(settings: Settings, group: str) -> Iterator[Check]:
    for need, found in system_needs.examine(settings, group):
        yield Check(str(need), found or None, need.lost, need)


def _patchelf() -> Iterable[Check]:
    try:
        program = toolchain.patchelf()
    except MachineError as error:
        return [Check("patchelf", None, advice="; ".join(error.advice))]
    version = ".".join(map(str, toolchain.patchelf_version(program)))
    return [Check("patchelf", f"{version} ({program})")]


def _ccache(settings: Settings) -> Iterator[Check]:
    """Check ccache, which is optional: it counts as missing only if it is enabled."""
    try:
        found = ccache.find(settings) if settings.ccache else toolchain.which("ccache")
    except MachineError as error:
        yield Check("ccache", None, advice="; ".join(error.advice))
        return
    if settings.ccache:
        (need,) = (need for need in system_needs.table("tests") if need.name == "ccache")
        yield Check("ccache", found, "REZBUILD_CCACHE", need)
    else:
        there = f"{found}, not used" if found else "none (optional)"
        yield Check("ccache", f"{there}; see REZBUILD_CCACHE")


def _named_folders(settings: Settings) -> Iterator[Check]:
    for variable, folder in named_folders.named_folders(settings):
        advice = f"{folder} does not exist; mount it, correct the setting, or create it"
        yield Check(variable, str(folder) if folder.is_dir() else None, advice=advice)


def _store(settings: Settings) -> Iterator[Check]:
    """Check the store, which is optional: it is missing only if it is set and does not answer."""
    if settings.store is None:
        yield Check("store", "none (optional); see REZBUILD_STORE")
        return
    notices: list[str] = []
    try:
        store = Store.of(settings, notices.append)
        found = None
        if store:
            packages = words.count(len(maintain.list_packages(store)), "package")
            found = f"{store.display_url}, with {packages}"
    except RezbuildError as error:
        found, notices = None, ["; ".join([error.message, *error.advice])]
    yield Check("store", found, "payloads of earlier builds", advice="; ".join(notices))


def _rez(settings: Settings) -> Iterator[Check]:
    yield Check("Rez", f"{rez.__version__} ({Path(rez.__file__).parent})")
    for name in installed.HOST_FAMILIES:
        bound = [v for v, _ in installed.versions(name, installed.search_path(release=False))]
        found = ", ".join(bound) or "none yet; rezbuild build creates it with rez-bind"
        yield Check(f"Rez package {name}", found)
    for what, folder in (
        ("local repository", str(config.local_packages_path)),
        ("cache", str(settings.cache)),
    ):
        usable = folder if _writable(Path(folder)) else None
        yield Check(what, usable, advice=f"{folder} cannot be written; set another folder")
    temporary = tempfile.gettempdir()
    usable = None if noexec.is_noexec(Path(temporary)) else temporary
    advice = f"programs cannot run in {temporary}, which is mounted with noexec; set TMPDIR"
    yield Check("temporary folder", usable, advice=advice)
    released = Path(config.release_packages_path)
    usable = str(released) if released.is_dir() and _writable(released) else None
    advice = f"{released} cannot be written; create it, or set another folder"
    yield Check("release repository", usable, "rez-release", advice=advice)


def _writable(folder: Path) -> bool:
    """Return whether files can be created in a folder, or the folder itself if it is missing."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
