"""What this machine lacks for a build, and the command that installs it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rez
from rez.config import config

from rezbuild import ccache, repository, toml, toolchain
from rezbuild.errors import MachineError, RezbuildError
from rezbuild.settings import Settings
from rezbuild.store import Store, maintain

# Where headers stand that a distribution keeps apart, beside the compiler's own folders.
_HEADER_FOLDERS = ("/usr/include/freetype2",)
_INSTALLERS = {
    "apt-get": ("apt", "apt-get install"),
    "dnf": ("dnf", "dnf install"),
    "zypper": ("zypper", "zypper install"),
}


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        found: What is there, or None.
        lost: What is missed without it; empty where nothing can be built without it.
        packages: The system packages that bring it, by package manager.
        advice: What else helps.
    """

    what: str
    found: str | None
    lost: str = ""
    packages: Mapping[str, str] | None = None
    advice: str = ""

    @property
    def fatal(self) -> bool:
        """Nothing can be built like this."""
        return self.found is None and not self.lost


def examine(settings: Settings) -> list[Check]:
    """Looks at everything a build needs."""
    return [
        *_python(),
        *_system(settings),
        *_patchelf(),
        *_ccache(settings),
        *_store(settings),
        *_rez(settings),
    ]


def report(checks: Sequence[Check]) -> int:
    """Prints the checks and what to do; returns the exit code."""
    for check in checks:
        state = "ok  " if check.found is not None else "MISS" if check.fatal else "lack"
        detail = check.found or (f"without it: no {check.lost}" if check.lost else "needed")
        print(f"{state}  {check.what}: {detail}")
    for line in _advice([check for check in checks if check.found is None]):
        print(line)
    return MachineError.exit_code if any(check.fatal for check in checks) else 0


def _advice(missing: Sequence[Check]) -> Iterator[str]:
    for check in missing:
        if check.advice:
            yield f"  {check.what}: {check.advice}"
    for program, (manager, command) in _INSTALLERS.items():
        if shutil.which(program):
            wanted = [c.packages[manager] for c in missing if c.packages and manager in c.packages]
            if wanted:
                names = dict.fromkeys(" ".join(wanted).split())
                yield f"  install what is missing (as root): {command} {' '.join(names)}"
            return


def _python() -> Iterator[Check]:
    yield Check("Python", f"{'.'.join(map(str, sys.version_info[:3]))} ({sys.executable})")


def _system(settings: Settings) -> Iterator[Check]:
    path = Path(__file__).parent / "data" / "system.toml"
    for need in toml.loads(path.read_text(encoding="utf-8"))["need"]:
        what, found = _probe(need, settings)
        yield Check(what, found, need.get("lost", ""), need["packages"])


def _probe(need: Mapping[str, Any], settings: Settings) -> tuple[str, str | None]:
    if "program" in need:
        own = {"cc": settings.cc, "c++": settings.cxx}.get(need["program"])
        return need["program"], toolchain.which(own or need["program"])
    if "perl" in need:
        found = _runs(["perl", f"-M{need['perl']}", "-e", "1"])
        return f"Perl's {need['perl']}", "there" if found else None
    return need["header"], "there" if _has_header(need["header"], settings) else None


def _has_header(header: str, settings: Settings) -> bool:
    include = [f"-I{folder}" for folder in _HEADER_FOLDERS]
    source = f"#include <stdio.h>\n#include <{header}>\n"
    return _runs([settings.cc or "cc", "-E", *include, "-x", "c", "-"], source)


def _runs(argv: Sequence[str], text: str = "") -> bool:
    try:
        done = subprocess.run(
            argv,
            input=text.encode(),
            capture_output=True,
            check=False,
            env={"PATH": toolchain.SYSTEM_PATH},
        )
    except OSError:
        return False
    return done.returncode == 0


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
        brings = dict.fromkeys(("apt", "dnf", "zypper"), "ccache")
        yield Check("ccache", found, "compilers through it", brings)
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
        found = f"{store.shown}, with {len(maintain.names(store))} packages" if store else None
    except RezbuildError as error:
        found, told = None, ["; ".join([error.message, *error.advice])]
    yield Check("store", found, "payloads from it", advice="; ".join(told))


def _rez(settings: Settings) -> Iterator[Check]:
    yield Check("Rez", f"{rez.__version__} ({Path(rez.__file__).parent})")
    for name in repository.HOST_FAMILIES:
        bound = [v for v, _ in repository.versions(name, repository.search_path(release=False))]
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
    yield Check("release repository", usable, lost=f"rez-release: {released} cannot be written")


def _writable(folder: Path) -> bool:
    """Whether files can be made there, or the folder itself where it is not there yet."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
