"""What a farm is asked for: one version of a recipe, and what it is to be built against."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rezbuild.build.recipe_api import Dependency
from rezbuild.catalogue.sources_toml import Recipe, Release
from rezbuild.errors import RezbuildError, StoreError
from rezbuild.farm.client import Job
from rezbuild.farm.messages import Order, Result
from rezbuild.farm.payload_transport import Carrier
from rezbuild.farm.remote_task import Remote
from rezbuild.farm.worker_facts import Facts
from rezbuild.farm.worker_pool import Crew
from rezbuild.payload import manifest
from rezbuild.settings import STORE_ENTRY, STORE_ENTRY_CHECKED, Settings
from rezbuild.store import Entry
from rezbuild.store import key as keys


@dataclass(frozen=True)
class Wish:
    """What is to be built.

    Attributes:
        against: The payloads that it is built against, as they are installed here.
        force: Built again, whatever stores have.
    """

    recipe: Recipe
    release: Release
    profile: str
    against: Sequence[Dependency]
    force: bool = False


def job(wish: Wish, remote: Remote, crew: Crew, carrier: Carrier, settings: Settings) -> Job:
    """The job for the farm; what comes of it is told to ``remote``.

    Raises:
        StoreError: What it is built against cannot be packed.
    """
    entries = [carrier.entry(dependency) for dependency in wish.against]
    name, version = wish.release.name, wish.release.version
    order = Order(
        id="",
        name=name,
        version=version,
        profile=wish.profile,
        revision=manifest.recipe_revision(wish.recipe, wish.release),
        dependencies=tuple(json.loads(entry.to_json()) for entry in entries),
        carry=not carrier.shared,
        force=wish.force,
        step_timeout=settings.step_timeout,
        glibc_max=settings.glibc_max,
    )

    def done(result: Result | None, error: RezbuildError | None, blobs: Sequence[bytes]) -> None:
        if result is not None and error is None:
            try:
                made = carrier.keep(name, version, result, blobs)
                _check(made[0], order, wish, crew.kind, result.worker)
                remote.made = made
            except StoreError as found:
                error = found
        remote.done(result, error)

    blobs = carrier.blobs(entries)
    return Job(
        order,
        blobs,
        remote.place,
        crew.suits,
        heard=remote.heard,
        note=remote.note,
        done=done,
    )


def _check(entry: Entry, order: Order, wish: Wish, kind: Facts, worker: str) -> None:
    """Compare what a worker has made with what was asked for.

    Raises:
        StoreError: It is something else.
    """
    wrong = list(keys.host_differences(entry.inputs, kind.machine, kind.glibc))
    profile = order.profile if wish.recipe.profiled else None
    for what, value in {"profile": profile, "recipe": order.revision}.items():
        if entry.inputs.get(what) != value:
            wrong.append(f"its {what} is {entry.inputs.get(what)}, not {value}")
    if wrong:
        raise StoreError(f"{worker} has made something else of {order}: {wrong[0]}")


def variables(remote: Remote, folder: Path) -> Mapping[str, str]:
    """Variables by which the next build of a package takes what a worker has made.

    Args:
        remote: It is done.
        folder: A private one, for a file that names the payload.
    """
    if remote.made is None:
        return {}
    entry, store = remote.made
    # Other targets of the run may be publishing the same version, built otherwise.
    file = folder / f"{entry.key}.entry.json"
    file.write_text(entry.to_json(), encoding="utf-8")
    return {"REZBUILD_STORE": store, STORE_ENTRY: str(file), STORE_ENTRY_CHECKED: "1"}
