"""Looks after a store: what is in it, whether all of it is sound, and what may go."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rezbuild.errors import StoreError
from rezbuild.store import Entry, Store
from rezbuild.store.entry import BLOB_SUFFIX, BLOBS, blob_place
from rezbuild.store.files import PART
from rezbuild.store.revocations import FOLDER as REVOKED
from rezbuild.store.revocations import revocation_place
from rezbuild.store.timeouts import PlaceError

# Seconds. What is younger may be named by an entry in a moment: no upload takes as long.
YOUNG = 24 * 3600.0
_DAY = 24 * 3600
_BLOB = re.compile(rf"[0-9a-f]{{64}}{re.escape(BLOB_SUFFIX)}$")


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, or may go.

    Attributes:
        place: Where it is in the store.
        why: In words.
        removed: It is gone now.
    """

    place: str
    why: str
    removed: bool

    def __str__(self) -> str:
        return f"{self.place}: {self.why}{'; removed' if self.removed else ''}"


def names(store: Store) -> list[str]:
    """The packages that a store has entries of.

    Raises:
        StoreError: It cannot be read.
    """
    return [name for name in _names(store, "") if name not in (BLOBS, REVOKED)]


def versions(store: Store, name: str) -> list[str]:
    """The versions of a package that a store has entries of.

    Raises:
        StoreError: It cannot be read.
    """
    return _names(store, name)


def listing(store: Store, packages: Sequence[str]) -> Iterator[tuple[str, Entry | str]]:
    """Each entry by its place, or why it is none that is sound.

    Args:
        store: It is read only.
        packages: Their names; empty for all.

    Raises:
        StoreError: The store cannot be read.
    """
    for folder in _folders(store, packages):
        for place in store.places(*folder):
            found = _load(store, place)
            if found is not None:
                yield place, found
    if store.trouble:
        raise _unreadable(store, store.trouble)


def verify(store: Store, say: Callable[[str], None], *, remove: bool) -> Iterator[Finding]:
    """What is wrong with entries and with the blobs that they name; all of these are read.

    Args:
        store: With trust, what is not signed is wrong, too.
        say: Is told of each entry that is sound.
        remove: Remove what is wrong.

    Raises:
        StoreError: The store cannot be read, or not be written.
    """
    for place, found in listing(store, []):
        if isinstance(found, str):
            yield _remove(store, place, found, really=remove)
            continue
        with _reading(store):
            faults = list(store.faults(found))
        for blob, why in faults:
            yield _remove(store, blob, why, really=remove)
        if faults:
            yield _remove(store, place, "what it names is not sound", really=remove)
        else:
            say(f"{place}: ok")


def revoke(store: Store, wanted: str, why: str) -> Iterator[Finding]:
    """Revoke payloads, and remove their entries and blobs.

    Args:
        store: It is written, and takes entries whoever has signed them.
        wanted: The beginning of an entry's key, or the sum of a payload.
        why: For those who look.

    Raises:
        StoreError: No entry is meant, or the store cannot be read or written.
    """
    # An entry with odd bytes is not removed by this, but by `verify`.
    entries = [(place, found) for place, found in listing(store, []) if isinstance(found, Entry)]
    meant = [(p, e) for p, e in entries if e.key.startswith(wanted) or e.payload == wanted]
    if not meant or len({entry.payload for _, entry in meant}) > 1:
        raise StoreError(
            f"{len(meant)} entries of the store {store.shown} begin with {wanted}",
            tried=[f"{entry.name}-{entry.version}: {entry.key}" for _, entry in meant[:5]],
            advice=["rezbuild store list --json shows keys and payloads"],
        )
    payload = meant[0][1].payload
    try:
        store.revoke(payload, why)
    except PlaceError as error:
        raise _unreadable(store, str(error)) from None
    yield Finding(revocation_place(payload), f"{why}; add it to REZBUILD_STORE_REVOKED", False)
    # The same payload may be there under several keys.
    for place, entry in entries:
        if entry.payload == payload:
            yield _remove(store, place, "revoked", really=True)
            yield _remove(store, blob_place(entry.blob), "revoked", really=True)


def prune(
    store: Store, *, days: float | None, unused: bool, young: float = YOUNG, dry_run: bool = False
) -> Iterator[Finding]:
    """Removes what is old, and what nothing names.

    Args:
        store: It is written.
        days: Entries that were written longer ago go; None: all stay.
        unused: Blobs go that no entry names.
        young: Blobs that were written less than so many seconds ago stay: another host may be
            about to write the entry of one.
        dry_run: Nothing goes.

    Raises:
        StoreError: The store cannot be read, or not be written.
    """
    # Before the entries are read: whatever comes later is not looked at.
    left = _left(store, young)
    named: set[str] = set()
    for place, found in listing(store, []):
        age = _age(store, place)
        if days is not None and age > days * _DAY:
            yield _remove(store, place, f"{age / _DAY:.0f} days old", really=not dry_run)
        elif isinstance(found, Entry):
            named |= {blob_place(p.blob) for p in (found.packed, found.debug) if p}
    for place in left if unused or days is not None else ():
        # Reading the entries takes minutes: a blob that was written again meanwhile is in use.
        if place not in named and _age(store, place) > young:
            yield _remove(store, place, "no entry names it", really=not dry_run)


def _load(store: Store, place: str) -> Entry | str | None:
    """An entry, or what is wrong with it; None where it has gone meanwhile."""
    try:
        return store.load(place)
    except StoreError as error:
        return error.message
    except PlaceError as error:
        if error.missing:
            return None
        if error.damaged:
            return str(error)
        raise _unreadable(store, str(error)) from None


def _folders(store: Store, packages: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Package and version of each folder of entries."""
    for name in packages or names(store):
        for version in versions(store, name):
            yield name, version


def _left(store: Store, young: float) -> list[str]:
    """Blobs, and what killed writers have left, but for what is young."""
    folders = [BLOBS, *map("/".join, _folders(store, []))]
    with _reading(store):
        there = [(folder, file) for folder in folders for file in store.files.names(folder)]
    ours = [f"{f}/{n}" for f, n in there if n.startswith(PART) or (f == BLOBS and _BLOB.match(n))]
    return [place for place in ours if _age(store, place) > young]


def _names(store: Store, folder: str) -> list[str]:
    with _reading(store):
        return store.files.names(folder)


@contextlib.contextmanager
def _reading(store: Store) -> Iterator[None]:
    try:
        yield
    except PlaceError as error:
        raise _unreadable(store, str(error)) from None


def _unreadable(store: Store, why: str) -> StoreError:
    return StoreError(
        f"the store {store.shown} cannot be read: {why}",
        advice=["look at REZBUILD_STORE, and at the rights there"],
    )


def _age(store: Store, place: str) -> float:
    """Seconds; 0 for what has gone meanwhile."""
    try:
        return store.files.seconds(place)
    except PlaceError:
        return 0.0


def _remove(store: Store, place: str, why: str, *, really: bool) -> Finding:
    if really:
        try:
            store.files.remove(place)
        except PlaceError as error:
            raise StoreError(
                f"{place} of the store {store.shown} cannot be removed: {error}",
                advice=["do it where the store can be written"],
            ) from None
    return Finding(place, why, really)
