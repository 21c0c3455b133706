"""The record of a run: which worker built what and when, as data and as a picture."""

from __future__ import annotations

import calendar
import contextlib
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import rezbuild
from rezbuild.errors import MachineError, UsageError
from rezbuild.files import safe_files
from rezbuild.plan.resolve import Job, Step
from rezbuild.plan.schedule import critical_path, source_size
from rezbuild.reporter import BUILD, Event
from rezbuild.run import gantt
from rezbuild.run.gantt import Bar, Timeline
from rezbuild.util.processes import RunningTask

# The folder in REZBUILD_CACHE, and the number of timelines that are kept.
FOLDER = "timelines"
KEPT = 20
_TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass
class _Part:
    """The part of a step on one worker, in monotonic seconds.

    Attributes:
        worked: Whether it was built, and not only restored.
        published: Whether a worker has built it, and this machine installs it.
    """

    step: Step
    worker: str
    began: float
    ended: float = 0.0
    state: str = ""
    worked: bool = False
    published: bool = False


class Recorder:
    """Records the steps of a run; `rezbuild.run.executor.Executor` calls it.

    Args:
        expect: Estimates the time of each step, in any unit: the longest path is built first.
        note: Receives each step that was built, and the seconds of the build.
    """

    def __init__(
        self,
        expect: Callable[[Step], float] = source_size,
        note: Callable[[Step, float], None] = lambda _step, _seconds: None,
    ) -> None:
        self.expect = expect
        self._note = note
        self._zero = time.monotonic()
        self._open: dict[Job, _Part] = {}
        self._parts: list[_Part] = []

    def update(self, step: Step, task: RunningTask, events: Sequence[Event]) -> None:
        """Record where a step runs, and its events since the last call."""
        if step.job not in self._open:
            self._open[step.job] = _Part(step, task.worker, task.began)
        part = self._open[step.job]
        if task.worker != part.worker:
            part = self._move(part, task.worker)
        part.worked = part.worked or any(event.kind == BUILD for event in events)

    def _move(self, part: _Part, worker: str) -> _Part:
        now = time.monotonic()
        if part.worker:
            # No worker any more: it has finished. Another worker: the first one was lost.
            self._close(part, gantt.LOST if worker else _good_state(part), now)
            part = _Part(part.step, worker, now, published=not worker)
            self._open[part.step.job] = part
        else:
            # The step has waited for a worker until now.
            part.worker, part.began = worker, now
        return part

    def end(self, step: Step, *, well: bool) -> None:
        """Record that a step has ended, if it was started."""
        part = self._open.pop(step.job, None)
        if part is None:
            return
        good = gantt.PUBLISHED if part.published else _good_state(part)
        self._close(part, good if well else gantt.FAILED, time.monotonic())
        built = [p for p in self._parts if p.step.job == step.job and p.state == gantt.BUILT]
        if well and built:
            self._note(step, built[-1].ended - built[-1].began)

    def stop(self) -> None:
        """Record that the running steps were stopped."""
        for part in self._open.values():
            self._close(part, gantt.STOPPED, time.monotonic())
        self._open.clear()

    def _close(self, part: _Part, state: str, now: float) -> None:
        part.ended, part.state = now, state
        self._parts.append(part)

    def timeline(self, title: str, steps: Sequence[Step], jobs: int) -> Timeline:
        """Return the timeline so far.

        Args:
            title: The title of the picture.
            steps: The plan, in its order.
            jobs: The jobs of all builds.
        """
        took: dict[Job, float] = {}
        for part in self._parts:
            took[part.step.job] = took.get(part.step.job, 0.0) + part.ended - part.began
        path = critical_path([s for s in steps if s.job in took], lambda s: took[s.job])
        critical = {step.job for step in path}
        bars = [
            Bar(
                job=str(part.step),
                package=part.step.release.name,
                worker=part.worker,
                began=part.began - self._zero,
                ended=part.ended - self._zero,
                state=part.state,
                critical=part.step.job in critical,
            )
            for part in self._parts
        ]
        began = time.time() - (time.monotonic() - self._zero)
        return Timeline(title, began, jobs, tuple(bars), tuple(map(str, path)))


