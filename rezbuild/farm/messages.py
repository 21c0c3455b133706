"""What travels between client and worker, as JSON text: a job, and what came of it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from rezbuild.errors import RezbuildError, from_report
from rezbuild.files import safe_files
from rezbuild.settings import MOST_JOBS

_PLAIN = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9_.+-]{0,199}")


def _data(text: object) -> dict[str, Any]:
    """The table that a text of JSON holds.

    Raises:
        ValueError: It holds something else.
    """
    if not isinstance(text, str):
        raise ValueError("it is no text")  # noqa: TRY004 (of foreign data)
    data = safe_files.parse_json(text)
    if not isinstance(data, dict):
        raise ValueError("it is no table")  # noqa: TRY004 (see above)
    return data


def _check(*facts: bool) -> None:
    """Raises ValueError."""
    if not all(facts):
        raise ValueError("a value is of another type")


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
        data = _data(text)
        try:
            lists = {name: tuple(data[name]) for name in ("dependencies", "travelling")}
            found = cls(**{**data, **lists})
        except (TypeError, KeyError) as error:
            raise ValueError(str(error)) from None
        texts = ("id", "name", "version", "profile", "revision", "topic")
        _check(
            all(isinstance(getattr(found, name), str) for name in texts),
            all(isinstance(entry, dict) for entry in found.dependencies),
            all(isinstance(digest, str) for digest in found.travelling),
            type(found.cores) is int and 0 < found.cores <= MOST_JOBS,
            type(found.carry) is bool and type(found.force) is bool,
            found.step_timeout is None or type(found.step_timeout) in (int, float),
            found.glibc_max is None or isinstance(found.glibc_max, str),
        )
        return found


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
        """From text, which may hold anything.

        Raises:
            ValueError: It is no result.
        """
        try:
            found = cls(**_data(text))
        except TypeError as error:
            raise ValueError(str(error)) from None
        _check(
            *(isinstance(getattr(found, name), str) for name in ("worker", "place", "output")),
            found.error is None or isinstance(found.error, dict),
            isinstance(found.entry, dict),
            type(found.carried) is bool,
            isinstance(found.logs, dict)
            and all(isinstance(text, str) for text in found.logs.values()),
            type(found.seconds) in (int, float),
        )
        return found

    def failure(self, here: str) -> RezbuildError | None:
        """The error, as if it had happened in the folder ``here``; None without one."""
        if self.error is None:
            return None
        text = json.dumps(self.error)
        if self.place:
            text = text.replace(json.dumps(self.place)[1:-1], json.dumps(here)[1:-1])
        return from_report(json.loads(text))
