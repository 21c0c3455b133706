"""The process on a worker that builds one payload.

    python -I -m rezbuild.farm.job_process FOLDER RECIPES

FOLDER belongs to this job: it holds `ORDER`, the payloads that travel with the job, and afterwards
`ENTRY`. The file that REZBUILD_REPORT names gets the error, if there is one. RECIPES is the
worker's
recipes folder.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rezbuild.build.inputs import Inputs, Job
from rezbuild.catalogue import sources_toml
from rezbuild.errors import MachineError, RezbuildError, UsageError, as_error, write_report
from rezbuild.farm import payload_cache
from rezbuild.farm.messages import Order
from rezbuild.files import cache_lock, disk_space, pack
from rezbuild.payload import manifest
from rezbuild.payload.dependency import Dependency
from rezbuild.reporter import Reporter
from rezbuild.settings import Settings
from rezbuild.store import Entry, Store
from rezbuild.store import key as keys
from rezbuild.store.get_or_build import get_or_build
from rezbuild.store.timeouts import StoreFileError
from rezbuild.util import processes

ORDER = "order.json"
ENTRY = "entry.json"
# The packed payload, if it travels with the result, and its debug data.
BLOB = "payload.blob"
DEBUG = "debug.blob"
BUILD = "build"


def blob(place: Path, payload: str) -> Path:
    """Return the file of a payload that travelled with the job."""
    return place / f"{payload}.blob"


def debug_blob(place: Path, payload: str) -> Path:
    """Return the file of its debug data; it is empty if there is none."""
    return place / f"{payload}.debug"


def main() -> int:
    """Build the payload; return the exit code of the error."""
    os.umask(0o022)
    # Ctrl-C reaches the worker alone, which ends this process.
    os.setsid()
    place, recipes = map(Path, sys.argv[1:3])
    try:
        processes.exit_with_rez()
        order = Order.from_json((place / ORDER).read_text(encoding="utf-8"))
        settings = _settings(order)
        # The job uses payloads of the cache before it builds.
        with cache_lock.shared(settings.cache, Reporter().notice):
            _work(order, settings, place, recipes)
    except Exception as exception:  # noqa: BLE001 (users see a message, not a traceback)
        error = as_error(exception)
        write_report(error)
        Reporter().info(error.message)
        return error.exit_code
    return 0


def _settings(order: Order) -> Settings:
    """Return the settings of this worker, with those of the job."""
    own = Settings.read()
    settings = replace(
        own,
        jobs=order.cores,
        glibc=order.glibc or own.glibc,
        glibc_max=order.glibc_max,
        store_fresh=order.force,
        store_entry=None,
        store_entry_checked=False,
    )
    if order.step_timeout is not None:
        settings = replace(settings, step_timeout=order.step_timeout)
    return settings


def _work(order: Order, settings: Settings, place: Path, recipes: Path) -> None:
    reporter = Reporter()
    try:
        # The worker sets REZBUILD_STORE for this process.
        store = Store.of(settings, reporter.notice)
        if store is None:
            raise MachineError("no store is set for the job", advice=["set REZBUILD_STORE"])
        # Payloads that travel, with the keys of the worker's store.
        own = Store.at(str(place / "carried"), settings)
        dependencies = _dependencies(order, settings.cache, place, store, own)
        job = _job(order, recipes / order.name, dependencies, place)
        with get_or_build(job, settings, reporter) as payload:
            inputs = keys.gather_inputs(Inputs.gather(job, settings))
            entry, holder = find_or_store(inputs, payload, store, own)
        if order.return_payload or holder is not store:
            (place / BLOB).write_bytes(holder.read_payload(entry))
            (place / DEBUG).write_bytes(holder.read_debug(entry))
        (place / ENTRY).write_text(entry.to_json(), encoding="utf-8")
    except (RezbuildError, OSError) as error:
        raise disk_space.explain(error, (place, settings.cache)) from None


def _job(order: Order, folder: Path, dependencies: Mapping[str, Dependency], place: Path) -> Job:
    """Return the job for the pipeline.

    Raises:
        UsageError: This worker's recipe differs from the client's.
    """
    recipe = sources_toml.load(folder)
    revision = manifest.recipe_revision(recipe, recipe.release(order.version))
    if revision != order.revision:
        raise UsageError(
            f"the worker's recipe of {order} differs ({revision}, not {order.revision})",
            advice=["update both clones to the same commit, and restart the worker"],
        )
    return Job(
        recipe_folder=folder,
        version=order.version,
        build_path=place / BUILD,
        # The final place is unknown, so no file can contain it.
        places=(),
        profile=order.profile,
        dependencies=dependencies,
    )


def _dependencies(
    order: Order, cache: Path, place: Path, store: Store, own: Store
) -> dict[str, Dependency]:
    """Return the dependencies of a job, unpacked.

    Raises:
        StoreError: One cannot be read, or is refused.
    """
    found = {}
    for data in order.dependencies:
        entry = Entry.from_json(json.dumps(data))
        came = blob(place, entry.payload)
        if came.is_file():
            own.add(entry, came.read_bytes(), debug_blob(place, entry.payload).read_bytes())
        holder = own if came.is_file() else store
        # The client may have sent any entry.
        holder.check_signature(entry)
        root = payload_cache.get_payload(entry, cache, holder)
        found[entry.name] = Dependency(entry.name, entry.version, root)
    return found


def find_or_store(
    inputs: Mapping[str, Any], payload: Path, store: Store, own: Store
) -> tuple[Entry, Store]:
    """Return the entry of a new payload, and a store that holds exactly this payload.

    Args:
        inputs: The inputs of the payload.
        payload: The payload's root.
        store: The worker's store. If it is read-only or full, it may hold an older payload of these
            inputs, or none; then the new payload is put into ``own``.
        own: A second store.

    Raises:
        StoreError: The payload changes meanwhile.
        OSError: It cannot be read.
    """
    name, version, key = inputs["name"], inputs["version"], keys.hash_inputs(inputs)
    found = store.find(key, name, version)
    if found is not None and found.payload == pack.digest(payload) and _is_sound(store, found):
        return found, store
    return own.put(name, version, inputs["profile"], key, inputs, payload), own


def _is_sound(store: Store, entry: Entry) -> bool:
    try:
        return not any(store.find_faults(entry))
    except StoreFileError:
        return False


if __name__ == "__main__":
    sys.exit(main())
