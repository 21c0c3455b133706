"""The entries of a store: read, checked against signatures and revocations, and listed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rezbuild.errors import StoreError
from rezbuild.store.entry import MOST, SUFFIX, Entry, entry_place
from rezbuild.store.files import Files
from rezbuild.store.revocations import Revocations
from rezbuild.store.signing import Trust
from rezbuild.store.timeouts import StoreFileError


class EntryReader:
    """Reads the entries of a store.

    Args:
        files: The store's files.
        trust: The keys that must have signed an entry; None: accept every entry.
        revocations: The revoked payloads.
        say: Prints notices: refused entries, and a store that cannot be used.

    Attributes:
        files: The store's files.
        failure: The reason why the store cannot be used, or "".
    """

    def __init__(
        self,
        files: Files,
        trust: Trust | None,
        revocations: Revocations,
        say: Callable[[str], None],
    ) -> None:
        self.files = files
        self.failure = ""
        self._trust = trust
        self._revocations = revocations
        self._say = say

    @property
    def display_url(self) -> str:
        """The store's address without a password."""
        return self.files.display_url

    @property
    def verifies(self) -> bool:
        """Whether every entry must have a trusted signature."""
        return self._trust is not None

    def find(self, key: str, name: str, version: str) -> Entry | None:
        """Return the entry of a key; None if there is no valid one.

        A notice tells the user about an invalid entry.
        """
        if self.failure:
            return None
        place = entry_place(name, version, key)
        try:
            return self.load(place)
        except StoreError as error:
            self._say(
                f"notice: {place} of the store {self.display_url} is refused: {error.message}"
            )
        except StoreFileError as error:
            if error.damaged:
                self._say(f"notice: {place} of the store {self.display_url} is refused: {error}")
            elif not error.missing:
                self._fail(error)
        return None

    def entries(self, name: str, version: str) -> Iterator[Entry]:
        """Yield the valid entries of a version."""
        for place in self.list_places(name, version):
            with contextlib.suppress(StoreError, StoreFileError):
                yield self.load(place)

    def list_places(self, name: str, version: str) -> list[str]:
        """Return the places of a version's entries.

        The list is empty if the store cannot be read, or its web server lists no folders.
        """
        try:
            found = [] if self.failure else self.files.list_names(f"{name}/{version}")
        except StoreFileError as error:
            self._fail(error)
            return []
        return [f"{name}/{version}/{file}" for file in found if file.endswith(SUFFIX)]

    def load(self, place: str) -> Entry:
        """Read the entry at a place.

        Raises:
            StoreError: It is invalid, revoked, or no trusted key has signed it.
            StoreFileError: It cannot be read.
        """
        found = Entry.from_json(self.files.read(place, MOST))
        if found.place != place:
            raise StoreError("the entry belongs to another package or key")
        self.check_signature(found)
        self._revocations.check(found.payload)
        return found

    def check_signature(self, entry: Entry) -> None:
        """Check that a trusted key has signed an entry, if any key is trusted.

        Raises:
            StoreError: None has.
        """
        if self._trust:
            self._trust.check(entry.signed(), entry.signature)

    def _fail(self, error: StoreFileError) -> None:
        self.failure = str(error)
        self._say(f"notice: the store {self.display_url} cannot be used: {error}")
