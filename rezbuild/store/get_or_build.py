"""A payload: from the store where it has one of the same inputs, or else baked, and put there.

It stands above `rezbuild.build.pipeline`, which knows nothing of a store: what is baked is the same
with one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rezbuild.audit import glibc
from rezbuild.build.pipeline import Inputs, Job, baked
from rezbuild.build.toolchain import Toolchain
from rezbuild.catalogue import sources_toml
from rezbuild.catalogue.sources_toml import Recipe, Release
from rezbuild.errors import StoreError, UsageError, as_error
from rezbuild.files import locks
from rezbuild.payload import manifest
from rezbuild.reporter import ABSENT, TAKEN, Reporter
from rezbuild.settings import STORE_ENTRY, Settings
from rezbuild.store import Entry, Store
from rezbuild.store import key as keys
from rezbuild.store.build_note import Note


@contextlib.contextmanager
def obtained(job: Job, settings: Settings, reporter: Reporter) -> Iterator[Path]:
    """The finished payload, in the job's build path, which is locked meanwhile.

    Raises:
        RezbuildError: It can neither be taken nor be made.
    """
    store = Store.of(settings, reporter.notice)
    if settings.store_entry is not None:
        with _ordered(job, settings.store_entry, store, settings, reporter) as payload:
            yield payload
    elif store is None:
        with baked(job, settings, reporter) as payload:
            Note(job.build_path).drop()
            yield payload
    else:
        with _taken_or_baked(job, store, settings, reporter) as payload:
            yield payload


def has(
    store: Store | None, recipe: Recipe, release: Release, profile: str, tools: Toolchain
) -> bool:
    """Whether a store has a version as the recipe has it now, whatever it is built against.

    Raises:
        CatalogueError: A file of the recipe is missing.
        MachineError: This machine has no patchelf.
    """
    if store is None:
        return False
    entries = list(store.entries(release.name, release.version))
    planned = keys.planned(recipe, release, profile, tools) if entries else {}
    return any(keys.fits(entry.inputs, planned) for entry in entries)


@contextlib.contextmanager
def _taken_or_baked(
    job: Job, store: Store, settings: Settings, reporter: Reporter
) -> Iterator[Path]:
    gathered = Inputs.gather(job, settings)
    inputs = keys.inputs_of(gathered)
    note, key = Note(job.build_path), keys.key(inputs)
    with _staging(job, reporter) as staging:
        ready = (manifest.read(staging) or {}).get("fingerprint") == gathered.fingerprint
        taken = not ready and not settings.store_fresh and _taken(inputs, staging, store, reporter)
        if taken:
            _check_glibc(gathered.recipe.name, job, staging, settings)
            yield staging
        else:
            note.begin(key, ready=ready)
    if not taken:
        for name, against in inputs["against"].items():
            store.recall_debug(name, **against, root=job.dependencies[name].root)
        with baked(job, settings, reporter) as payload:
            if note.vouches(key, payload):
                _put(inputs, payload, store, reporter, fresh=settings.store_fresh)
            elif store.find(key, inputs["name"], inputs["version"]) is None:
                reporter.notice(
                    f"{inputs['name']} {inputs['version']}: notice: not put into the store "
                    f"{store.shown}: nothing says that what is in {payload} was built from these "
                    "inputs and is unchanged; remove it to have it built again"
                )
            yield payload


def _put(
    inputs: Mapping[str, Any], payload: Path, store: Store, reporter: Reporter, *, fresh: bool
) -> None:
    """Puts there what has been built; whatever comes of it, that is built."""
    name, version = inputs["name"], inputs["version"]
    try:
        store.put(
            *(name, version, inputs["profile"], keys.key(inputs), inputs, payload), fresh=fresh
        )
    except (StoreError, OSError) as error:
        why = as_error(error).message
        reporter.notice(f"{name} {version}: notice: not put into the store {store.shown}: {why}")


def _taken(inputs: Mapping[str, Any], staging: Path, store: Store, reporter: Reporter) -> bool:
    """Takes the payload of these inputs, where it is there and sound; the user is told."""
    what = f"{inputs['name']} {inputs['version']}"
    entry = store.find(keys.key(inputs), inputs["name"], inputs["version"])
    if entry is None:
        reporter.info(f"{what}: {_absent(inputs, store)}", ABSENT)
        return False
    try:
        _take(entry, staging, store, reporter)
    except StoreError as error:
        reporter.notice(f"{what}: notice: {error.message}; it is built instead")
        return False
    return True


def _take(entry: Entry, staging: Path, store: Store, reporter: Reporter) -> None:
    """Takes a payload to where a build leaves its own.

    Raises:
        StoreError: It is damaged, or cannot be had.
    """
    arriving = _gone(staging.with_name("staging.partial"))
    store.take(entry, arriving)
    Note(staging.parent).drop()
    arriving.rename(_gone(staging))
    reporter.info(f"{entry.name} {entry.version}: taken from the store {store.shown}", TAKEN)


def _absent(inputs: Mapping[str, Any], store: Store) -> str:
    """That it is not there, and how far what is there of the version is from it."""
    entries = store.entries(inputs["name"], inputs["version"])
    others = [keys.differences(inputs, entry.inputs) for entry in entries]
    said = f"not in the store {store.shown}"
    if others:
        nearest: list[str] = min(others, key=len)
        said += f", which has {len(others)} of other inputs (the nearest: {', '.join(nearest)})"
    return said


@contextlib.contextmanager
def _ordered(
    job: Job, file: Path, store: Store | None, settings: Settings, reporter: Reporter
) -> Iterator[Path]:
    """The payload of the entry in a file, and no other: neither compiler nor source is needed.

    Raises:
        UsageError: There is no store, or the file cannot be read.
        StoreError: The entry is not for this job, or is refused, or its payload is.
    """
    recipe = sources_toml.load(job.recipe_folder)
    release = recipe.release(job.version)
    if store is None:
        raise UsageError(f"{STORE_ENTRY} needs REZBUILD_STORE")
    try:
        entry = Entry.from_json(file.read_bytes())
    except OSError as error:
        raise UsageError(f"{STORE_ENTRY}={file} cannot be read: {error.strerror}") from None
    store.check_signature(entry)
    wanted = {
        "name": release.name,
        "version": release.version,
        "profile": job.profile if recipe.profiled else None,
        "recipe": manifest.recipe_revision(recipe, release),
        "against": keys.against(job.dependencies),
    }
    for what, value in wanted.items():
        if entry.inputs.get(what) != value:
            raise StoreError(
                f"the entry in {STORE_ENTRY} is not for this build of {release.name} "
                f"{release.version}: its {what} is another one",
                tried=[f"wanted: {value}", f"in {file}: {entry.inputs.get(what)}"],
            )
    # A farm has compared it with the worker that was asked; that may be of another kind of host.
    wrong = keys.misfits(entry.inputs, os.uname().machine, keys.host_glibc())
    odd = [] if settings.store_entry_checked else list(wrong)
    if odd:
        raise StoreError(
            f"the entry in {STORE_ENTRY} is not for this host: {odd[0]}",
            tried=odd[1:],
            advice=["name an entry of a build on this kind of host, or build it here"],
        )
    with _staging(job, reporter) as staging:
        _take(entry, staging, store, reporter)
        _check_glibc(release.name, job, staging, settings)
        yield staging


def _check_glibc(name: str, job: Job, payload: Path, settings: Settings) -> None:
    record = manifest.read(payload) or {}
    what = f"{name} {job.version}, taken from the store,"
    glibc.check_record(what, record, settings.glibc_max)


@contextlib.contextmanager
def _staging(job: Job, reporter: Reporter) -> Iterator[Path]:
    """Where `rezbuild.build.pipeline` leaves a payload, under its lock."""
    job.build_path.mkdir(parents=True, exist_ok=True)
    with locks.at(job.build_path / "rezbuild.lock", reporter.notice):
        yield job.build_path / "staging"


def _gone(folder: Path) -> Path:
    if folder.exists():
        shutil.rmtree(folder)
    return folder
