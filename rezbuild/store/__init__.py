"""Payloads that were built before, here or elsewhere, found again by all that went into them.

A store is a folder, or what fsspec reaches, or a web server:

- ``<name>/<version>/<key>.json`` is an `Entry`: what a payload was made from, and its sums;
- ``payloads/<sha256>.tar.zst`` is a payload, or its debug data, packed by `rezbuild.files.pack`;
- ``revoked/<sum>`` says why a payload is refused.

A blob is there before its entry. Nothing is used whose sums are not those of its entry. A store
that is down, full, slow or read-only is told of once, and the build goes on without it.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rezbuild.errors import RezbuildError, StoreError
from rezbuild.files import pack, temp_folders
from rezbuild.settings import Settings, is_folder
from rezbuild.sources.http_errors import public_address
from rezbuild.store.debug_data import Kept
from rezbuild.store.entry import MOST, SUFFIX, Entry, Packed, blob_place, entry_place
from rezbuild.store.packed_trees import check_record, packed, temporary
from rezbuild.store.revocations import Revocations, revocation_place
from rezbuild.store.signing import Signer, Trust
from rezbuild.store.timeouts import PlaceError, check, reason

__all__ = ["Entry", "Packed", "Store"]


class Store:
    """A store of payloads.

    Args:
        url: A folder, or an address of fsspec's; http and https can be read only.
        sign: The private key (Ed25519, PEM) that signs what is put there.
        trust: Public keys: an entry must be signed by one of them. Without any, a store
            with ``sign`` trusts that key alone, and one without takes every entry.
        say: Is told of what is refused, and of a store that cannot be used.
        settings: Timeouts, revoked payloads, and the cache that debug data is kept in. Without them
            the timeouts are the default ones, and debug data is left alone.

    Attributes:
        files: What it is made of.
        trouble: Why it cannot be used; "" while it can.

    Raises:
        UsageError: The address makes no sense.
        MachineError: A library that it needs is not installed, or a key cannot be read.
    """

    def __init__(
        self,
        url: str,
        *,
        sign: Path | None = None,
        trust: Sequence[Path] = (),
        say: Callable[[str], None] = print,
        settings: Settings | None = None,
    ) -> None:
        from rezbuild.store.files import open_files  # noqa: PLC0415 (fsspec is slow to import)

        self.files = open_files(url, settings or Settings.read({}), say)
        self.trouble = ""
        self._say = say
        self._kept = Kept(settings.cache / "debug" if settings else None)
        self._signer = Signer(sign) if sign else None
        # To sign what others have put there, unseen, would make a forgery good.
        own = self._signer.trust() if self._signer else None
        self._trust = Trust(trust) if trust else own
        self._revocations = Revocations(self.files, settings.store_revoked if settings else None)

    @classmethod
    def of(cls, settings: Settings, say: Callable[[str], None]) -> Store | None:
        """The one that REZBUILD_STORE names; None where there is none that may be asked.

        Raises:
            UsageError: Its address makes no sense.
            MachineError: A library that it needs is not installed, or a key cannot be read.
        """
        if settings.store is None:
            return None
        if settings.offline and not is_folder(settings.store):
            shown = public_address(settings.store)
            say(f"notice: the store {shown} is not asked: REZBUILD_OFFLINE is set")
            return None
        return cls(
            settings.store,
            sign=settings.store_sign,
            trust=settings.store_trust,
            say=say,
            settings=settings,
        )

    def find(self, key: str, name: str, version: str) -> Entry | None:
        """The entry of a key; None where there is none that is sound, and the user is told why."""
        return self._look(entry_place(name, version, key))

    def entries(self, name: str, version: str) -> Iterator[Entry]:
        """The sound entries of a version."""
        for place in self.places(name, version):
            with contextlib.suppress(StoreError, PlaceError):
                yield self.load(place)

    def put(  # noqa: PLR0913, PLR0917 (what an entry says first)
        self,
        name: str,
        version: str,
        profile: str | None,
        key: str,
        inputs: Mapping[str, Any],
        payload: Path,
        *,
        fresh: bool = False,
    ) -> Entry:
        """Puts a payload there, first itself and then its entry; what is there and sound is kept.

        Where the store cannot be written, the user is told, and that is all.

        Args:
            name: Of the package.
            version: Of the package.
            profile: None where it makes no difference.
            key: Of the inputs.
            inputs: See `rezbuild.store.key`.
            payload: Its folder.
            fresh: Replace what is there, too.

        Returns:
            The entry that is there, or would be.

        Raises:
            StoreError: The payload is not the one that the inputs speak of, or changes meanwhile.
            OSError: It cannot be read, or there is no room for it in TMPDIR.
        """
        check_record(payload, name, version, inputs)
        made = Entry(key, name, version, profile, "", 0, "", inputs)
        there = None if fresh or self.trouble else self._whole(made.place, payload)
        if there:
            return there
        with temporary() as folder:
            made, blobs = self._pack(made, payload, folder)
            if not self.trouble:
                self._send(made, blobs)
        return made

    def take(self, entry: Entry, target: Path) -> None:
        """Makes a payload of an entry, at a place where nothing is, and takes its debug data along.

        Args:
            entry: As `find` gave it.
            target: A folder to make; its parent is there.

        Raises:
            StoreError: It is damaged, or is another one, or cannot be had. Nothing is left.
            OSError: The disk cannot be written.
        """
        with temp_folders.private(target.parent, ".take-") as folder:
            arrived = folder / "payload"
            try:
                self._unpack(entry.packed, arrived)
                check_record(arrived, entry.name, entry.version, entry.inputs)
            except (PlaceError, StoreError) as error:
                raise self._refusal(entry, error) from None
            self._take_debug(entry, arrived)
            arrived.rename(target)

    def recall_debug(self, name: str, version: str, payload: str, root: Path) -> None:
        """Puts the debug data of an installed payload where its build would have, if it is here.

        Args:
            name: Of the package.
            version: Of the package.
            payload: The sum of the payload.
            root: Where it is installed.
        """
        for entry in self.entries(name, version) if self._kept.lacks(root) else ():
            if entry.payload == payload and entry.debug:
                self._take_debug(entry, root)
                return

    def blob(self, entry: Entry) -> bytes:
        """The packed payload of an entry, to carry it to another store.

        Raises:
            StoreError: It is damaged, or cannot be had.
        """
        return self._bytes(entry, entry.packed)

    def debug_blob(self, entry: Entry) -> bytes:
        """The packed debug data of an entry; empty where it has none.

        Raises:
            StoreError: It is damaged, or cannot be had.
        """
        return self._bytes(entry, entry.debug) if entry.debug else b""

    def add(self, entry: Entry, blob: bytes, debug: bytes = b"") -> None:
        """Puts there what was in another store; it is signed anew where there is a key.

        Args:
            entry: Of the other store.
            blob: Its packed payload.
            debug: Its packed debug data; without it the entry is another one, without a signature.

        Raises:
            StoreError: The bytes are not those of the entry, or none of the keys that are trusted
                has signed it, or the store cannot be written.
        """
        carried = entry
        if entry.debug and not debug:
            carried = replace(entry, debug=None, signature="")
        parts = [(carried.packed, blob), *([(carried.debug, debug)] if carried.debug else [])]
        try:
            self.check_signature(entry)
            self._revocations.check(entry.payload)
            for said, data in parts:
                check((len(data), hashlib.sha256(data).hexdigest()), said.blob, said.size)
            for said, data in parts:
                self._write(blob_place(said.blob), data)
            self._write(carried.place, self._signed(carried).to_json().encode("ascii"))
        except (PlaceError, StoreError) as error:
            raise self._refusal(entry, error) from None

    @property
    def shown(self) -> str:
        """The store's address, fit to be shown."""
        return self.files.shown

    def places(self, name: str, version: str) -> list[str]:
        """Where the entries of a version are; a store that cannot be read has none.

        Nor has one behind a web server that lists no folders.
        """
        try:
            found = [] if self.trouble else self.files.names(f"{name}/{version}")
        except PlaceError as trouble:
            self._give_up(trouble)
            return []
        return [f"{name}/{version}/{file}" for file in found if file.endswith(SUFFIX)]

    def load(self, place: str) -> Entry:
        """The entry at a place.

        Raises:
            StoreError: It is no sound one, or nobody who is trusted has signed it.
            PlaceError: It cannot be had.
        """
        found = Entry.from_json(self.files.read(place, MOST))
        if found.place != place:
            raise StoreError("it is the entry of another package or key")
        self.check_signature(found)
        self._revocations.check(found.payload)
        return found

    def revoke(self, payload: str, why: str) -> None:
        """Have everybody refuse a payload from now on who can read the store.

        Args:
            payload: Its sum.
            why: For those who look.

        Raises:
            PlaceError: The store cannot be written.
        """
        self._write(revocation_place(payload), f"{why}\n".encode())

    @property
    def verifies(self) -> bool:
        """Whether every entry that is read must have a trusted signature."""
        return self._trust is not None

    def check_signature(self, entry: Entry) -> None:
        """Sees that somebody has signed an entry who is trusted, where it is said who is.

        Raises:
            StoreError: Nobody has.
        """
        if self._trust:
            self._trust.check(entry.signed(), entry.signature)

    def faults(self, entry: Entry) -> Iterator[tuple[str, str]]:
        """Which of an entry's blobs are not what they should be, by their places, and why.

        Raises:
            PlaceError: The store cannot be read.
        """
        for part in filter(None, (entry.packed, entry.debug)):
            with temporary() as folder:
                try:
                    self._unpack(part, folder / "tree")
                    if part == entry.packed:
                        check_record(folder / "tree", entry.name, entry.version, entry.inputs)
                except StoreError as error:
                    yield blob_place(part.blob), error.message
                except PlaceError as error:
                    if not (error.damaged or error.missing):
                        raise
                    yield blob_place(part.blob), str(error)

    def _look(self, place: str) -> Entry | None:
        if self.trouble:
            return None
        try:
            return self.load(place)
        except StoreError as error:
            self._say(f"notice: {place} of the store {self.shown} is refused: {error.message}")
        except PlaceError as trouble:
            if trouble.damaged:
                self._say(f"notice: {place} of the store {self.shown} is refused: {trouble}")
            elif not trouble.missing:
                self._give_up(trouble)
        return None

    def _give_up(self, trouble: PlaceError) -> None:
        self.trouble = str(trouble)
        self._say(f"notice: the store {self.shown} cannot be used: {trouble}")

    def _refusal(self, entry: Entry, why: PlaceError | StoreError) -> StoreError:
        return StoreError(
            f"{entry.place} of the store {self.shown} is refused: {reason(why)}",
            advice=["rezbuild store verify looks at all that is there"],
        )

    def _whole(self, place: str, payload: Path) -> Entry | None:
        """What is at a place, if nothing can be said against it and nothing be added to it."""
        try:
            found = self.load(place)
            if any(self.faults(found)):
                return None
        except (PlaceError, StoreError):
            return None
        with temporary() as folder:
            more = not found.debug and self._kept.collect(payload, folder / "debug")
        return None if more or (self._signer and not found.signature) else found

    def _pack(self, entry: Entry, payload: Path, folder: Path) -> tuple[Entry, list[Path]]:
        """The entry of a payload, and its packed files."""
        blobs = [folder / "payload.blob"]
        own, debug = packed(payload, blobs[0]), None
        if self._kept.collect(payload, folder / "debug"):
            blobs.append(folder / "debug.blob")
            debug = packed(folder / "debug", blobs[1])
        made = replace(entry, payload=own.tree, blob=own.blob, size=own.size, debug=debug)
        return self._signed(made), blobs

    def _send(self, entry: Entry, blobs: Sequence[Path]) -> None:
        try:
            self._revocations.check(entry.payload)
            for part, blob in zip(filter(None, (entry.packed, entry.debug)), blobs):
                # Also where there is one: `prune` leaves alone what was written lately.
                self.files.write(blob_place(part.blob), blob)
                self._fetch(part, blob)
            self._write(entry.place, entry.to_json().encode("ascii"))
        except (PlaceError, StoreError) as trouble:
            what = f"{entry.name} {entry.version}"
            self._say(f"{what}: notice: not put into the store {self.shown}: {reason(trouble)}")

    def _signed(self, entry: Entry) -> Entry:
        if self._signer is None:
            return entry
        return replace(entry, signature=self._signer.sign(entry.signed()))

    def _write(self, place: str, data: bytes) -> None:
        with temporary() as folder:
            file = folder / "file"
            file.write_bytes(data)
            self.files.write(place, file)

    def _fetch(self, part: Packed, target: Path) -> None:
        self.files.fetch(blob_place(part.blob), target, part.blob, part.size)

    def _unpack(self, part: Packed, target: Path) -> None:
        """Raises StoreError or PlaceError."""
        with temporary() as folder:
            blob = folder / "blob"
            self._fetch(part, blob)
            with blob.open("rb") as stream:
                pack.unpack(stream, target, part.tree)

    def _bytes(self, entry: Entry, part: Packed) -> bytes:
        with temporary() as folder:
            file = folder / "blob"
            try:
                self._fetch(part, file)
            except PlaceError as trouble:
                raise self._refusal(entry, trouble) from None
            return file.read_bytes()

    def _take_debug(self, entry: Entry, payload: Path) -> None:
        """Puts debug data where a build would have put it; the payload is as good without."""
        if entry.debug is None or not self._kept.lacks(payload):
            return
        try:
            with temporary() as folder:
                self._unpack(entry.debug, folder / "debug")
                self._kept.add(payload, folder / "debug")
        except (PlaceError, RezbuildError, OSError) as error:
            why = error.message if isinstance(error, RezbuildError) else str(error)
            self._say(
                f"{entry.name} {entry.version}: notice: its debug data cannot be had from the "
                f"store {self.shown}: {why}"
            )
