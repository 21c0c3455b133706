"""How payloads get from here to workers and back: by a store that both have, or with the job."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rezbuild import tree
from rezbuild.build import Dependency
from rezbuild.errors import StoreError
from rezbuild.farm.order import Result
from rezbuild.store import Entry, Store
from rezbuild.store.key import key


class Carrier:
    """The payloads of one run.

    What a worker has made is in the store that all have in common, or comes with its result into a
    store of this run's own. What was installed before goes with each job that needs it: whether a
    store has the same is not known from outside of a payload.

    Args:
        folder: Of this run alone.
        shared: The URL of the store that the workers have too; "" where there is none.
    """

    def __init__(self, folder: Path, shared: str) -> None:
        self.url = str(folder / "carried")
        self.shared = shared
        self._own = Store(self.url)
        self._made: dict[tuple[str, str], Entry] = {}
        self._carried: set[str] = set()

    def entry(self, dependency: Dependency) -> Entry:
        """The entry of a payload that is here, made if need be.

        Raises:
            StoreError: It cannot be packed.
        """
        known = self._made.get((dependency.name, dependency.version))
        if known is None:
            payload = tree.digest(dependency.root)
            inputs: Mapping[str, Any] = {"payload": payload}
            name, version = dependency.name, dependency.version
            known = self._own.put(name, version, None, key(inputs), inputs, dependency.root)
            self._made[name, version] = known
            self._carried.add(known.payload)
        return known

    def blobs(self, entries: list[Entry]) -> dict[str, Callable[[], bytes]]:
        """What gives the packed payloads of those that have to go with a job, by digest."""
        return {e.payload: self._reader(e) for e in entries if e.payload in self._carried}

    def keep(self, name: str, version: str, result: Result, blob: bytes) -> tuple[Entry, str]:
        """Takes what a worker has made: its entry, and the URL of the store that it is in.

        Raises:
            StoreError: It is not there, or not what the worker says.
        """
        entry = Entry.from_json(json.dumps(result.entry))
        if (entry.name, entry.version) != (name, version):
            raise StoreError(f"{result.worker} sent {entry.name}-{entry.version}")
        if not result.carried and not self.shared:
            raise StoreError(f"{result.worker} sent no payload of {name}-{version}")
        if result.carried:
            self._own.add(entry, blob)
            self._carried.add(entry.payload)
        self._made[name, version] = entry
        return entry, self.url if result.carried else self.shared

    def _reader(self, entry: Entry) -> Callable[[], bytes]:
        return lambda: self._own.blob(entry)
