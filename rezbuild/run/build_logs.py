"""The logs of builds: Rez's output, and one log for each step; see `rezbuild.run.rez_process`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from rezbuild.run.rez_process import LOG
from rezbuild.settings import PROFILES

# The folder of a version and a profile, e.g. 3.11.2-fast.
_FOLDER = re.compile(rf"(?P<version>\w+(?:[.+-]\w+)*)-(?P<profile>{'|'.join(PROFILES)})")
# A line of `rezbuild.reporter.Reporter.step`: "  02-make ... 65 s".
_STEP = re.compile(r"(?m)^  (\d\d-\S+) \.\.\.(.*)$")
_ENDED = re.compile(r" \d+ s")
# Folders of sources and payloads, which may have logs of upstream.
_NO_LOGS = {"work", "staging", "staging.partial"}


@dataclass(frozen=True)
class BuildLogs:
    """The logs of one build.

    Attributes:
        version, profile: Of the package; "" after rez-build, which has one folder for all.
        rez: The output of Rez, if the build was started by rezbuild.
        steps: The logs of the steps, in order.
    """

    version: str
    profile: str
    rez: Path | None
    steps: tuple[Path, ...]

    @property
    def newest(self) -> float:
        """The time of the last line."""
        return max(path.stat().st_mtime for path in (self.rez, *self.steps) if path)

    @cached_property
    def unfinished(self) -> Path | None:
        """The log of the step that failed or was killed, or that runs now; None: of no step."""
        lines = _STEP.findall(_read(self.rez)) if self.rez else []
        if lines and not _ENDED.fullmatch(lines[-1][1]):
            return next((path for path in self.steps if path.stem == lines[-1][0]), None)
        return None

    @property
    def last(self) -> Path:
        """The log to read first: of the unfinished step, else Rez's, else of the last step."""
        return self.unfinished or self.rez or self.steps[-1]


def find(folders: Iterable[Path]) -> list[BuildLogs]:
    """Return the logs of all builds in some folders, the newest build first.

    Args:
        folders: Folders of builds of one package, e.g. ``packages/zlib/build``.
    """
    found = [logs for folder in folders for logs in _find(folder)]
    return sorted(found, key=lambda logs: logs.newest, reverse=True)


def _find(folder: Path) -> Iterator[BuildLogs]:
    for build in (path for path in folder.glob("*") if path.is_dir()):
        named = _FOLDER.fullmatch(build.name)
        rez = build / LOG
        steps = list(_steps(build))
        if rez.is_file():
            # Logs of steps may be older: the last build may have failed before its first step.
            ran = "logs in " in _read(rez)
            yield BuildLogs(*_names(named), rez, tuple(steps[-1]) if steps and ran else ())
        else:
            yield from (BuildLogs(*_names(named), None, tuple(logs)) for logs in steps)


def _names(named: re.Match[str] | None) -> tuple[str, str]:
    return (named["version"], named["profile"]) if named else ("", "")


def _steps(build: Path) -> Iterator[list[Path]]:
    """Yield the logs of the steps of each variant, the newest variant last."""
    found = []
    for place, folders, _ in os.walk(build):
        folders[:] = [name for name in folders if name not in _NO_LOGS]
        if "logs" in folders and (logs := sorted(Path(place, "logs").glob("*.log"))):
            found.append(logs)
    yield from sorted(found, key=lambda logs: logs[-1].stat().st_mtime)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")
