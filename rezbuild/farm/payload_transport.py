"""How payloads get from here to workers and back: by a store that both have, or with the job."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from rezbuild.build.recipe_api import Dependency
from rezbuild.errors import StoreError
from rezbuild.farm.messages import Result
from rezbuild.files import pack
from rezbuild.payload import manifest
from rezbuild.settings import Settings
from rezbuild.store import Entry, Store
from rezbuild.store import key as keys


class Carrier:
    """The payloads of one run.

    What a worker has made is in the store that all have in common, or comes with its result into a
    store of this run's own. What was installed before goes with each job that needs it: whether a
    store has the same is not known from outside of a payload.

    Args:
        folder: Of this run alone.
        shared: The URL of the store that the workers have too; "" where there is none.
        settings: The keys that sign what goes out, and that must have signed what comes in.
    """

    def __init__(self, folder: Path, shared: str, settings: Settings) -> None:
        self.url = str(folder / "carried")
        self.shared = shared
        self._common = self._open(shared, settings) if shared else None
        self._own = self._open(self.url, settings)
        self._made: dict[tuple[str, str], Entry] = {}
        self._carried: set[str] = set()

    def entry(self, dependency: Dependency) -> Entry:
        """The entry of a payload that is here, made if need be.

        Raises:
            StoreError: It cannot be packed.
        """
        name, version = dependency.name, dependency.version
        if (name, version) in self._made:
            return self._made[name, version]
        inputs = {
            "name": name,
            "version": version,
            "profile": None,
            "fingerprint": (manifest.read(dependency.root) or {}).get("fingerprint"),
            # Of what it was made is not known any more, so this stands for itself.
            "payload": pack.digest(dependency.root),
        }
        made = self._own.put(name, version, None, keys.hash_inputs(inputs), inputs, dependency.root)
        self._made[name, version] = made
        self._carried.add(made.payload)
        return made

    def blobs(self, entries: list[Entry]) -> dict[str, Callable[[], Sequence[bytes]]]:
        """What gives those that have to go with a job, packed, by digest: payload, debug data."""
        return {e.payload: self._reader(e) for e in entries if e.payload in self._carried}

    def keep(
        self, name: str, version: str, result: Result, blobs: Sequence[bytes]
    ) -> tuple[Entry, str]:
        """Takes what a worker has made: its entry, and the URL of the store that it is in.

        Raises:
            StoreError: It is not there, or not what the worker says.
        """
        entry = Entry.from_json(json.dumps(result.entry))
        if (entry.name, entry.version) != (name, version):
            raise StoreError(f"{result.worker} sent {entry.name}-{entry.version}")
        if result.carried:
            self._own.add(entry, *blobs)
            self._carried.add(entry.payload)
        elif self._common is None:
            raise StoreError(f"{result.worker} sent no payload of {name}-{version}")
        elif self._common.find(entry.key, name, version) is None:
            raise StoreError(
                f"{result.worker} has put {name}-{version} into its store, and it is not in "
                f"{self._common.display_url}: that store is another one than REZBUILD_STORE here",
                tried=[self._common.failure] if self._common.failure else [],
                advice=[
                    "set REZBUILD_STORE to one store on all sides, or on none",
                    f"can {self._common.display_url} be read here, and are its keys trusted?",
                ],
            )
        self._made[name, version] = entry
        return entry, self.url if result.carried else self.shared

    @staticmethod
    def _open(url: str, settings: Settings) -> Store:
        sign, trust = settings.store_sign, settings.store_trust
        return Store(url, sign=sign, trust=trust, settings=settings)

    def _reader(self, entry: Entry) -> Callable[[], Sequence[bytes]]:
        return lambda: (self._own.read_payload(entry), self._own.read_debug(entry))
