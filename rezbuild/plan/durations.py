"""How long builds took, kept in the cache: what plans and pictures go by, and what is built first.

``REZBUILD_CACHE/durations.json`` is a help and no input of a build: where it is damaged or cannot
be written, everything works as it does without it.
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

FILE = "durations.json"
# The newest are kept; a platform year on three kinds of host has about fifty.
_MOST = 2000
# More is damage: bytes of the file, and what is in an entry.
_LARGEST = 4_000_000
_BELOW = {"seconds": 1e7, "jobs": 1e6, "size": 1e12, "at": 1e11}
# Where nothing is recorded: seconds for each byte of a packed source, two jobs on two cores; how
# much longer an optimized build takes (PGO, and LTO); which part of the time one takes that is made
# of another package's source.
_RATE, _OPTIMIZED, _BORROWED = 7e-6, 4.0, 0.1
# Seconds that any build takes, and seconds that a lock is waited for.
_LEAST, _PATIENCE = 2.0, 5.0


@dataclass(frozen=True)
class Record:
    """A build that went well.

    Attributes:
        profile: ``fast`` or ``optimized``; "" where it makes no difference to what is built.
        host: The label of the kind of host.
        seconds: From its begin to its end.
        jobs: How many there were in all, for it and what was built beside it.
        size: Bytes of the source.
        at: When it ended, in seconds since 1970.
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
        """What there is one record of: the newest."""
        return (self.name, self.version, self.profile, self.host)


@dataclass(frozen=True)
class Estimate:
    """How long a build will take, in seconds; ``known`` where that very build is recorded."""

    seconds: float
    known: bool


class Durations:
    """What is recorded in a cache.

    Args:
        cache: REZBUILD_CACHE.
        say: Is told where the file cannot be written.
    """

    def __init__(self, cache: Path, say: Callable[[str], None]) -> None:
        self._file = cache / FILE
        self._say = say
        self.records = _read(self._file)

    def estimate(self, step: Step, profile: str, host: str) -> Estimate:
        """How long a build takes: as it took, else as its like took, else by the source's size."""
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
        """Records a build, in the file as well; whoever writes it at the same time loses nothing.

        Args:
            step: What has been built.
            profile: ``fast`` or ``optimized``.
            host: The label of the kind of host.
            seconds: From its begin to its end.
            jobs: How many there were in all, for it and what was built beside it.
        """
        profile = profile if step.recipe.profiled else ""
        size, now = source_size(step), time.time()
        record = Record(*step.key, profile, host, seconds, jobs, size, now)
        self.records[record.key] = record
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            lock = locks.open_lock(self._file.with_suffix(".lock"), self._say)
            lock.acquire(limit=_PATIENCE)
            try:
                # Others may have written since.
                kept = _read(self._file)
                kept.pop(record.key, None)
                _write(self._file, [*kept.values(), record][-_MOST:])
            finally:
                lock.release()
        except (OSError, MachineError) as error:
            self._say(f"notice: how long {step} took is not recorded in {self._file}: {error}")

    def _rate(self, host: str) -> float:
        """Seconds for each byte of a source, by what is recorded, of this kind of host if any."""
        known = [record for record in self.records.values() if record.profile != "optimized"]
        own = [record for record in known if record.host == host] or known
        rates = [record.seconds / record.size for record in own if record.size > 0]
        return statistics.median(rates) if rates else _RATE


def _scaled(record: Record, size: int, profile: str) -> float:
    """What another version, profile or kind of host says: sizes of versions differ little."""
    ratio = min(2.0, max(0.5, size / record.size)) if record.size > 0 else 1.0
    if record.profile != profile:
        ratio *= _OPTIMIZED if profile == "optimized" else 1 / _OPTIMIZED
    return record.seconds * ratio


def _read(file: Path) -> dict[tuple[str, str, str, str], Record]:
    """The records by key, oldest first; what cannot be read is left out."""
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
