"""A jobserver like the one in GNU make: one budget of jobs for all builds that run at once.

A token is a byte; its holder may run one job ("Sharing Job Slots" in make's manual). The tokens
are in a named FIFO, which builds open by name, because Rez closes inherited descriptors. make
itself gets descriptors, because it supports named FIFOs only from 4.4 on.

Each build always holds one token for the job that it always runs; its makes take more if they are
free. A killed make loses its tokens. They come back when no build runs. Until then, builds are
slower, but none stops.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

# The variable with the path of the FIFO.
VARIABLE = "REZBUILD_JOBSERVER"
_TOKEN = b"+"


def path(folder: Path) -> Path:
    """Return the path of the FIFO in a folder."""
    return folder / "jobs"


class Budget:
    """The tokens of the process that starts builds.

    Args:
        jobs: The number of tokens.
        folder: The folder of the new FIFO.

    Attributes:
        jobs: The number of tokens.
    """

    def __init__(self, jobs: int, folder: Path) -> None:
        self.jobs = jobs
        os.mkfifo(path(folder), 0o600)
        # For reading, too: a FIFO without a reader loses its bytes.
        self._fifo = os.open(path(folder), os.O_RDWR | os.O_NONBLOCK)
        self._held = jobs

    def take(self, _: object = None) -> bool:
        """Take a token for one more build; return whether one was free."""
        if not self._held and not self._read(1):
            return False
        self._held = max(self._held - 1, 0)
        return True

    def give_back(self) -> None:
        """Take back the token of a build; the next build gets it before any make."""
        self._held += 1

    def share(self) -> None:
        """Put the tokens that no build took into the FIFO, for make."""
        os.write(self._fifo, _TOKEN * self._held)
        self._held = 0

    def reset(self) -> None:
        """Restore lost tokens; no build may be running."""
        while self._read(512):
            pass
        self._held = self.jobs

    def close(self) -> None:
        """Close the FIFO."""
        os.close(self._fifo)

    def _read(self, size: int) -> int:
        try:
            return len(os.read(self._fifo, size))
        except BlockingIOError:
            return 0


@dataclass(frozen=True)
class Share:
    """The jobserver settings of one make process.

    Attributes:
        arguments: Added to its command line.
        env: Added to its environment.
        descriptors: The file descriptors that it inherits.
    """

    arguments: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    descriptors: tuple[int, ...] = ()


@contextlib.contextmanager
def share(fifo: str, jobs: int) -> Iterator[Share]:
    """Give a make access to the jobserver, or ``jobs`` jobs if there is none.

    Args:
        fifo: The path of the FIFO, or "".
        jobs: The number of jobs without a jobserver.
    """
    with contextlib.ExitStack() as stack:
        try:
            # Opened again for each make, which may set O_NONBLOCK; for reading and writing, so
            # that open(2) does not wait for another process.
            ends = tuple(os.open(fifo, os.O_RDWR) for _ in range(2)) if fifo else ()
        except OSError:
            ends = ()
        for end in ends:
            stack.callback(os.close, end)
        if not ends:
            yield Share(arguments=(f"-j{jobs}",))
            return
        # -j on the command line would start a new jobserver. make up to 4.1 knows only the first
        # name of the option; make ignores unknown options in this variable.
        pair = ",".join(map(str, ends))
        flags = f" -j{jobs} --jobserver-fds={pair} --jobserver-auth={pair}"
        yield Share(env={"MAKEFLAGS": flags}, descriptors=ends)
