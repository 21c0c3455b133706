"""The state of a farm, as the scheduler sends it: workers, jobs, and steps that wait for cores."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rezbuild.files import safe_files
from rezbuild.util import typed_table

# States of a worker: it takes jobs, or it finishes its jobs and ends. Dask has others.
RUNNING, DRAINING = "running", "draining"


@dataclass(frozen=True)
class WorkerStatus:
    """A worker.

    Attributes:
        name: Its name.
        address: Its address.
        label: Its host kind.
        cores: Its cores.
        free: The cores that no job has.
        state: `RUNNING`, `DRAINING`, or another state of Dask.
        joined: The time when it joined, in ISO format.
    """

    name: str
    address: str
    label: str
    cores: int
    free: int
    state: str
    joined: str


@dataclass(frozen=True)
class JobStatus:
    """A job of a worker.

    Attributes:
        job: The package that is built, e.g. ``zlib-1.3.1``.
        worker: The name of the worker.
        cores: Its cores.
        client: User and machine of the client, or "" until the job has begun.
        began: The time when it began, in ISO format, or "".
        seconds: The seconds since then.
    """

    job: str
    worker: str
    cores: int
    client: str
    began: str
    seconds: float


@dataclass(frozen=True)
class WaitingStatus:
    """A step whose dependencies are built, and that waits for cores.

    Attributes:
        job: The step, e.g. ``python-3.11.2``.
        client: User and machine of the client.
    """

    job: str
    client: str


@dataclass(frozen=True)
class FarmStatus:
    """The state of a farm."""

    workers: Sequence[WorkerStatus]
    jobs: Sequence[JobStatus]
    queue: Sequence[WaitingStatus]

    def as_data(self) -> dict[str, Any]:
        """Return the state as plain data."""
        return asdict(self)

    def to_json(self) -> str:
        """Return the state as text."""
        return json.dumps(self.as_data())

    @classmethod
    def from_json(cls, text: object) -> FarmStatus:
        """Read a state; the text may hold anything.

        Raises:
            ValueError: The text is not a state.
        """
        data = safe_files.parse_json(text) if isinstance(text, str) else None
        return typed_table.read(cls, data)
