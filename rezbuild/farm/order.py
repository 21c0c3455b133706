"""What travels between client and worker, as JSON text: a job, and what came of it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from rezbuild.errors import RezbuildError, from_report

_PLAIN = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9_.+-]{0,199}")


def is_plain(name: object) -> bool:
    """Whether what others have named is a file's name, and no path: not ``..`` either."""
    return isinstance(name, str) and _PLAIN.fullmatch(name) is not None


@dataclass(frozen=True)
class Order:
    """One job for one worker.

    Attributes:
        id: Of this attempt alone; Dask's key.
        name, version, profile: What is to be baked.
        revision: Of its recipe, as `manifest.recipe_revision` has it.
        dependencies: The store's entries of the payloads that it is built against, as JSON.
        travelling: The payloads (tree digests) of those that come along as blobs, in their order.
        cores: How many jobs its makes may run.
        carry: The payload is to come back with the result: there is no store in common.
        force: Not from a store.
        topic: Under which the worker tells the client how it goes.
        step_timeout: Seconds that a step may take; None: as the worker is set.
        glibc_max: The newest glibc that the payload may need, or None.
    """

    id: str
    name: str
    version: str
    profile: str
    revision: str
    dependencies: tuple[Mapping[str, Any], ...] = ()
    travelling: tuple[str, ...] = ()
    cores: int = 1
    carry: bool = False
    force: bool = False
    topic: str = ""
    step_timeout: float | None = None
    glibc_max: str | None = None

    def __str__(self) -> str:
        return f"{self.name}-{self.version}"

    def to_json(self) -> str:
        """As text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Order:
        """From text.

        Raises:
            ValueError: It is no order.
        """
        try:
            data = json.loads(text)
            lists = {name: tuple(data[name]) for name in ("dependencies", "travelling")}
            return cls(**{**data, **lists})
        except (TypeError, KeyError) as error:
            raise ValueError(str(error)) from None


@dataclass(frozen=True)
class Result:
    """What came of a job.

    Attributes:
        worker: Its name.
        place: The worker's folder of this build, which messages and logs name.
        error: As `errors.to_report` has it, or None.
        entry: The store's entry of the payload, as JSON; {} where there is none.
        carried: The payload came along.
        output: All that the build printed.
        logs: The text of each step's log, by its name.
        seconds: How long it took.
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
        """As text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Result:
        """From text."""
        return cls(**json.loads(text))

    def failure(self, here: str) -> RezbuildError | None:
        """The error, as if it had happened in the folder ``here``; None without one."""
        if self.error is None:
            return None
        text = json.dumps(self.error)
        if self.place:
            text = text.replace(json.dumps(self.place)[1:-1], json.dumps(here)[1:-1])
        return from_report(json.loads(text))
