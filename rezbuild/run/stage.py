"""Payloads without a package manager: for a tar file, a container or another packager.

What Rez installs is the same tree, with Rez's own files besides.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from rezbuild.build import toolchain
from rezbuild.build.pipeline import Job
from rezbuild.build.recipe_api import Dependency
from rezbuild.catalogue.sources_toml import Recipe, Release
from rezbuild.errors import UsageError
from rezbuild.files import atomic_swap, ownership, temp_folders
from rezbuild.payload import manifest
from rezbuild.plan.resolve import Available, Step
from rezbuild.reporter import Reporter
from rezbuild.settings import Settings, build_profile
from rezbuild.sources.fetch import Fetcher
from rezbuild.store import Store, get_or_build


def available(settings: Settings, reporter: Reporter) -> Available:
    """Whether a version can be had: a payload in the store, or its source.

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


def stage(
    steps: Sequence[Step], target: Path, work: Path, settings: Settings, reporter: Reporter
) -> None:
    """Bakes the steps in order, and puts the last one's payload at ``target``.

    Args:
        steps: What is needed first, and the one that is wanted last.
        target: A folder that is not there, is empty, or holds an older payload of that package.
        work: Where it is built. What is ready there from the same inputs is used again.
        settings: Profile, jobs and the sources' routes.
        reporter: Is told what is built.

    Raises:
        UsageError: There is something else at ``target``.
        RezbuildError: A build failed; what stood at ``target`` is as it was.
    """
    wanted = steps[-1]
    check_target(target, wanted.release.name)
    # As in the hook: what is made is for everyone.
    os.umask(0o022)
    # What is ready there is taken as it is.
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
    """Sees that nothing of the user's is at ``target``.

    Raises:
        UsageError: There is, or nothing would run there.
    """
    atomic_swap.check_place(target)
    if not target.exists():
        return
    if not target.is_dir():
        raise UsageError(f"{target} is no folder", advice=["name a folder to make"])
    had = (manifest.read(target) or {}).get("name")
    if any(target.iterdir()) and had != name:
        raise UsageError(
            f"{target} is not empty, and holds no payload of {name}",
            advice=["name another folder, or remove what is in it"],
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
    # Beside it, so that it arrives by a rename.
    with temp_folders.private(target.parent, f".rezbuild-{target.name}-") as folder:
        copy = shutil.copytree(payload, folder / "payload", symlinks=True)
        atomic_swap.move_into_place(copy, target)
