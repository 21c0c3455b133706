"""Messages of the farm: a job, its result, and what scheduler and workers tell each other."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from rezbuild.errors import RezbuildError, from_report
from rezbuild.files import safe_files
from rezbuild.settings import MOST_JOBS
from rezbuild.util import typed_table

# The message by which the scheduler drains a worker.
DRAIN = "rezbuild-drain"
# The topic of a worker's events for the log of the scheduler, and their kinds.
JOBS = "rezbuild-jobs"
BEGAN, ENDED = "began", "ended"
_PLAIN = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9_.+-]{0,199}")


def _data(text: object) -> Any:
    """Return the data of a JSON text.

    Raises:
        ValueError: It is not JSON.
    """
    return safe_files.parse_json(text) if isinstance(text, str) else None


def is_file_name(name: object) -> bool:
    """Return whether a name of foreign data is a file name: no path, and not ``..``."""
    return isinstance(name, str) and _PLAIN.fullmatch(name) is not None


@dataclass(frozen=True)
class Order:
    """A job for a worker.

    Attributes:
        id: The id of this attempt; Dask's key.
        name, version, profile: What to build.
        revision: The recipe's revision, by `manifest.recipe_revision`.
        dependencies: The store entries of the dependencies, as JSON.
        attached: The payloads (tree digests) that travel with the job, in the order of the blobs.
        cores: The parallel jobs of make.
        return_payload: Return the payload with the result: client and worker share no store.
        force: Do not take the payload from a store.
        topic: The topic of the worker's events.
        step_timeout: Seconds that a step may take; None for the worker's setting.
        glibc: The glibc to build for; None for the worker's setting.
        glibc_max: The newest glibc that the payload may need, or None.
        client: The user and the machine of the client, for the log.
    """

    id: str
    name: str
    version: str
    profile: str
    revision: str
    dependencies: tuple[Mapping[str, Any], ...] = ()
    attached: tuple[str, ...] = ()
    cores: int = 1
    return_payload: bool = False
    force: bool = False
    topic: str = ""
    step_timeout: float | None = None
    glibc: str | None = None
    glibc_max: str | None = None
    client: str = ""

    def __str__(self) -> str:
        return f"{self.name}-{self.version}"

    def to_json(self) -> str:
        """Return the job as text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Order:
        """Read a job.

        Raises:
            ValueError: The text is not a job.
        """
        found = typed_table.read(cls, _data(text))
        if found.cores not in range(1, MOST_JOBS + 1):
            raise ValueError(f"cores is not a number from 1 to {MOST_JOBS}")
        return found


@dataclass(frozen=True)
class Result:
    """The result of a job.

    Attributes:
        worker: The worker's name.
        place: The worker's folder of the build, which messages and logs name.
        error: The error, by `errors.to_report`, or None.
        entry: The store entry of the payload, as JSON; {} if there is none.
        carried: Whether the payload travels with the result.
        output: All output of the build.
        logs: The text of each step's log, by its name.
        seconds: The time of the build.
    """

    worker: str
    place: str
    error: Mapping[str, Any] | None = None
    entry: Mapping[str, Any] = field(default_factory=dict)
    carried: bool = False
    output: str = ""
    logs: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def to_json(self) -> str:
        """Return the result as text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Result:
        """Read a result; the text may hold anything.

        Raises:
            ValueError: The text is not a result.
        """
        return typed_table.read(cls, _data(text))

    def failure(self, here: str) -> RezbuildError | None:
        """Return the error, with the folder ``here`` for the worker's folder; None without one."""
        if self.error is None:
            return None
        text = json.dumps(self.error)
        if self.place:
            text = text.replace(json.dumps(self.place)[1:-1], json.dumps(here)[1:-1])
        return from_report(json.loads(text))
