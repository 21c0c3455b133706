"""Fills a store with what is installed: nobody has to build it again for that.

A payload says from which recipe, with which compiler and against what it was built. Where that is
what a build here and now would be made from, it is taken for such a build.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.filesize import decimal

from rezbuild.audit import audit
from rezbuild.build.pipeline import Inputs, Job
from rezbuild.build.recipe_api import Dependency
from rezbuild.errors import StoreError, UsageError
from rezbuild.files.pack import OF_REZ
from rezbuild.payload import manifest
from rezbuild.plan import resolve
from rezbuild.repository import installed
from rezbuild.settings import Settings, build_profile
from rezbuild.store import Store
from rezbuild.store import key as keys


class Stock:
    """Puts installed payloads into a store, each after those that it was built against.

    Args:
        store: Where to.
        recipes: The folder of all recipes.
        settings: Those of any build.
        say: Tells the user.
    """

    def __init__(
        self,
        store: Store,
        recipes: Path,
        settings: Settings,
        say: Callable[[str], None],
    ) -> None:
        self._store = store
        self._recipes = resolve.recipes(recipes)
        self._settings = settings
        self._paths = installed.search_path(release=False)
        self._say = say
        self._done: set[Path] = set()

    def add(self, what: str) -> None:
        """Puts something there with all that it was built against.

        Args:
            what: A payload's folder, or a Rez request: the newest installed version that fits.

        Raises:
            UsageError: It is neither a payload nor a request.
            StoreError: It is not installed from the inputs of today, or cannot be put there.
            RezbuildError: See `rezbuild.build.pipeline.Inputs.gather`.
        """
        root = Path(what)
        if root.is_dir():
            self._add(root.resolve())
            return
        name = resolve.requirement(what).name
        recipe = self._recipes.get(name)
        for release in resolve.versions_in(recipe, what) if recipe else ():
            found = installed.installed(name, release.version, self._paths)
            if found is not None:
                self._add(found.root)
                return
        raise StoreError(
            f"no version of {name} in {what!r} is installed",
            tried=self._paths,
            advice=[f"rezbuild build {what} puts what it builds into the store by itself"],
        )

    def _add(self, root: Path) -> None:
        if root in self._done:
            return
        self._done.add(root)
        record = manifest.read(root) or {}
        if record.get("name") not in self._recipes:
            raise UsageError(
                f"{root} is no payload of a recipe here",
                advice=["name a variant's root, or a Rez request such as python-3.11"],
            )
        dependencies = self._dependencies(root, record)
        for dependency in dependencies.values():
            self._add(dependency.root)
        what = f"{record['name']}-{record['version']}"
        inputs = self._inputs(root, record, dependencies)
        _check_unchanged(root)
        key, name, version = keys.key(inputs), record["name"], record["version"]
        had = self._store.find(key, name, version)
        entry = self._store.put(name, version, inputs["profile"], key, inputs, root)
        if self._store.find(key, name, version) is None:
            raise StoreError(
                f"{what} could not be put into the store {self._store.shown}",
                advice=["look at REZBUILD_STORE, and at the rights and the space there"],
            )
        size = decimal(entry.size + (entry.debug.size if entry.debug else 0))
        self._say(f"{what}: {'there already' if had == entry else 'added'}, {size}, from {root}")

    def _dependencies(self, root: Path, record: Mapping[str, Any]) -> dict[str, Dependency]:
        found = {}
        for name, version in (record.get("built_against") or {}).items():
            there = installed.installed(name, version, self._paths)
            if there is None:
                raise StoreError(
                    f"{root} was built against {name}-{version}, which is not installed",
                    tried=self._paths,
                )
            found[name] = Dependency(name, version, there.root)
        return found

    def _inputs(
        self, root: Path, record: Mapping[str, Any], dependencies: Mapping[str, Dependency]
    ) -> dict[str, Any]:
        """What it would be made from today.

        Raises:
            StoreError: It was made from something else.
        """
        profile = record.get("profile") or build_profile(None, release=False)
        folder = self._recipes[record["name"]].folder
        job = Job(folder, record["version"], Path(), (), profile, dependencies)
        gathered = Inputs.gather(job, self._settings)
        if gathered.fingerprint != record.get("fingerprint"):
            raise StoreError(
                f"{root} was not built from the inputs of today: {_difference(gathered, record)}",
                advice=["build it again; what is built goes into the store by itself"],
            )
        return keys.inputs_of(gathered)


def _difference(today: Inputs, record: Mapping[str, Any]) -> str:
    if record.get("recipe") != today.revision:
        return "the recipe or rezbuild has changed since"
    return today.tools.difference(record) or "what it was built against has changed since"


def _check_unchanged(root: Path) -> None:
    """Sees that a payload holds what was built, and nothing else.

    Raises:
        StoreError: It does not.
    """
    listed = {*(manifest.read_contents(root) or {}), *manifest.RECORDS}
    there = (
        p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_symlink() or p.is_file()
    )
    wrong = [f"{error.path}: {error.message}" for error in audit(root).errors]
    wrong += [f"{name} came after the build" for name in there if name not in {*listed, *OF_REZ}]
    if wrong:
        raise StoreError(
            f"{root} is not what was built: {wrong[0]}"
            + (f", and {len(wrong) - 1} more" if wrong[1:] else ""),
            advice=["rezbuild audit says all of it", "build it again"],
        )
