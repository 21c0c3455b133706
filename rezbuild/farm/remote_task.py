"""A step of a plan on a farm: a worker builds it, then this machine publishes it."""

from __future__ import annotations

import collections
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rezbuild.errors import RezbuildError, as_error
from rezbuild.farm.messages import Result, is_file_name
from rezbuild.reporter import NOTICE, STEP, STEP_END, TAKEN, Event
from rezbuild.store import Entry
from rezbuild.util.processes import Task, TaskUpdate

_TAIL = 30
# The status of a job that failed on the farm; `RemoteTask.error` has the error.
FAILED = 1


class RemoteTask:
    """A task on a farm, with the interface of `rezbuild.util.processes.Task`.

    The farm's thread calls the methods ``on_*``.

    Args:
        name: The step.
        log: The file for the output.
        place: The folder of a local build; logs are written there.
        publish: Starts the second part; returns None while others are publishing.

    Attributes:
        worker: The worker that builds; "" before, and while the step is published.
        error: The error on the farm, or None.
        result: The result of the farm, or None.
        made: The entry of the payload, and the URL of the store that holds it; or None.
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
        self._cancel: Callable[[], None] | None = None
        # Calls of the farm's thread, in order. Two threads may use the two ends of a deque.
        self._queue: collections.deque[Callable[[], None]] = collections.deque()
        self._is_over = False
        self._place = ""
        self._notices: list[str] = []
        # Since the last poll.
        self._lines: list[str] = []
        self._events: list[Event] = []
        self._task: Task | None = None
        log.parent.mkdir(parents=True, exist_ok=True)
        log.unlink(missing_ok=True)
        self._stream = log.open("x", encoding="utf-8")

    @property
    def seconds(self) -> float:
        """The seconds since the begin."""
        return time.monotonic() - self.began

    def set_cancel(self, cancel: Callable[[], None]) -> None:
        """Set the function that cancels the job."""
        self._cancel = cancel

    def on_event(self, event: Mapping[str, Any]) -> None:
        """Take an event of the worker."""
        self._queue.append(lambda: self._take_event(event))

    def on_note(self, text: str) -> None:
        """Take a line for the user."""
        self._queue.append(lambda: self._take_note(text))

    def on_done(self, result: Result | None, error: RezbuildError | None) -> None:
        """Take the result or the error."""
        self._queue.append(lambda: self._take_result(result, error))

    def poll(self) -> TaskUpdate:
        """Return the status, and lines and events since the last poll."""
        if self._task is not None:
            update = self._task.poll()
            # Users need not know from which temporary store Rez takes the payload.
            return update._replace(events=[e for e in update.events if e.kind != TAKEN])
        status = None
        self._lines, self._events = [], []
        try:
            self._update()
        except (RezbuildError, OSError) as error:
            # E.g. a full disk; only this step fails.
            self.error = self.error or as_error(error)
            status = FAILED
        if self._is_over and self.error is not None:
            status = FAILED
        return TaskUpdate(status, self._lines, self._events)

    def _update(self) -> None:
        """Handle the calls of the farm's thread, and publish a finished payload.

        Raises:
            OSError: A log cannot be written, or no process can be started.
        """
        while self._queue:
            self._queue.popleft()()
        if not self._is_over:
            self._stream.writelines(f"{line}\n" for line in self._lines)
        self._stream.flush()
        if self._is_over and self.error is None:
            self._task = self._publish()

    def tail(self) -> list[str]:
        """Return the last lines of the log."""
        return self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL:]

    def wait(self) -> int:
        """Wait for the end of publishing; cancel a job that still runs. Return the exit code."""
        with contextlib.suppress(OSError):  # `poll` has reported it
            self._stream.close()
        if self._task is not None:
            return self._task.wait()
        if self._cancel is not None and not self._is_over:
            self._cancel()
        return FAILED

    def write_logs(self) -> None:
        """Write the logs of the worker to the folder of a local build's logs.

        Raises:
            OSError: They cannot be written.
        """
        logs = self.place / "logs"
        for name, text in (self.result.logs if self.result else {}).items():
            # A worker chooses the names.
            if is_file_name(name):
                logs.mkdir(parents=True, exist_ok=True)
                (logs / name).write_text(self._localize(text), encoding="utf-8")

    def _take_event(self, event: Mapping[str, Any]) -> None:
        before, self.worker = self.worker, str(event.get("name", ""))
        if self.worker != before:
            # A new worker starts from the beginning.
            self.step, self.step_began = "", time.monotonic()
        self._place = str(event.get("place", ""))
        self._lines += [self._localize(str(line)) for line in _items(event.get("lines"))]
        for found in map(Event.from_data, _items(event.get("events"))):
            if found is not None:
                self._events.append(replace(found, text=self._localize(found.text)))
                if found.kind in {STEP, STEP_END}:
                    self.step = found.step if found.kind == STEP else ""
                    self.step_began = time.monotonic()

    def _take_note(self, text: str) -> None:
        self._notices.append(text)
        self._lines.append(f"farm: {text}")
        self._events.append(Event(NOTICE, f"farm: {text}"))

    def _take_result(self, result: Result | None, error: RezbuildError | None) -> None:
        self._is_over = True
        self.step, self.step_began = "publishing", time.monotonic()
        self.result, self.error = result, error
        if error is None:
            # The worker has finished.
            self.worker = ""
        if result is not None:
            self._place = result.place
            # Events during a lost connection are missing in the log; the result has all output.
            self._stream.seek(0)
            self._stream.truncate()
            for line in (
                *(f"farm: {text}" for text in self._notices),
                self._localize(result.output),
            ):
                self._stream.write(f"{line}\n")
            self.write_logs()

    def _localize(self, text: str) -> str:
        """Replace the worker's folder in a text with the folder of a local build."""
        return text.replace(self._place, str(self.place)) if self._place else text


def _items(value: object) -> Sequence[Any]:
    """Return the items of a list that a worker sent; it may send anything."""
    return value if isinstance(value, (list, tuple)) else ()
