"""The transport of payloads between client and workers: by a common store, or with the job."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from rezbuild.errors import StoreError
from rezbuild.farm.messages import Result
from rezbuild.files import pack
from rezbuild.payload import manifest
from rezbuild.payload.dependency import Dependency
from rezbuild.settings import Settings
from rezbuild.store import Entry, Store
from rezbuild.store import key as keys


class PayloadTransport:
    """The payloads of one run.

    A worker's payload is in the common store, or travels with the result into a store of this run.
    Payloads that were installed before travel with each job that needs them, since a payload does
    not say whether the common store has it.

    Args:
        folder: A folder of this run.
        shared: The URL of the common store; "" if there is none.
        settings: The keys that sign payloads, and those that must have signed them.
    """

    def __init__(self, folder: Path, shared: str, settings: Settings) -> None:
        self.url = str(folder / "carried")
        self.shared = shared
        self._common = Store.at(shared, settings) if shared else None
        self._own = Store.at(self.url, settings)
        self._made: dict[tuple[str, str], Entry] = {}
        self._carried: set[str] = set()

    def entry(self, dependency: Dependency) -> Entry:
        """Return the entry of an installed payload; pack it if necessary.

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
            # The other inputs are unknown, so the checksum replaces all of them.
            "payload": pack.digest(dependency.root),
        }
        made = self._own.put(name, version, None, keys.hash_inputs(inputs), inputs, dependency.root)
        self._made[name, version] = made
        self._carried.add(made.payload)
        return made

    def readers(self, entries: list[Entry]) -> dict[str, Callable[[], Sequence[bytes]]]:
        """Return a function for each payload that must travel: it reads payload and debug data."""
        return {e.payload: self._reader(e) for e in entries if e.payload in self._carried}

    def receive(
        self, name: str, version: str, result: Result, blobs: Sequence[bytes]
    ) -> tuple[Entry, str]:
        """Take a worker's payload; return its entry, and the URL of the store that holds it.

        Raises:
            StoreError: It is missing, or is not what the worker says.
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
                f"{result.worker} has put {name}-{version} into its store, but it is not in "
                f"{self._common.display_url}: the worker's REZBUILD_STORE may be another store",
                tried=[self._common.failure] if self._common.failure else [],
                advice=[
                    "set REZBUILD_STORE to the same store on all machines, or on none",
                    f"check that {self._common.display_url} can be read here, with trusted keys",
                ],
            )
        self._made[name, version] = entry
        return entry, self.url if result.carried else self.shared

    def _reader(self, entry: Entry) -> Callable[[], Sequence[bytes]]:
        return lambda: (self._own.read_payload(entry), self._own.read_debug(entry))
