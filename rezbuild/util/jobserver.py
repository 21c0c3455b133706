"""One budget of jobs for all builds that run at once, in the way of GNU make's jobserver.

A token is a byte; who holds one may run one job ("Sharing Job Slots" in make's manual). The tokens
lie in a named FIFO: make itself is given file descriptors (its own named kind is known from 4.4 on
only), but none would pass through Rez, which closes them.

Each build holds a token all the time, for the one job that is always running in it, and its makes
take more where there are any. A make that was killed loses those that it had; what is lost comes
back when no build runs. Until then the others are slower, and none ever stops.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

# Names the FIFO to the builds that share it.
VARIABLE = "REZBUILD_JOBSERVER"
_TOKEN = b"+"


def path(folder: Path) -> Path:
    """The FIFO in a folder of its own."""
    return folder / "jobs"


class Budget:
    """The tokens, as the one sees them who starts builds.

    Args:
        folder: Where the FIFO is made.

    Attributes:
        jobs: How many there are.
    """

    def __init__(self, jobs: int, folder: Path) -> None:
        self.jobs = jobs
        os.mkfifo(path(folder), 0o600)
        # For reading as well: without a reader, what is in a FIFO is gone.
        self._fifo = os.open(path(folder), os.O_RDWR | os.O_NONBLOCK)
        self._held = jobs

    def take(self, _: object = None) -> bool:
        """Takes a token for one more build, whichever; whether there was one."""
        if not self._held and not self._read(1):
            return False
        self._held = max(self._held - 1, 0)
        return True

    def give_back(self) -> None:
        """Takes back a build's token. The next one may have it before any make does."""
        self._held += 1

    def share(self) -> None:
        """Leaves the tokens that no build has asked for to whatever make wants them."""
        os.write(self._fifo, _TOKEN * self._held)
        self._held = 0

    def reset(self) -> None:
        """Makes good what was lost; no build may be running."""
        while self._read(512):
            pass
        self._held = self.jobs

    def close(self) -> None:
        """Closes the FIFO."""
        os.close(self._fifo)

    def _read(self, size: int) -> int:
        try:
            return len(os.read(self._fifo, size))
        except BlockingIOError:
            return 0


@dataclass(frozen=True)
class Share:
    """What one make is to be started with.

    Attributes:
        arguments: For its command line.
        env: For its environment.
        descriptors: The file descriptors that it is to inherit.
    """

    arguments: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    descriptors: tuple[int, ...] = ()


@contextlib.contextmanager
def share(fifo: str, jobs: int) -> Iterator[Share]:
    """A make's part of the budget, or ``jobs`` of its own where there is no budget.

    Args:
        fifo: Its path, or "".
        jobs: How many there are in all.
    """
    with contextlib.ExitStack() as stack:
        try:
            # Opened anew for each make, as it may set O_NONBLOCK. For both, reading and writing:
            # nobody waits for another end then.
            ends = tuple(os.open(fifo, os.O_RDWR) for _ in range(2)) if fifo else ()
        except OSError:
            ends = ()
        for end in ends:
            stack.callback(os.close, end)
        if not ends:
            yield Share(arguments=(f"-j{jobs}",))
            return
        # -j on the command line would make this make the head of a new group. To 4.1 the option
        # has the other name; what make does not know in this variable it passes over.
        pair = ",".join(map(str, ends))
        flags = f" -j{jobs} --jobserver-fds={pair} --jobserver-auth={pair}"
        yield Share(env={"MAKEFLAGS": flags}, descriptors=ends)
