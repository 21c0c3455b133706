"""One step of a plan on a farm: baked by a worker first, then published from here."""

from __future__ import annotations

import collections
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rezbuild.errors import RezbuildError, as_error
from rezbuild.farm.messages import Result, is_plain
from rezbuild.reporter import NOTICE, STEP, STEP_END, TAKEN, Event
from rezbuild.store import Entry
from rezbuild.util.processes import Task, TaskUpdate

_TAIL = 30
# What `poll` gives for a job that failed on the farm; the error itself is in `Remote.error`.
FAILED = 1


class Remote:
    """It looks like a `rezbuild.util.processes.Task`; the farm's thread tells it how things stand.

    Args:
        name: What it is for.
        log: Where the output goes.
        place: Where a build here would have been; its logs go there.
        publish: Begins the second part, or gives None: not now, others are at it.

    Attributes:
        worker: The one that it is on; "" before, and while it is published.
        error: Why it failed on the farm, or None.
        result: What came of it there, or None.
        made: The entry of its payload, and the URL of the store that this is in; or None.
    """

    def __init__(
        self,
        name: str,
        log: Path,
        place: Path,
        publish: Callable[[], Task | None],
    ) -> None:
        self.name = name
        self.log = log
        self.place = place
        self.began = self.step_began = time.monotonic()
        self.step = ""
        self.worker = ""
        self.error: RezbuildError | None = None
        self.result: Result | None = None
        self.made: tuple[Entry, str] | None = None
        self._publish = publish
        self._give_up: Callable[[], None] | None = None
        # What the farm's thread says, in its order: a deque's two ends are safe to use at once.
        self._told: collections.deque[Callable[[], None]] = collections.deque()
        self._over = False
        self._place = ""
        self._notices: list[str] = []
        # Since the last look.
        self._lines: list[str] = []
        self._events: list[Event] = []
        self._task: Task | None = None
        log.parent.mkdir(parents=True, exist_ok=True)
        log.unlink(missing_ok=True)
        self._stream = log.open("x", encoding="utf-8")

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.began

    def begin(self, give_up: Callable[[], None]) -> None:
        """Takes what tells the farm, which has the job now, that nobody waits for it any more."""
        self._give_up = give_up

    def heard(self, event: Mapping[str, Any]) -> None:
        """Takes what a worker said of the build; of the farm's thread."""
        self._told.append(lambda: self._note(event))

    def note(self, text: str) -> None:
        """Takes a line for the user; of the farm's thread."""
        self._told.append(lambda: self._notice(text))

    def done(self, result: Result | None, error: RezbuildError | None) -> None:
        """Takes what came of it; of the farm's thread."""
        self._told.append(lambda: self._end(result, error))

    def poll(self) -> TaskUpdate:
        """Look at it, as at a task."""
        if self._task is not None:
            news = self._task.poll()
            # Where Rez takes a payload from that was carried here says nothing to a user.
            return news._replace(events=[e for e in news.events if e.kind != TAKEN])
        status = None
        self._lines, self._events = [], []
        try:
            self._look()
        except (RezbuildError, OSError) as error:
            # Of this one alone: a disk that is full, too many processes.
            self.error = self.error or as_error(error)
            status = FAILED
        if self._over and self.error is not None:
            status = FAILED
        return TaskUpdate(status, self._lines, self._events)

    def _look(self) -> None:
        """Takes what was told since, and publishes what is done.

        Raises:
            OSError: A log cannot be written, or no process can be started.
        """
        while self._told:
            self._told.popleft()()
        if not self._over:
            self._stream.writelines(f"{line}\n" for line in self._lines)
        self._stream.flush()
        if self._over and self.error is None:
            self._task = self._publish()

    def tail(self) -> list[str]:
        """As of a task."""
        return self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL:]

    def wait(self) -> int:
        """As of a task; what runs on a worker is given up."""
        with contextlib.suppress(OSError):  # which `poll` has seen
            self._stream.close()
        if self._task is not None:
            return self._task.wait()
        if self._give_up is not None and not self._over:
            self._give_up()
        return FAILED

    def keep_logs(self) -> None:
        """Puts the logs of the worker's build where those of a build here would be.

        Raises:
            OSError: They cannot be written.
        """
        logs = self.place / "logs"
        for name, text in (self.result.logs if self.result else {}).items():
            # A worker chooses the names.
            if is_plain(name):
                logs.mkdir(parents=True, exist_ok=True)
                (logs / name).write_text(self._here(text), encoding="utf-8")

    def _note(self, told: Mapping[str, Any]) -> None:
        before, self.worker = self.worker, str(told.get("name", ""))
        if self.worker != before:
            # Another one begins anew.
            self.step, self.step_began = "", time.monotonic()
        self._place = str(told.get("place", ""))
        self._lines += [self._here(str(line)) for line in _items(told.get("lines"))]
        for event in map(Event.from_data, _items(told.get("events"))):
            if event is not None:
                self._events.append(replace(event, text=self._here(event.text)))
                if event.kind in {STEP, STEP_END}:
                    self.step = event.step if event.kind == STEP else ""
                    self.step_began = time.monotonic()

    def _notice(self, text: str) -> None:
        self._notices.append(text)
        self._lines.append(f"farm: {text}")
        self._events.append(Event(NOTICE, f"farm: {text}"))

    def _end(self, result: Result | None, error: RezbuildError | None) -> None:
        self._over = True
        self.step, self.step_began = "publishing", time.monotonic()
        self.result, self.error = result, error
        if error is None:
            # It has done its part.
            self.worker = ""
        if result is not None:
            self._place = result.place
            # What was said while there was no connection is missing in what was heard.
            self._stream.seek(0)
            self._stream.truncate()
            for line in (*(f"farm: {text}" for text in self._notices), self._here(result.output)):
                self._stream.write(f"{line}\n")
            self.keep_logs()

    def _here(self, text: str) -> str:
        """A text of the worker's, with the folder of a build here for the worker's own."""
        return text.replace(self._place, str(self.place)) if self._place else text


def _items(value: object) -> Sequence[Any]:
    """Return the items of a list that a worker sent; it may send anything."""
    return value if isinstance(value, (list, tuple)) else ()