def _good_state(part: _Part) -> str:
    return gantt.BUILT if part.worked else gantt.TAKEN


def as_data(timeline: Timeline) -> dict[str, Any]:
    """Return a timeline for programs: times of bars in seconds since the begin, and their rows."""
    rows = gantt.rows(timeline.bars)
    bars = [
        {**asdict(bar), "row": row} for row, (_, row_bars) in enumerate(rows) for bar in row_bars
    ]
    return {
        "rezbuild": rezbuild.__version__,
        "title": timeline.title,
        "began": time.strftime(_TIME, time.gmtime(timeline.began)),
        "seconds": timeline.seconds,
        "jobs": timeline.jobs,
        "critical_path": list(timeline.critical),
        "rows": [name for name, _ in rows],
        "bars": sorted(bars, key=lambda bar: (bar["began"], bar["job"])),
    }


def write(timeline: Timeline, file: Path) -> None:
    """Write the picture, and its data beside it.

    Raises:
        MachineError: A file cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        safe_files.replace(file, gantt.svg(timeline).encode())
        text = json.dumps(as_data(timeline), indent=1) + "\n"
        safe_files.replace(file.with_suffix(".json"), text.encode())
    except OSError as error:
        raise MachineError.from_os_error(error) from None


def write_to_cache(timeline: Timeline, cache: Path) -> Path:
    """Write a timeline into the cache, and remove the oldest ones there.

    Returns:
        The picture.

    Raises:
        MachineError: A file cannot be written.
    """
    folder = cache / FOLDER
    name = time.strftime("%Y-%m-%d-%H%M%S", time.localtime(timeline.began))
    names = [name, *(f"{name}-{number}" for number in range(2, 1000))]
    # If all names are taken, replace the last one.
    file = next((f for n in names if not os.path.lexists(f := folder / f"{n}.svg")), None)
    file = file or folder / f"{names[-1]}.svg"
    write(timeline, file)
    _prune(folder)
    return file


def find(cache: Path, package: str, moment: float) -> Timeline | None:
    """Return the timeline in the cache of the run that built a package at some moment.

    Args:
        cache: REZBUILD_CACHE.
        package: Name and version, e.g. ``zlib-1.3.2``.
        moment: Seconds since 1970, e.g. the time of the record in the payload.
    """
    for file in sorted(cache.joinpath(FOLDER).glob("*.json"), reverse=True):
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
            found = _from_data(safe_files.parse_json(safe_files.read(file)))
            for bar in found.bars:
                job = bar.job.partition("@")[0]
                # The begin is written in whole seconds.
                late = moment - found.began - bar.ended
                early = found.began + bar.began - moment
                if job == package and bar.state == gantt.BUILT and max(late, early) <= 1:
                    return found
    return None


def _from_data(data: dict[str, Any]) -> Timeline:
    """Return the timeline of `as_data`."""
    began = calendar.timegm(time.strptime(data["began"], _TIME))
    names = [field.name for field in fields(Bar)]
    bars = tuple(Bar(**{name: bar[name] for name in names}) for bar in data["bars"])
    return Timeline(data["title"], began, data["jobs"], bars, tuple(data["critical_path"]))


def check_writable(file: Path) -> None:
    """Check that a picture can be written, before the builds.

    Raises:
        UsageError: The name does not end in .svg.
        MachineError: The file cannot be written.
    """
    if file.suffix != ".svg":
        raise UsageError(
            f"--timeline {file} does not end in .svg",
            advice=["name a file such as run.svg; the data goes to run.json"],
        )
    if not file.parent.is_dir() or not os.access(file.parent, os.W_OK) or file.is_dir():
        raise MachineError(
            f"{file} cannot be written", advice=["name a file in an existing folder"]
        )


def _prune(folder: Path) -> None:
    ours = sorted(folder.glob("????-??-??-??????*.svg"), key=lambda path: path.stat().st_mtime)
    for old in ours[:-KEPT]:
        for path in (old, old.with_suffix(".json")):
            path.unlink(missing_ok=True)
