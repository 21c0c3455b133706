"""A payload from the store, or else built and uploaded.

`rezbuild.build.pipeline` knows nothing of a store: a build is the same with and without one.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rezbuild.audit import glibc
from rezbuild.build.inputs import Inputs, Job
from rezbuild.build.pipeline import build_payload
from rezbuild.build.toolchain import Toolchain
from rezbuild.catalogue import sources_toml
from rezbuild.catalogue.model import Recipe, Release
from rezbuild.errors import StoreError, UsageError, as_error
from rezbuild.files import cache_lock, locks, safe_files
from rezbuild.payload import manifest
from rezbuild.reporter import ABSENT, TAKEN, Reporter
from rezbuild.settings import STORE_ENTRY, Settings
from rezbuild.store import Entry, Store
from rezbuild.store import key as keys
from rezbuild.store.build_note import BuildNote
from rezbuild.util.glibc_version import host_glibc


@contextlib.contextmanager
def get_or_build(job: Job, settings: Settings, reporter: Reporter) -> Iterator[Path]:
    """Yield the finished payload in the job's build path, which is locked during the block.

    Raises:
        RezbuildError: It can be neither restored nor built.
    """
    lock = cache_lock.shared(settings.cache, reporter.notice)
    with lock, _get_or_build(job, settings, reporter) as payload:
        yield payload


@contextlib.contextmanager
def _get_or_build(job: Job, settings: Settings, reporter: Reporter) -> Iterator[Path]:
    store = Store.of(settings, reporter.notice)
    if settings.store_entry is not None:
        with _restore_named(job, settings.store_entry, store, settings, reporter) as payload:
            yield payload
    elif store is None:
        with build_payload(job, settings, reporter) as payload:
            BuildNote(job.build_path).drop()
            yield payload
    else:
        with _restore_or_build(job, store, settings, reporter) as payload:
            yield payload


def has_payload(
    store: Store | None, recipe: Recipe, release: Release, profile: str, tools: Toolchain
) -> bool:
    """Return whether a store has a version of the current recipe, with any dependencies.

    Raises:
        CatalogueError: A file of the recipe is missing.
        MachineError: This machine has no patchelf.
    """
    if store is None:
        return False
    entries = list(store.entries(release.name, release.version))
    planned = keys.planned_inputs(recipe, release, profile, tools) if entries else {}
    return any(keys.matches(entry.inputs, planned) for entry in entries)


@contextlib.contextmanager
def _restore_or_build(
    job: Job, store: Store, settings: Settings, reporter: Reporter
) -> Iterator[Path]:
    gathered = Inputs.gather(job, settings)
    inputs = keys.gather_inputs(gathered)
    note, key = BuildNote(job.build_path), keys.hash_inputs(inputs)
    with _staging(job, reporter) as staging:
        ready = (manifest.read(staging) or {}).get("fingerprint") == gathered.fingerprint
        restored = (
            not ready
            and not settings.store_fresh
            and _try_restore(inputs, staging, store, reporter)
        )
        if restored:
            _check_glibc(gathered.recipe.name, job, staging, settings)
            yield staging
        else:
            note.begin(key, ready=ready)
    if not restored:
        for name, against in inputs["against"].items():
            store.restore_debug(name, **against, root=job.dependencies[name].root)
        with build_payload(job, settings, reporter) as payload:
            if note.confirms(key, payload):
                _put(inputs, payload, store, reporter, fresh=settings.store_fresh)
            elif store.find(key, inputs["name"], inputs["version"]) is None:
                reporter.notice(
                    f"{inputs['name']} {inputs['version']}: notice: not put into the store "
                    f"{store.display_url}: {payload} may be changed, or built from other inputs; "
                    "remove it to build it again"
                )
            yield payload


def _put(
    inputs: Mapping[str, Any], payload: Path, store: Store, reporter: Reporter, *, fresh: bool
) -> None:
    """Upload a built payload; a failure is only a notice."""
    name, version = inputs["name"], inputs["version"]
    try:
        store.put(
            *(name, version, inputs["profile"], keys.hash_inputs(inputs), inputs, payload),
            fresh=fresh,
        )
    except (StoreError, OSError) as error:
        why = as_error(error).message
        reporter.notice(
            f"{name} {version}: notice: not put into the store {store.display_url}: {why}"
        )


def _try_restore(
    inputs: Mapping[str, Any], staging: Path, store: Store, reporter: Reporter
) -> bool:
    """Restore the payload of these inputs, if the store has it; return whether it did."""
    what = f"{inputs['name']} {inputs['version']}"
    entry = store.find(keys.hash_inputs(inputs), inputs["name"], inputs["version"])
    if entry is None:
        reporter.info(f"{what}: {_describe_miss(inputs, store)}", ABSENT)
        return False
    try:
        _restore(entry, staging, store, reporter)
    except StoreError as error:
        reporter.notice(f"{what}: notice: {error.message}; building it instead")
        return False
    return True


def _restore(entry: Entry, staging: Path, store: Store, reporter: Reporter) -> None:
    """Restore a payload to the place where a build would leave it.

    Raises:
        StoreError: It is damaged, or cannot be read.
    """
    arriving = staging.with_name("staging.partial")
    safe_files.remove(arriving)
    store.restore(entry, arriving)
    BuildNote(staging.parent).drop()
    safe_files.remove(staging)
    arriving.rename(staging)
    reporter.info(f"{entry.name} {entry.version}: taken from the store {store.display_url}", TAKEN)


def _describe_miss(inputs: Mapping[str, Any], store: Store) -> str:
    """Return a line for a cache miss: what differs in the nearest entry of the version."""
    entries = store.entries(inputs["name"], inputs["version"])
    others = [keys.differences(inputs, entry.inputs) for entry in entries]
    said = f"not in the store {store.display_url}"
    if others:
        nearest: list[str] = min(others, key=len)
        said += f", which has {len(others)} of other inputs (the nearest: {', '.join(nearest)})"
    return said


@contextlib.contextmanager
def _restore_named(
    job: Job, file: Path, store: Store | None, settings: Settings, reporter: Reporter
) -> Iterator[Path]:
    """Yield the payload of the entry in a file. No compiler and no source is needed.

    Raises:
        UsageError: No store is set, or the file cannot be read.
        StoreError: The entry is not for this job, or it or its payload is refused.
    """
    recipe = sources_toml.load(job.recipe_folder)
    release = recipe.release(job.version)
    if store is None:
        raise UsageError(f"{STORE_ENTRY} requires REZBUILD_STORE")
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
        "against": keys.dependency_inputs(job.dependencies),
    }
    for what, value in wanted.items():
        if entry.inputs.get(what) != value:
            raise StoreError(
                f"the entry in {STORE_ENTRY} is not for this build of {release.name} "
                f"{release.version}: its {what} differs",
                tried=[f"expected: {value}", f"in {file}: {entry.inputs.get(what)}"],
            )
    # A farm has compared the entry with its worker, which may be another kind of host.
    found = keys.host_differences(entry.inputs, os.uname().machine, host_glibc())
    wrong = [] if settings.store_entry_checked else list(found)
    if wrong:
        raise StoreError(
            f"the entry in {STORE_ENTRY} is not for this host: {wrong[0]}",
            tried=wrong[1:],
            advice=["name an entry of a build on this kind of host, or build the package here"],
        )
    with _staging(job, reporter) as staging:
        _restore(entry, staging, store, reporter)
        _check_glibc(release.name, job, staging, settings)
        yield staging


def _check_glibc(name: str, job: Job, payload: Path, settings: Settings) -> None:
    record = manifest.read(payload) or {}
    what = f"{name} {job.version}, taken from the store,"
    glibc.check_record(what, record, settings.glibc_limit)


@contextlib.contextmanager
def _staging(job: Job, reporter: Reporter) -> Iterator[Path]:
    """Yield the path where the pipeline leaves a payload, under the lock of the build path."""
    job.build_path.mkdir(parents=True, exist_ok=True)
    with locks.open_lock(job.build_path / "rezbuild.lock", reporter.notice):
        yield job.build_path / "staging"
