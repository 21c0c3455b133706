"""Checks before the first build of a release, and the tags that earlier releases lack."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from rez.config import config
from rez.utils.filesystem import get_existing_path, make_path_writable
from rich.filesize import decimal

from rezbuild.catalogue.platform_years import Platform
from rezbuild.errors import MachineError, ReleaseError
from rezbuild.files import disk_space
from rezbuild.plan.resolve import Step
from rezbuild.repository import installed, version_control
from rezbuild.repository.version_control import Released
from rezbuild.run.driver import Driver

# Bytes: a round number. The payload of a Python has 0.1 GB; its objects and debug data need more.
_LEAST_SPACE = 10**9


def prepare(
    driver: Driver,
    steps: Sequence[Step],
    years: Sequence[Platform],
    say: Callable[[str], None],
    *,
    dry: bool = False,
) -> None:
    """Check that a release will succeed, and add the tags that earlier releases lack.

    Args:
        driver: The driver of the target.
        steps: The steps of the target.
        years: The packages of platform years, which are released too.
        say: Prints a line about each missing tag.
        dry: Add no tags.

    Raises:
        ReleaseError: The clone is not ready, or a tag cannot be added.
        MachineError: The repository cannot be written, or a disk is nearly full.
    """
    folders = {step.key: step.recipe.folder for step in steps}
    folders |= {(year.name, year.version): year.folder for year in years}
    replaced = {step.key for step in steps if step.requested and driver.options.replace}
    new: dict[Path, list[tuple[str, str]]] = {}
    old: dict[Path, list[Released]] = {}
    for key, folder in folders.items():
        if key in replaced or not installed.attributes(*key, driver.search_path, ["name"]):
            new.setdefault(folder, []).append(key)
        elif released := Released.find(*key, driver.repository):
            old.setdefault(folder, []).append(released)
    _check_clones(driver, new)
    if new:
        check_folders([driver.repository, *new])
    for folder, packages in old.items():
        try:
            clone = version_control.open_clone(folder)
        except ReleaseError as error:
            # Nothing is released now, so the folder need not be a clone.
            say(f"notice: the tags of releases are not checked: {error.message}")
            continue
        version_control.add_missing_tags(clone, packages, say, dry=dry)


def _check_clones(driver: Driver, new: dict[Path, list[tuple[str, str]]]) -> None:
    """Check each clone once: most often, all recipes are in the same one."""
    clones = {}
    tags: dict[str, list[str]] = {}
    for folder, keys in new.items():
        clone = version_control.open_clone(folder)
        clones[clone.vcs_root] = clone
        found = (version_control.tag_of(clone, *key) for key in keys)
        tags.setdefault(clone.vcs_root, []).extend(tag for tag in found if tag)
    retag = bool(driver.target.repository or driver.options.replace)
    for root, clone in clones.items():
        version_control.check(clone, tags[root], retag=retag)


def check_folders(folders: Sequence[Path]) -> None:
    """Check that folders, or the nearest existing ones above, can be written and have space.

    Raises:
        MachineError: One cannot be written, or has less than a gigabyte left.
    """
    for folder in dict.fromkeys(folders):
        there = get_existing_path(str(folder)) or "/"
        temporarily = config.make_package_temporarily_writable
        try:
            with make_path_writable(there) if temporarily else contextlib.nullcontext():
                tempfile.TemporaryFile(dir=there).close()
        except OSError as error:
            raise MachineError(
                f"{folder} cannot be written: {error.strerror}",
                advice=["check the permissions of the folder, and how it is mounted"],
            ) from None
        free = disk_space.free_bytes(folder)
        if free < _LEAST_SPACE:
            raise MachineError(
                f"{folder} has {decimal(free)} of free space, and a release needs"
                f" {decimal(_LEAST_SPACE)}",
                advice=["free some space there, then run it again"],
            )
