"""The process that bakes one payload on a worker.

    python -I -m rezbuild.farm.job FOLDER RECIPES

FOLDER is this job's own: `ORDER` is there, blobs of payloads that came along, and afterwards
`ENTRY`; the file that REZBUILD_REPORT names has the error, where there is one. RECIPES is the
worker's recipes folder.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from rezbuild import catalogue, manifest, space, task
from rezbuild.bake import Inputs, Job, baked
from rezbuild.build import Dependency
from rezbuild.errors import MachineError, RezbuildError, UsageError, defect, report
from rezbuild.farm import payloads
from rezbuild.farm.order import Order
from rezbuild.settings import Settings
from rezbuild.store import Entry, Store
from rezbuild.store.key import inputs_of, key

ORDER = "order.json"
ENTRY = "entry.json"
# The payload, packed, where it is to travel.
BLOB = "payload.blob"
BUILD = "build"


def blob(place: Path, payload: str) -> Path:
    """The file of a payload that came along."""
    return place / f"{payload}.blob"


def main() -> int:
    """Builds; the exit code is the error's."""
    os.umask(0o022)
    # Ctrl-C at the worker's terminal is the worker's; it ends this one.
    os.setsid()
    place, recipes = map(Path, sys.argv[1:3])
    try:
        task.end_with_rez()
        order = Order.from_json((place / ORDER).read_text(encoding="utf-8"))
        _work(order, _settings(order), place, recipes)
    except RezbuildError as error:
        return _failed(error)
    except OSError as error:
        return _failed(MachineError.of(error))
    except Exception as error:  # noqa: BLE001 (a trace says nothing to a user)
        return _failed(defect(error))
    return 0


def _failed(error: RezbuildError) -> int:
    report(error)
    print(f"{error.message}", flush=True)
    return error.exit_code


def _settings(order: Order) -> Settings:
    """Those of this worker, and what the job brings."""
    settings = replace(Settings.read(), jobs=order.cores, glibc_max=order.glibc_max)
    if order.step_timeout is not None:
        settings = replace(settings, step_timeout=order.step_timeout)
    return settings


def _work(order: Order, settings: Settings, place: Path, recipes: Path) -> None:
    try:
        # The worker sees to it that there is one.
        store = Store.of(settings, print)
        if store is None:
            raise MachineError("this worker has no store", advice=["set REZBUILD_STORE for it"])
        dependencies = _dependencies(order, settings, place, store)
        if order.force:
            # What is built anew comes from no store, and leaves what is there alone.
            settings = replace(settings, store=str(place / "store"))
            store = Store(str(place / "store"))
        job = _job(order, recipes / order.name, dependencies, place)
        with baked(job, settings) as payload:
            entry, holder = _entry(job, settings, payload, store, place)
        carry = order.carry or order.force or holder is not store
        if carry:
            (place / BLOB).write_bytes(holder.blob(entry))
        (place / ENTRY).write_text(entry.to_json(), encoding="utf-8")
    except (RezbuildError, OSError) as error:
        places = (place, Path(tempfile.gettempdir()), settings.cache)
        raise space.explained(error, places) from None


def _job(order: Order, folder: Path, dependencies: Mapping[str, Dependency], place: Path) -> Job:
    """What is to be baked.

    Raises:
        UsageError: This worker's recipe is another one than the client's.
    """
    recipe = catalogue.load(folder)
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
    found = {}
    for data in order.dependencies:
        entry = Entry.from_json(json.dumps(data))
        came = blob(place, entry.payload)
        take = payloads.from_blob(came) if came.is_file() else store.take
        root = payloads.at(entry, settings.cache, take)
        found[entry.name] = Dependency(entry.name, entry.version, root)
    return found


def _entry(
    job: Job, settings: Settings, payload: Path, store: Store, place: Path
) -> tuple[Entry, Store]:
    """The entry of what has been baked, and a store that has its blob."""
    inputs = inputs_of(Inputs.gather(job, settings))
    name, version = job.recipe_folder.name, job.version
    found = store.find(key(inputs), name, version)
    if found is not None:
        return found, store
    # One that may only be read.
    own = Store(str(place / "own"))
    return own.put(name, version, job.profile, key(inputs), inputs, payload), own


if __name__ == "__main__":
    sys.exit(main())
