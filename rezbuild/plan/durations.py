"""Durations of earlier builds, kept in the cache for estimates and for the order of builds.

``REZBUILD_CACHE/durations.json`` does not affect payloads. If it is damaged or read-only, builds
work as without it.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from rezbuild.errors import MachineError
from rezbuild.files import locks, safe_files
from rezbuild.plan.resolve import Step
from rezbuild.plan.schedule import source_size
from rezbuild.util import words

FILE = "durations.json"
# The newest records are kept; a platform year on three host kinds has about fifty.
_MOST = 2000
# Larger values mean a damaged file: its bytes, and the numbers of a record.
_LARGEST = 4_000_000
_BELOW = {"seconds": 1e7, "jobs": 1e6, "size": 1e12, "at": 1e11}
# Estimates without records: seconds per byte of a packed source, with two jobs on two cores; the
# factor for an optimized build (PGO and LTO); the factor for a package that is made from another
# package's source.
_RATE, _OPTIMIZED, _BORROWED = 7e-6, 4.0, 0.1
# Seconds of the shortest build, and seconds to wait for the lock.
_LEAST, _LOCK_TIMEOUT = 2.0, 5.0


@dataclass(frozen=True)
class Record:
    """A successful build.

    Attributes:
        profile: ``fast`` or ``optimized``; "" if the profile does not change the package.
        host: The label of the host kind.
        seconds: Its duration.
        jobs: The jobs of all parallel builds.
        size: Bytes of the source.
        at: Its end, in seconds since 1970.
    """

    name: str
    version: str
    profile: str
    host: str
    seconds: float
    jobs: int
    size: int
    at: float

    @property
    def key(self) -> tuple[str, str, str, str]:
        """The key; only the newest record of a key is kept."""
        return (self.name, self.version, self.profile, self.host)


@dataclass(frozen=True)
class Estimate:
    """The estimated seconds of a build; ``known``: the same build is recorded."""

    seconds: float
    known: bool


class Durations:
    """The records in a cache.

    Args:
        cache: REZBUILD_CACHE.
        say: Prints a notice if the file cannot be written.
    """

    def __init__(self, cache: Path, say: Callable[[str], None]) -> None:
        self._file = cache / FILE
        self._say = say
        self.records = _read(self._file)

    def estimate(self, step: Step, profile: str, host: str) -> Estimate:
        """Estimate a build by its record, by builds of its package, or by its source."""
        profile = profile if step.recipe.profiled else ""
        key = (*step.key, profile, host)
        if key in self.records:
            return Estimate(self.records[key].seconds, known=True)
        size = source_size(step)
        like = [record for record in self.records.values() if record.name == step.release.name]
        if like:
            best = max(like, key=lambda r: (r.profile == profile, r.host == host, r.at))
            return Estimate(_scaled(best, size, profile), known=False)
        factor = _OPTIMIZED if profile == "optimized" else 1.0
        factor *= _BORROWED if step.release.source and not step.recipe.recipe_of else 1.0
        return Estimate(max(_LEAST, self._rate(host) * size * factor), known=False)

    def record(self, step: Step, profile: str, host: str, seconds: float, jobs: int) -> None:
        """Record a build, also in the file; records of other processes are kept.

        Args:
            step: The step.
            profile: ``fast`` or ``optimized``.
            host: The label of the host kind.
            seconds: The duration of the build.
            jobs: The jobs of all parallel builds.
        """
        profile = profile if step.recipe.profiled else ""
        size, now = source_size(step), time.time()
        record = Record(*step.key, profile, host, seconds, jobs, size, now)
        self.records[record.key] = record
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            lock = locks.open_lock(self._file.with_suffix(".lock"), self._say)
            lock.acquire(limit=_LOCK_TIMEOUT)
            try:
                # Another process may have written the file.
                kept = _read(self._file)
                kept.pop(record.key, None)
                _write(self._file, [*kept.values(), record][-_MOST:])
            finally:
                lock.release()
        except (OSError, MachineError) as error:
            self._say(
                f"notice: the duration of {step} is not recorded in {self._file}: "
                f"{words.reason(error)}"
            )

    def _rate(self, host: str) -> float:
        """Return the recorded seconds per byte of a source, of this host kind if possible."""
        known = [record for record in self.records.values() if record.profile != "optimized"]
        own = [record for record in known if record.host == host] or known
        rates = [record.seconds / record.size for record in own if record.size > 0]
        return statistics.median(rates) if rates else _RATE


def _scaled(record: Record, size: int, profile: str) -> float:
    """Scale the record of another version, profile or host kind by the size of the source."""
    ratio = min(2.0, max(0.5, size / record.size)) if record.size > 0 else 1.0
    if record.profile != profile:
        ratio *= _OPTIMIZED if profile == "optimized" else 1 / _OPTIMIZED
    return record.seconds * ratio


def _read(file: Path) -> dict[tuple[str, str, str, str], Record]:
    """Return the valid records by key, oldest first."""
    try:
        data = safe_files.parse_json(safe_files.read(file, _LARGEST))
        builds = data["builds"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    found = _records(builds) if isinstance(builds, list) else ()
    return {record.key: record for record in found}


def _records(builds: Sequence[Any]) -> Iterator[Record]:
    kinds: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "float": (int, float)}
    wanted = {field.name: kinds[str(field.type)] for field in fields(Record)}
    for entry in builds:
        if not isinstance(entry, dict) or set(entry) != set(wanted):
            continue
        fits = all(isinstance(entry[name], kind) for name, kind in wanted.items())
        if fits and all(0 <= entry[name] < most for name, most in _BELOW.items()):
            yield Record(**entry)


def _write(file: Path, records: Sequence[Record]) -> None:
    text = json.dumps({"builds": [asdict(record) for record in records]}, indent=0) + "\n"
    safe_files.replace(file, text.encode())
