"""What this machine lacks for a build, and the command that installs it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import rez
from rez.config import config

from rezbuild.build import ccache, toolchain
from rezbuild.errors import MachineError, RezbuildError
from rezbuild.reporter import Reporter
from rezbuild.repository import installed
from rezbuild.run import system_needs
from rezbuild.run.system_needs import Need
from rezbuild.settings import Settings
from rezbuild.store import Store, maintain


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        found: What is there, or None.
        lost: What it is for; empty where nothing can be built without it.
        need: The line of the table of system packages that names it.
        advice: What else helps.
    """

    what: str
    found: str | None
    lost: str = ""
    need: Need | None = None
    advice: str = ""

    @property
    def fatal(self) -> bool:
        """Nothing can be built like this."""
        return self.found is None and not self.lost


def examine(settings: Settings) -> list[Check]:
    """Look at everything that a build needs."""
    return [
        *_python(),
        *_system(settings, "build"),
        *_patchelf(),
        *_ccache(settings),
        *_store(settings),
        *_rez(settings),
    ]


def examine_tests(settings: Settings) -> list[Check]:
    """Look at what the tests need besides."""
    return list(_system(settings, "tests"))


def report(checks: Sequence[Check], reporter: Reporter) -> int:
    """Print the checks and what to do; return the exit code."""
    for check in checks:
        state = "ok  " if check.found is not None else "MISS" if check.fatal else "lack"
        detail = check.found or (f"missing; it is for {check.lost}" if check.lost else "needed")
        reporter.result(f"{state}  {check.what}: {detail}")
    for line in _advice([check for check in checks if check.found is None]):
        reporter.result(f"  {line}")
    return MachineError.exit_code if any(check.fatal for check in checks) else 0


def report_commands(reporter: Reporter, *groups: str) -> None:
    """Print the command that installs all needs of some groups, for each package manager."""
    reporter.result("\nOn any machine, one of these (as root) installs it all:")
    for manager in system_needs.MANAGERS:
        reporter.result(f"  {system_needs.command(system_needs.table(*groups), manager)}")


def _advice(missing: Sequence[Check]) -> Iterator[str]:
    for check in missing:
        if check.advice:
            yield f"{check.what}: {check.advice}"
    for line in system_needs.commands([check.need for check in missing if check.need]):
        yield f"install what is missing (as root): {line}"


def _python() -> Iterator[Check]:
    yield Check("Python", f"{'.'.join(map(str, sys.version_info[:3]))} ({sys.executable})")


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
    """Optional: spoken of as missing where it is asked for only."""
    try:
        found = ccache.find(settings) if settings.ccache else toolchain.which("ccache")
    except MachineError as error:
        yield Check("ccache", None, advice="; ".join(error.advice))
        return
    if settings.ccache:
        (need,) = (need for need in system_needs.table("tests") if need.name == "ccache")
        yield Check("ccache", found, "compilers through it", need)
    else:
        there = f"{found}, not used" if found else "none; builds can do without"
        yield Check("ccache", f"{there}: see REZBUILD_CCACHE")


def _store(settings: Settings) -> Iterator[Check]:
    """Optional: spoken of as missing where one is named and does not answer."""
    if settings.store is None:
        yield Check("store", "none; everything is built here: see REZBUILD_STORE")
        return
    told: list[str] = []
    try:
        store = Store.of(settings, told.append)
        found = (
            f"{store.display_url}, with {len(maintain.list_packages(store))} packages"
            if store
            else None
        )
    except RezbuildError as error:
        found, told = None, ["; ".join([error.message, *error.advice])]
    yield Check("store", found, "payloads that are built already", advice="; ".join(told))


def _rez(settings: Settings) -> Iterator[Check]:
    yield Check("Rez", f"{rez.__version__} ({Path(rez.__file__).parent})")
    for name in installed.HOST_FAMILIES:
        bound = [v for v, _ in installed.versions(name, installed.search_path(release=False))]
        found = ", ".join(bound) or "not bound yet: rezbuild build binds it"
        yield Check(f"Rez package {name}", found)
    for what, folder in (
        ("local repository", str(config.local_packages_path)),
        ("cache", str(settings.cache)),
    ):
        usable = folder if _writable(Path(folder)) else None
        yield Check(what, usable, advice=f"{folder} cannot be written; name another one")
    released = Path(config.release_packages_path)
    usable = str(released) if released.is_dir() and _writable(released) else None
    advice = f"{released} cannot be written; create it, or name another one"
    yield Check("release repository", usable, "rez-release", advice=advice)


def _writable(folder: Path) -> bool:
    """Whether files can be made there, or the folder itself where it is not there yet."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
