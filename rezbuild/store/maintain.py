"""Maintenance of a store: list, verify, revoke and prune entries."""

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
from rezbuild.store.timeouts import StoreFileError

# Seconds. The entry of a younger file may still be on its way: no upload takes as long.
YOUNG = 24 * 3600.0
_DAY = 24 * 3600
_BLOB = re.compile(rf"[0-9a-f]{{64}}{re.escape(BLOB_SUFFIX)}$")


@dataclass(frozen=True)
class Finding:
    """A file that is damaged, or may be removed.

    Attributes:
        place: The place in the store.
        why: The reason.
        removed: Whether it was removed.
    """

    place: str
    why: str
    removed: bool

    def __str__(self) -> str:
        return f"{self.place}: {self.why}{'; removed' if self.removed else ''}"


def list_packages(store: Store) -> list[str]:
    """Return the packages that have entries.

    Raises:
        StoreError: The store cannot be read.
    """
    return [name for name in _names(store, "") if name not in (BLOBS, REVOKED)]


def list_versions(store: Store, name: str) -> list[str]:
    """Return the versions of a package that have entries.

    Raises:
        StoreError: The store cannot be read.
    """
    return _names(store, name)


def list_entries(store: Store, packages: Sequence[str]) -> Iterator[tuple[str, Entry | str]]:
    """Yield the place of each entry, with the entry or the reason why it is invalid.

    Args:
        store: The store, which is only read.
        packages: Their names; empty for all.

    Raises:
        StoreError: The store cannot be read, or has none of the packages.
    """
    unknown = [name for name in packages if not list_versions(store, name)]
    if unknown:
        raise StoreError(
            f"the store {store.display_url} has no package {', '.join(unknown)}",
            advice=["list its packages: rezbuild store list"],
        )
    for folder in _folders(store, packages):
        for place in store.list_places(*folder):
            found = _load(store, place)
            if found is not None:
                yield place, found
    if store.failure:
        raise _unreadable(store, store.failure)


def verify(store: Store, say: Callable[[str], None], *, remove: bool) -> Iterator[Finding]:
    """Read all entries and all files that they name, and yield the damaged ones.

    Args:
        store: If it trusts keys, entries without a trusted signature are damaged, too.
        say: Prints each valid entry.
        remove: Remove damaged files.

    Raises:
        StoreError: The store cannot be read or written.
    """
    for place, found in list_entries(store, []):
        if isinstance(found, str):
            yield _remove(store, place, found, really=remove)
            continue
        with _reading(store):
            faults = list(store.find_faults(found))
        for blob, why in faults:
            yield _remove(store, blob, why, really=remove)
        if faults:
            yield _remove(store, place, "it names a damaged file", really=remove)
        else:
            say(f"{place}: ok")


def revoke(store: Store, wanted: str, why: str) -> Iterator[Finding]:
    """Revoke a payload, and remove its entries and files.

    Args:
        store: A store that accepts entries without a trusted signature.
        wanted: The beginning of an entry's key, or the checksum of a payload.
        why: The reason, shown to users.

    Raises:
        StoreError: Not exactly one payload matches, or the store cannot be read or written.
    """
    # `verify` removes invalid entries.
    entries = [
        (place, found) for place, found in list_entries(store, []) if isinstance(found, Entry)
    ]
    meant = [(p, e) for p, e in entries if e.key.startswith(wanted) or e.payload == wanted]
    if not meant or len({entry.payload for _, entry in meant}) > 1:
        raise StoreError(
            f"{len(meant)} entries of the store {store.display_url} begin with {wanted}",
            tried=[f"{entry.name}-{entry.version}: {entry.key}" for _, entry in meant[:5]],
            advice=["list keys and payloads: rezbuild store list --json"],
        )
    payload = meant[0][1].payload
    try:
        store.revoke(payload, why)
    except StoreFileError as error:
        raise _unreadable(store, str(error)) from None
    yield Finding(revocation_place(payload), f"{why}; add it to REZBUILD_STORE_REVOKED", False)
    # Several keys may share one payload.
    for place, entry in entries:
        if entry.payload == payload:
            yield _remove(store, place, "revoked", really=True)
            yield _remove(store, blob_place(entry.blob), "revoked", really=True)


def prune(
    store: Store, *, days: float | None, unused: bool, young: float = YOUNG, dry_run: bool = False
) -> Iterator[Finding]:
    """Remove old entries, and files that no entry names.

    Args:
        store: The store.
        days: Remove entries that were written longer ago; None: keep all.
        unused: Remove packed trees that no entry names.
        young: Keep packed trees that were written less than so many seconds ago: another host may
            be about to write an entry that names them.
        dry_run: Remove nothing.

    Raises:
        StoreError: The store cannot be read or written.
    """
    # List the files before reading the entries: files that arrive later stay.
    candidates = _find_unnamed(store, young)
    named: set[str] = set()
    for place, found in list_entries(store, []):
        age = _age(store, place)
        if days is not None and age > days * _DAY:
            yield _remove(store, place, f"{age / _DAY:.0f} days old", really=not dry_run)
        elif isinstance(found, Entry):
            named |= {blob_place(p.blob) for p in (found.packed, found.debug) if p}
    for place in candidates if unused or days is not None else ():
        # Reading the entries takes minutes: a file that was written again meanwhile is in use.
        if place not in named and _age(store, place) > young:
            yield _remove(store, place, "no entry names it", really=not dry_run)


def _load(store: Store, place: str) -> Entry | str | None:
    """Return an entry, or the reason why it is invalid; None if it was removed meanwhile."""
    try:
        return store.load(place)
    except StoreError as error:
        return error.message
    except StoreFileError as error:
        if error.missing:
            return None
        if error.damaged:
            return str(error)
        raise _unreadable(store, str(error)) from None


def _folders(store: Store, packages: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield package and version of each folder of entries."""
    for name in packages or list_packages(store):
        for version in list_versions(store, name):
            yield name, version


def _find_unnamed(store: Store, young: float) -> list[str]:
    """Return packed trees, and files of killed writers, unless they are young."""
    folders = [BLOBS, *map("/".join, _folders(store, []))]
    with _reading(store):
        there = [(folder, file) for folder in folders for file in store.files.list_names(folder)]
    ours = [f"{f}/{n}" for f, n in there if n.startswith(PART) or (f == BLOBS and _BLOB.match(n))]
    return [place for place in ours if _age(store, place) > young]


def _names(store: Store, folder: str) -> list[str]:
    with _reading(store):
        return store.files.list_names(folder)


@contextlib.contextmanager
def _reading(store: Store) -> Iterator[None]:
    try:
        yield
    except StoreFileError as error:
        raise _unreadable(store, str(error)) from None


def _unreadable(store: Store, why: str) -> StoreError:
    return StoreError(
        f"the store {store.display_url} cannot be read: {why}",
        advice=["check REZBUILD_STORE, and the permissions there"],
    )


def _age(store: Store, place: str) -> float:
    """Return the age in seconds; 0 if the file was removed meanwhile."""
    try:
        return store.files.age(place)
    except StoreFileError:
        return 0.0


def _remove(store: Store, place: str, why: str, *, really: bool) -> Finding:
    if really:
        try:
            store.files.remove(place)
        except StoreFileError as error:
            raise StoreError(
                f"{place} of the store {store.display_url} cannot be removed: {error}",
                advice=["run the command on a machine that may write the store"],
            ) from None
    return Finding(place, why, really)
