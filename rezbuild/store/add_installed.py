"""Uploads of installed packages, so that no machine has to build them again.

The record of a payload names its recipe, compiler and dependencies. If a build on this machine
would
have the same inputs today, the payload is stored as the result of that build.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.filesize import decimal

from rezbuild.audit import audit
from rezbuild.build.inputs import Inputs, Job
from rezbuild.errors import StoreError, UsageError
from rezbuild.files.pack import OF_REZ
from rezbuild.payload import manifest
from rezbuild.payload.dependency import Dependency
from rezbuild.plan import resolve
from rezbuild.repository import installed
from rezbuild.settings import Settings, build_profile
from rezbuild.store import Store
from rezbuild.store import key as keys


class Uploader:
    """Uploads installed payloads, each after its dependencies.

    Args:
        store: The store to upload to.
        recipes: The folder of all recipes.
        settings: The settings of a build.
        say: Prints progress.
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
        """Upload a payload and its dependencies.

        Args:
            what: The folder of a payload, or a Rez request, which means the newest installed
                version.

        Raises:
            UsageError: It is neither a payload nor a request.
            StoreError: Its inputs have changed, or it cannot be uploaded.
            RezbuildError: See `rezbuild.build.inputs.Inputs.gather`.
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
            advice=[f"build it, which also uploads it: rezbuild build {what}"],
        )

    def _add(self, root: Path) -> None:
        if root in self._done:
            return
        self._done.add(root)
        record = manifest.read(root) or {}
        if record.get("name") not in self._recipes:
            raise UsageError(
                f"{root} is not a payload of a recipe here",
                advice=["name the root of a variant, or a Rez request such as python-3.11"],
            )
        dependencies = self._dependencies(root, record)
        for dependency in dependencies.values():
            self._add(dependency.root)
        what = f"{record['name']}-{record['version']}"
        inputs = self._inputs(root, record, dependencies)
        _check_unchanged(root)
        key, name, version = keys.hash_inputs(inputs), record["name"], record["version"]
        had = self._store.find(key, name, version)
        entry = self._store.put(name, version, inputs["profile"], key, inputs, root)
        if self._store.find(key, name, version) is None:
            raise StoreError(
                f"{what} could not be put into the store {self._store.display_url}",
                advice=["check REZBUILD_STORE, and the permissions and the free space there"],
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
                    advice=[f"install it: rezbuild build {name}=={version}"],
                )
            found[name] = Dependency(name, version, there.root)
        return found

    def _inputs(
        self, root: Path, record: Mapping[str, Any], dependencies: Mapping[str, Dependency]
    ) -> dict[str, Any]:
        """Return the inputs that a build would have today.

        Raises:
            StoreError: The payload was built from other inputs.
        """
        profile = record.get("profile") or build_profile(None, release=False)
        folder = self._recipes[record["name"]].folder
        job = Job(folder, record["version"], Path(), (), profile, dependencies)
        gathered = Inputs.gather(job, self._settings)
        if gathered.fingerprint != record.get("fingerprint"):
            why = keys.describe_change(record, gathered.revision, gathered.tools)
            raise StoreError(
                f"{root} was built from other inputs: {why}",
                advice=["build it again, which also uploads it"],
            )
        return keys.gather_inputs(gathered)


def _check_unchanged(root: Path) -> None:
    """Check that a payload still holds the files of its build, and no others.

    Raises:
        StoreError: It was changed.
    """
    listed = {*(manifest.read_contents(root) or {}), *manifest.RECORDS}
    there = (
        p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_symlink() or p.is_file()
    )
    wrong = [f"{error.path}: {error.message}" for error in audit(root).errors]
    wrong += [f"{name} came after the build" for name in there if name not in {*listed, *OF_REZ}]
    if wrong:
        raise StoreError(
            f"{root} has changed since its build: {wrong[0]}"
            + (f", and {len(wrong) - 1} more" if wrong[1:] else ""),
            advice=["list all problems: rezbuild audit", "build it again"],
        )
