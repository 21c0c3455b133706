"""The process that bakes one payload on a worker.

    python -I -m rezbuild.farm.job_process FOLDER RECIPES

FOLDER is this job's own: `ORDER` is there, blobs of payloads that came along, and afterwards
`ENTRY`; the file that REZBUILD_REPORT names has the error, where there is one. RECIPES is the
worker's recipes folder.
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
from rezbuild.build.recipe_api import Dependency
from rezbuild.catalogue import sources_toml
from rezbuild.errors import MachineError, RezbuildError, UsageError, as_error, write_report
from rezbuild.farm import payload_cache
from rezbuild.farm.messages import Order
from rezbuild.files import disk_space, pack
from rezbuild.payload import manifest
from rezbuild.reporter import Reporter
from rezbuild.settings import Settings
from rezbuild.store import Entry, Store
from rezbuild.store import key as keys
from rezbuild.store.get_or_build import get_or_build
from rezbuild.store.timeouts import StoreFileError
from rezbuild.util import processes

ORDER = "order.json"
ENTRY = "entry.json"
# The payload, packed, where it is to travel, and its debug data.
BLOB = "payload.blob"
DEBUG = "debug.blob"
BUILD = "build"


def blob(place: Path, payload: str) -> Path:
    """The file of a payload that came along."""
    return place / f"{payload}.blob"


def debug_blob(place: Path, payload: str) -> Path:
    """The file of its debug data; empty where it has none."""
    return place / f"{payload}.debug"


def main() -> int:
    """Builds; the exit code is the error's."""
    os.umask(0o022)
    # Ctrl-C at the worker's terminal is the worker's; it ends this one.
    os.setsid()
    place, recipes = map(Path, sys.argv[1:3])
    try:
        processes.exit_with_rez()
        order = Order.from_json((place / ORDER).read_text(encoding="utf-8"))
        _work(order, _settings(order), place, recipes)
    except Exception as exception:  # noqa: BLE001 (users see a message, not a traceback)
        error = as_error(exception)
        write_report(error)
        Reporter().info(error.message)
        return error.exit_code
    return 0


def _settings(order: Order) -> Settings:
    """Those of this worker, and what the job brings."""
    settings = replace(
        Settings.read(),
        jobs=order.cores,
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
        # The worker sees to it that there is one.
        store = Store.of(settings, reporter.notice)
        if store is None:
            raise MachineError("this worker has no store", advice=["set REZBUILD_STORE for it"])
        dependencies = _dependencies(order, settings, place, store)
        job = _job(order, recipes / order.name, dependencies, place)
        with get_or_build(job, settings, reporter) as payload:
            inputs = keys.gather_inputs(Inputs.gather(job, settings))
            entry, holder = held(inputs, payload, store, own_store(place, settings))
        if order.carry or holder is not store:
            (place / BLOB).write_bytes(holder.read_payload(entry))
            (place / DEBUG).write_bytes(holder.read_debug(entry))
        (place / ENTRY).write_text(entry.to_json(), encoding="utf-8")
    except (RezbuildError, OSError) as error:
        raise disk_space.explained(error, (place, settings.cache)) from None


def _job(order: Order, folder: Path, dependencies: Mapping[str, Dependency], place: Path) -> Job:
    """What is to be baked.

    Raises:
        UsageError: This worker's recipe is another one than the client's.
    """
    recipe = sources_toml.load(folder)
    revision = manifest.recipe_revision(recipe, recipe.release(order.version))
    if revision != order.revision:
        raise UsageError(
            f"the worker's recipe of {order} is another one ({revision}, not {order.revision})",
            advice=["bring both clones to the same commit, and start the worker anew"],
        )
    return Job(
        recipe_folder=folder,
        version=order.version,
        build_path=place / BUILD,
        # Where it is going to stand is not known here, so no file of it can say so.
        places=(),
        profile=order.profile,
        dependencies=dependencies,
    )


def _dependencies(
    order: Order, settings: Settings, place: Path, store: Store
) -> dict[str, Dependency]:
    """The payloads that it is built against, unpacked.

    Raises:
        StoreError: One cannot be had, or is refused.
    """
    carried = own_store(place, settings)
    found = {}
    for data in order.dependencies:
        entry = Entry.from_json(json.dumps(data))
        came = blob(place, entry.payload)
        if came.is_file():
            carried.add(entry, came.read_bytes(), debug_blob(place, entry.payload).read_bytes())
        holder = carried if came.is_file() else store
        # Nobody has looked at what the client says.
        holder.check_signature(entry)
        root = payload_cache.at(entry, settings.cache, holder)
        found[entry.name] = Dependency(entry.name, entry.version, root)
    return found


def held(inputs: Mapping[str, Any], payload: Path, store: Store, own: Store) -> tuple[Entry, Store]:
    """The entry of what has been made, and a store from which just that can be had.

    Args:
        inputs: Of the payload.
        payload: Its folder.
        store: The worker's. It may only be read, or be full, and hold an older payload of these
            inputs, or none that is sound: then what has been made is put into the other one.
        own: The other one.

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


def own_store(place: Path, settings: Settings) -> Store:
    """A store of one job, or of one run, for what travels; signed and held to the same keys."""
    return Store(
        str(place / "carried"),
        sign=settings.store_sign,
        trust=settings.store_trust,
        settings=settings,
    )


if __name__ == "__main__":
    sys.exit(main())
