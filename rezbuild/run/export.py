"""Payloads without a package manager, for a tar file, a container or another packager.

A package that Rez installs is the same tree, with Rez's own files added.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from rezbuild.build import toolchain
from rezbuild.build.inputs import Job
from rezbuild.catalogue.model import Recipe, Release
from rezbuild.errors import UsageError
from rezbuild.files import atomic_swap, ownership, temp_folders
from rezbuild.payload import manifest
from rezbuild.payload.dependency import Dependency
from rezbuild.plan.resolve import Available, Step
from rezbuild.reporter import Reporter
from rezbuild.settings import Settings, build_profile
from rezbuild.sources.fetch import Fetcher
from rezbuild.store import Store, get_or_build


def available(settings: Settings, reporter: Reporter) -> Available:
    """Return a function that tells whether the store has a version, or its source is available.

    Raises:
        MachineError: The store's library is not installed, or there is no compiler.
    """
    store = Store.of(settings, reporter.notice)
    fetcher = Fetcher(settings, reporter=reporter)
    tools = toolchain.find(settings)
    profile = build_profile(settings.profile, release=False)

    def answer(recipe: Recipe, release: Release) -> bool:
        return get_or_build.has_payload(
            store, recipe, release, profile, tools
        ) or fetcher.available(release)

    return answer


def export(
    steps: Sequence[Step], target: Path, work: Path, settings: Settings, reporter: Reporter
) -> None:
    """Build the steps in order, and copy the payload of the last one to ``target``.

    Args:
        steps: All steps, dependencies first; the last one is exported.
        target: A folder that does not exist, is empty, or holds an older payload of the package.
        work: The folder of the builds. Finished builds with the same inputs are used again.
        settings: Profile, jobs, and where to get sources.
        reporter: Prints progress.

    Raises:
        UsageError: ``target`` holds other files.
        RezbuildError: A build failed; ``target`` is unchanged.
    """
    wanted = steps[-1]
    check_target(target, wanted.release.name)
    # All users may read the payload, as after rez-build.
    os.umask(0o022)
    # Finished builds there are used as they are.
    ownership.check_folder(settings, work, levels=3)
    profile = build_profile(settings.profile, release=False)
    ready: dict[tuple[str, str], Path] = {}
    for step in steps:
        job = _job(step, ready, work, target, profile)
        with get_or_build.get_or_build(job, settings, reporter) as payload:
            ready[step.key] = payload
            if step is wanted:
                _copy_into_place(payload, target)


def check_target(target: Path, name: str) -> None:
    """Check that ``target`` holds no files of the user.

    Raises:
        UsageError: It does, or programs would not run there.
    """
    atomic_swap.check_place(target)
    if not target.exists():
        return
    if not target.is_dir():
        raise UsageError(f"{target} is not a folder", advice=["name a folder to create"])
    had = (manifest.read(target) or {}).get("name")
    if any(target.iterdir()) and had != name:
        raise UsageError(
            f"{target} is not empty, and holds no payload of {name}",
            advice=["name another folder, or empty it"],
        )


def _job(
    step: Step, ready: dict[tuple[str, str], Path], work: Path, target: Path, profile: str
) -> Job:
    against = step.built_against.items()
    return Job(
        recipe_folder=step.recipe.folder,
        version=step.release.version,
        build_path=work / step.release.name / f"{step.release.version}-{profile}",
        places=(target,),
        profile=profile,
        dependencies={n: Dependency(n, v, ready[n, v]) for n, v in against},
    )


def _copy_into_place(payload: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    # Copy to a folder beside ``target``, so that one rename puts it there.
    with temp_folders.private(target.parent, f".rezbuild-{target.name}-") as folder:
        copy = shutil.copytree(payload, folder / "payload", symlinks=True)
        atomic_swap.move_into_place(copy, target)
