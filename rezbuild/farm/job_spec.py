"""The request for one build on a farm: a version of a recipe, and its dependencies."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rezbuild.catalogue.model import Recipe, Release
from rezbuild.errors import RezbuildError, StoreError
from rezbuild.farm.job_runner import FarmJob
from rezbuild.farm.messages import Order, Result
from rezbuild.farm.payload_transport import PayloadTransport
from rezbuild.farm.remote_task import RemoteTask
from rezbuild.farm.worker_facts import Facts
from rezbuild.farm.worker_pool import WorkerPool
from rezbuild.payload import manifest
from rezbuild.payload.dependency import Dependency
from rezbuild.settings import STORE_ENTRY, STORE_ENTRY_CHECKED, Settings
from rezbuild.store import Entry
from rezbuild.store import key as keys


@dataclass(frozen=True)
class JobSpec:
    """The request for a build.

    Attributes:
        against: The dependencies, as they are installed here.
        force: Build again, even if a store has the payload.
    """

    recipe: Recipe
    release: Release
    profile: str
    against: Sequence[Dependency]
    force: bool = False


def make_job(
    spec: JobSpec,
    remote: RemoteTask,
    pool: WorkerPool,
    transport: PayloadTransport,
    settings: Settings,
) -> FarmJob:
    """Make the job for the farm; its events and result go to ``remote``.

    Raises:
        StoreError: A dependency cannot be packed.
    """
    entries = [transport.entry(dependency) for dependency in spec.against]
    name, version = spec.release.name, spec.release.version
    order = Order(
        id="",
        name=name,
        version=version,
        profile=spec.profile,
        revision=manifest.recipe_revision(spec.recipe, spec.release),
        dependencies=tuple(json.loads(entry.to_json()) for entry in entries),
        return_payload=not transport.shared,
        force=spec.force,
        step_timeout=settings.step_timeout,
        glibc=settings.glibc,
        glibc_max=settings.glibc_max,
    )

    def done(result: Result | None, error: RezbuildError | None, blobs: Sequence[bytes]) -> None:
        if result is not None and error is None:
            try:
                made = transport.receive(name, version, result, blobs)
                _check(made[0], order, spec, pool.kind, result.worker)
                remote.made = made
            except StoreError as found:
                error = found
        remote.on_done(result, error)

    blobs = transport.readers(entries)
    return FarmJob(
        order,
        blobs,
        remote.place,
        pool.accepts,
        on_event=remote.on_event,
        on_note=remote.on_note,
        on_done=done,
    )


def _check(entry: Entry, order: Order, spec: JobSpec, kind: Facts, worker: str) -> None:
    """Compare a worker's payload with the request.

    Raises:
        StoreError: It differs.
    """
    wrong = list(keys.host_differences(entry.inputs, kind.machine, kind.glibc))
    profile = order.profile if spec.recipe.profiled else None
    for what, value in {"profile": profile, "recipe": order.revision}.items():
        if entry.inputs.get(what) != value:
            wrong.append(f"its {what} is {entry.inputs.get(what)}, not {value}")
    if wrong:
        raise StoreError(f"{worker} has built something else than {order}: {wrong[0]}")


def publish_variables(remote: RemoteTask, folder: Path) -> Mapping[str, str]:
    """Return variables by which the next build of a package takes the payload of a worker.

    Args:
        remote: A finished task.
        folder: A private folder, for a file that names the payload.
    """
    if remote.made is None:
        return {}
    entry, store = remote.made
    # Other targets of the run may publish another build of the same version.
    file = folder / f"{entry.key}.entry.json"
    file.write_text(entry.to_json(), encoding="utf-8")
    return {"REZBUILD_STORE": store, STORE_ENTRY: str(file), STORE_ENTRY_CHECKED: "1"}
