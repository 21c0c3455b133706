"""One step of a plan on a farm: baked by a worker first, then published from here."""

from __future__ import annotations

import collections
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rezbuild.errors import MachineError, RezbuildError
from rezbuild.farm.order import Result, is_plain
from rezbuild.store import Entry
from rezbuild.task import Task

_TAIL = 30
# What `poll` gives for a job that failed on the farm; the error itself is in `Remote.error`.
FAILED = 1
# Whence Rez has a payload that was carried here says nothing to a user.
_FROM_STORE = ": taken from the store "


class Remote:
    """It looks like a `rezbuild.task.Task`; the farm's thread tells it how things stand.

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
        self._told: collections.deque[Callable[[], Sequence[str]]] = collections.deque()
        self._over = False
        self._place = ""
        self._notices: list[str] = []
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

    def poll(self) -> tuple[int | None, list[str]]:
        """As of a task."""
        if self._task is not None:
            status, said = self._task.poll()
            return status, [line for line in said if _FROM_STORE not in line]
        lines: list[str] = []
        try:
            self._look(lines)
        except (RezbuildError, OSError) as error:
            # Of this one alone: a disk that is full, too many processes.
            ours = error if isinstance(error, RezbuildError) else MachineError.of(error)
            self.error = self.error or ours
            return FAILED, lines
        return (FAILED if self._over and self.error is not None else None), lines

    def _look(self, lines: list[str]) -> None:
        """Takes what was told since, and publishes what is done.

        Raises:
            OSError: A log cannot be written, or no process can be started.
        """
        while self._told:
            lines += self._told.popleft()()
        if not self._over:
            self._stream.writelines(f"{line}\n" for line in lines)
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

    def _note(self, event: Mapping[str, Any]) -> Sequence[str]:
        self.worker = str(event.get("name", ""))
        self._place = str(event.get("place", ""))
        step = str(event.get("step", ""))
        if step != self.step:
            self.step, self.step_began = step, time.monotonic()
        lines = event.get("lines", ())
        return [self._here(str(line)) for line in lines] if isinstance(lines, (list, tuple)) else []

    def _notice(self, text: str) -> Sequence[str]:
        self._notices.append(text)
        return [f"farm: {text}"]

    def _end(self, result: Result | None, error: RezbuildError | None) -> Sequence[str]:
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
        return []

    def _here(self, text: str) -> str:
        """A text of the worker's, with the folder of a build here for the worker's own."""
        return text.replace(self._place, str(self.place)) if self._place else text
