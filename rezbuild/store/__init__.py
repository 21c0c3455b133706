"""Built payloads, here or elsewhere, found again by a key over all of their inputs.

A store is a folder, any file system of fsspec, or a web server. It holds these files:

- ``<name>/<version>/<key>.json`` is an `Entry`: the inputs of a payload, and checksums;
- ``payloads/<sha256>.tar.zst`` is a payload, or its debug data, packed by `rezbuild.files.pack`;
- ``revoked/<sum>`` says why a payload is refused.

A payload is written before its entry. Every file is compared with the checksum in its entry. If
a store is down, full, slow or read-only, the user gets one notice, and builds go on without it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rezbuild.errors import RezbuildError, StoreError
from rezbuild.files import pack, temp_folders
from rezbuild.payload import manifest
from rezbuild.settings import Settings, is_folder
from rezbuild.sources.http_errors import public_address
from rezbuild.store.debug_data import DebugCache
from rezbuild.store.entries import EntryReader
from rezbuild.store.entry import Entry, Packed, blob_place
from rezbuild.store.files import open_files
from rezbuild.store.packed_trees import check_record, pack_tree, temporary_folder
from rezbuild.store.revocations import Revocations, revocation_place
from rezbuild.store.signing import Signer, Trust
from rezbuild.store.timeouts import StoreFileError, check_file, describe
from rezbuild.util import words

__all__ = ["Entry", "Packed", "Store"]


class Store(EntryReader):
    """A store of payloads.

    Args:
        url: A folder, or an address for fsspec; http and https are read-only.
        sign: The private key (Ed25519, PEM) that signs uploads.
        trust: Public keys: one of them must have signed an entry. Without any, a store with
            ``sign`` trusts that key alone, and a store without it accepts every entry.
        say: Prints notices: refused entries, and a store that cannot be used.
        settings: Timeouts, revoked payloads, and the cache of debug data. Without settings, the
            timeouts are the defaults, and debug data is ignored.

    Raises:
        UsageError: The address is invalid.
        MachineError: A library is not installed, or a key cannot be read.
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
        files = open_files(url, settings or Settings.read({}), say)
        self._debug = DebugCache(settings.cache / "debug" if settings else None)
        self._signer = Signer(sign) if sign else None
        # A machine that signs must not sign entries that others have forged: it trusts its own key.
        own = self._signer.trust() if self._signer else None
        revocations = Revocations(files, settings.store_revoked if settings else None)
        super().__init__(files, Trust(trust) if trust else own, revocations, say)

    @classmethod
    def of(cls, settings: Settings, say: Callable[[str], None]) -> Store | None:
        """Open the store that REZBUILD_STORE names; return None if none may be used.

        Raises:
            UsageError: Its address is invalid.
            MachineError: A library is not installed, or a key cannot be read.
        """
        if settings.store is None:
            return None
        if settings.offline and not is_folder(settings.store):
            shown = public_address(settings.store)
            say(f"notice: the store {shown} is not asked: REZBUILD_OFFLINE is set")
            return None
        return cls.at(settings.store, settings, say)

    @classmethod
    def at(cls, url: str, settings: Settings, say: Callable[[str], None] = print) -> Store:
        """Open a store that signs and trusts as the settings say."""
        sign, trust = settings.store_sign, settings.store_trust
        return cls(url, sign=sign, trust=trust, say=say, settings=settings)

    def put(  # noqa: PLR0913, PLR0917 (the first attributes of an entry)
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
        """Upload a payload and then its entry, unless the store has both.

        If the store cannot be written, a notice tells the user.

        Args:
            name: The package.
            version: Its version.
            profile: None if the profile makes no difference.
            key: The hash of the inputs.
            inputs: See `rezbuild.store.key`.
            payload: The payload's root.
            fresh: Replace an entry that is there.

        Returns:
            The entry that is there, or would be.

        Raises:
            StoreError: The payload does not match the inputs, or changes meanwhile.
            OSError: It cannot be read, or TMPDIR is full.
        """
        check_record(payload, name, version, inputs)
        made = Entry(key, name, version, profile, "", 0, "", inputs)
        there = None if fresh or self.failure else self._find_complete(made.place, payload)
        if there:
            return there
        with temporary_folder() as folder:
            made, blobs = self._pack(made, payload, folder)
            if not self.failure:
                self._upload(made, blobs)
        return made

    def restore(self, entry: Entry, target: Path) -> None:
        """Unpack the payload of an entry, and keep its debug data.

        Args:
            entry: An entry of `find`.
            target: The folder to create; its parent exists.

        Raises:
            StoreError: The payload is damaged, does not match its entry, or cannot be read. Nothing
                is left at ``target``.
            OSError: The disk cannot be written.
        """
        with temp_folders.private(target.parent, ".take-") as folder:
            arrived = folder / "payload"
            try:
                self._unpack(entry.packed, arrived)
                check_record(arrived, entry.name, entry.version, entry.inputs)
            except (StoreFileError, StoreError) as error:
                raise self._refusal(entry, error) from None
            self._restore_debug(entry, arrived)
            arrived.rename(target)

    def restore_debug(self, name: str, version: str, payload: str, root: Path) -> None:
        """Keep the debug data of an installed payload, if the store has it.

        Args:
            name: The package.
            version: Its version.
            payload: The checksum of the payload.
            root: The root of the installed payload.
        """
        for entry in self.entries(name, version) if self._debug.lacks(root) else ():
            if entry.payload == payload and entry.debug:
                self._restore_debug(entry, root)
                return

    def read_payload(self, entry: Entry) -> bytes:
        """Return the packed payload of an entry, for another store.

        Raises:
            StoreError: It is damaged, or cannot be read.
        """
        return self._read(entry, entry.packed)

    def read_debug(self, entry: Entry) -> bytes:
        """Return the packed debug data of an entry; b"" if it has none.

        Raises:
            StoreError: It is damaged, or cannot be read.
        """
        return self._read(entry, entry.debug) if entry.debug else b""

    def add(self, entry: Entry, blob: bytes, debug: bytes = b"") -> None:
        """Add the payload of another store, signed again if this store has a key.

        Args:
            entry: The entry of the other store.
            blob: The packed payload.
            debug: The packed debug data. Without it, the entry loses the debug data and its
                signature.

        Raises:
            StoreError: The bytes do not match the entry, no trusted key has signed it, or the
                store cannot be written.
        """
        carried = entry
        if entry.debug and not debug:
            carried = replace(entry, debug=None, signature="")
        parts = [(carried.packed, blob), *([(carried.debug, debug)] if carried.debug else [])]
        try:
            self.check_signature(entry)
            self._revocations.check(entry.payload)
            for part, data in parts:
                check_file((len(data), hashlib.sha256(data).hexdigest()), part.blob, part.size)
            for part, data in parts:
                self._write(blob_place(part.blob), data)
            self._write(carried.place, self._sign(carried).to_json().encode("ascii"))
        except (StoreFileError, StoreError) as error:
            raise self._refusal(entry, error) from None

    def revoke(self, payload: str, why: str) -> None:
        """Make all users of the store refuse a payload from now on.

        Args:
            payload: The checksum of the payload.
            why: The reason, shown to users.

        Raises:
            StoreFileError: The store cannot be written.
        """
        self._write(revocation_place(payload), f"{why}\n".encode())

    def find_faults(self, entry: Entry) -> Iterator[tuple[str, str]]:
        """Yield the place of each damaged or missing file of an entry, and the reason.

        Raises:
            StoreFileError: The store cannot be read.
        """
        for part in filter(None, (entry.packed, entry.debug)):
            with temporary_folder() as folder:
                try:
                    self._unpack(part, folder / "tree")
                    if part == entry.packed:
                        check_record(folder / "tree", entry.name, entry.version, entry.inputs)
                except StoreError as error:
                    yield blob_place(part.blob), error.message
                except StoreFileError as error:
                    if not (error.damaged or error.missing):
                        raise
                    yield blob_place(part.blob), str(error)

    def _refusal(self, entry: Entry, why: StoreFileError | StoreError) -> StoreError:
        return StoreError(
            f"{entry.place} of the store {self.display_url} is refused: {describe(why)}",
            advice=["check all files of the store: rezbuild store verify"],
        )

    def _find_complete(self, place: str, payload: Path) -> Entry | None:
        """Return the entry at a place if it is valid and an upload would add nothing to it."""
        try:
            found = self.load(place)
            if any(self.find_faults(found)):
                return None
        except (StoreFileError, StoreError):
            return None
        with temporary_folder() as folder:
            more = not found.debug and self._debug.collect(payload, folder / "debug")
        return None if more or (self._signer and not found.signature) else found

    def _pack(self, entry: Entry, payload: Path, folder: Path) -> tuple[Entry, list[Path]]:
        """Pack a payload and its debug data; return the complete entry and the packed files."""
        blobs = [folder / "payload.blob"]
        own, debug = pack_tree(payload, blobs[0]), None
        if self._debug.collect(payload, folder / "debug"):
            blobs.append(folder / "debug.blob")
            debug = pack_tree(folder / "debug", blobs[1])
        glibc = str((manifest.read(payload) or {}).get("glibc") or "")
        made = replace(
            entry, payload=own.tree, blob=own.blob, size=own.size, debug=debug, glibc=glibc
        )
        return self._sign(made), blobs

    def _upload(self, entry: Entry, blobs: Sequence[Path]) -> None:
        try:
            self._revocations.check(entry.payload)
            for part, blob in zip(filter(None, (entry.packed, entry.debug)), blobs):
                # Write a file that is there again: `prune` keeps files that were written lately.
                self.files.write(blob_place(part.blob), blob)
                self._fetch(part, blob)
            self._write(entry.place, entry.to_json().encode("ascii"))
        except (StoreFileError, StoreError) as error:
            self._say(
                f"{entry.name} {entry.version}: notice: not put into the store {self.display_url}: "
                f"{describe(error)}"
            )

    def _sign(self, entry: Entry) -> Entry:
        if self._signer is None:
            return entry
        return replace(entry, signature=self._signer.sign(entry.signed()))

    def _write(self, place: str, data: bytes) -> None:
        with temporary_folder() as folder:
            file = folder / "file"
            file.write_bytes(data)
            self.files.write(place, file)

    def _fetch(self, part: Packed, target: Path) -> None:
        self.files.fetch(blob_place(part.blob), target, part.blob, part.size)

    def _unpack(self, part: Packed, target: Path) -> None:
        with temporary_folder() as folder:
            blob = folder / "blob"
            self._fetch(part, blob)
            with blob.open("rb") as stream:
                pack.unpack(stream, target, part.tree)

    def _read(self, entry: Entry, part: Packed) -> bytes:
        with temporary_folder() as folder:
            file = folder / "blob"
            try:
                self._fetch(part, file)
            except StoreFileError as error:
                raise self._refusal(entry, error) from None
            return file.read_bytes()

    def _restore_debug(self, entry: Entry, payload: Path) -> None:
        """Keep debug data as a build would. Without it, the payload is complete all the same."""
        if entry.debug is None or not self._debug.lacks(payload):
            return
        try:
            with temporary_folder() as folder:
                self._unpack(entry.debug, folder / "debug")
                self._debug.add(payload, folder / "debug")
        except (StoreFileError, RezbuildError, OSError) as error:
            self._say(
                f"{entry.name} {entry.version}: notice: its debug data cannot be read from the "
                f"store {self.display_url}: {words.reason(error)}"
            )
