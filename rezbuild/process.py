"""A build process for Rez: what is installed stays as it is until its successor is complete.

Rez's own (rezplugins/build_process/local.py) builds in the repository itself and deletes the
variant when the build or a test of it fails. This one builds and tests in a repository in the
repository, ``.rezbuild/staged``, and puts the result into place by a rename. rezconfig.py chooses
it (``default_build_process = "staged"``); packages that are not made by rezbuild go Rez's own way.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock
from rez.build_process import BuildType
from rez.config import config
from rez.package_repository import package_repository_manager
from rez.packages import get_package_from_repository
from rez.utils.filesystem import get_existing_path, make_path_writable
from rez.utils.logging_ import print_warning
from rezplugins.build_process.local import LocalBuildProcess

from rezbuild import publish

if TYPE_CHECKING:
    from rez.packages import Package, Variant

NAME = "staged"
# Set to 1, a release puts the variant in the place of the released one; `rezbuild build --replace`.
REPLACE = "REZBUILD_REPLACE"


class StagedBuildProcess(LocalBuildProcess):
    """Installs and releases variants as a whole or not at all."""

    @classmethod
    def name(cls) -> str:
        """What ``default_build_process`` and ``--process`` call it."""
        return NAME

    def _build_variant(
        self,
        variant: Variant,
        install_path: str | None = None,
        clean: bool = False,
        install: bool = False,
        **kwargs: Any,
    ) -> str | None:
        if not (install and _is_ours(self.package)):
            return super()._build_variant(variant, install_path, clean, install, **kwargs)
        repository = install_path or self.package.config.local_packages_path
        with staged(repository, self.package) as stage:
            result = super()._build_variant(variant, stage, clean, install, **kwargs)
            _into_place(variant, Path(stage), Path(repository), {})
        return result

    def _release_variant(
        self, variant: Variant, release_message: str | None = None, **kwargs: Any
    ) -> Variant | None:
        repository = self.package.config.release_packages_path
        if not _is_ours(self.package):
            return super()._release_variant(variant, release_message, **kwargs)
        there = _package(variant, Path(repository))
        if there and _same(variant, there) and os.environ.get(REPLACE) != "1":
            # Rez would build over it where package.py says something else now.
            print_warning("%s is released already: skipped", variant.qualified_name)
            return None
        with staged(repository, self.package) as stage:
            built = self._build_variant_base(
                variant, BuildType.central, install_path=stage, clean=True, install=True
            )
            folder = built["package_install_path"]
            self._run_tests(  # type: ignore[no-untyped-call]
                variant, run_on=["pre_release"], package_install_path=folder
            )
            facts = {**self.get_release_data(), "release_message": release_message}
            variant.install(stage, overrides=facts)
            return _into_place(variant, Path(stage), Path(repository), facts)

    def get_changelog(self) -> str | None:
        """What has changed in this recipe and in rezbuild: git's repository holds many packages."""
        if not (_is_ours(self.package) and self.vcs and self.vcs.name() == "git"):
            return super().get_changelog()  # type: ignore[no-any-return]
        previous = self.get_previous_release()
        commit = (previous.revision or {}).get("commit") if previous else None
        root = Path(self.vcs.vcs_root)
        shared = Path(__file__).resolve().parent
        places = [self.working_dir, *([str(shared)] if root.resolve() in shared.parents else [])]
        with self.repo_operation():
            lines = self.vcs.git(
                *("log", "-n", str(config.max_package_changelog_revisions)),
                *([f"{commit}..HEAD"] if commit else []),
                *("--", *places),
            )
        return "\n".join(map(str, lines))


@contextlib.contextmanager
def staged(repository: str, package: Package) -> Iterator[str]:
    """A repository for this package alone, in ``repository`` and so on its file system.

    Whatever is left in it afterwards is gone, and so is what a killed build left there.
    """
    # Rez takes no folder with such a name for a package.
    folder = Path(repository, publish.STAGED[0])
    with make_path_writable(get_existing_path(str(folder))):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{package.qualified_name}.staged.lock", mode=0o666)
        stage = Path(repository, *publish.STAGED) / package.qualified_name
        with lock:
            shutil.rmtree(stage, ignore_errors=True)
            stage.mkdir(parents=True)
            try:
                yield str(stage)
            finally:
                shutil.rmtree(stage, ignore_errors=True)


def _into_place(variant: Variant, stage: Path, repository: Path, facts: dict[str, Any]) -> Variant:
    """Moves the variant where it belongs: with its package.py where there is none, else alone.

    Rez's lock of a repository stays for ever when its holder is killed, so it is not taken: what is
    to be said of other variants is put together in the stage, and both arrive by a rename.
    """
    place = Path(variant.name, str(variant.version))
    there = _package(variant, repository)
    if there and there.num_variants == 1 and _same(variant, there):
        # Nothing of the old one stays, its package.py included.
        there = None
    target = repository / place
    with make_path_writable(get_existing_path(str(target))):
        if there is None:
            publish.move_into_place(stage / place, target)
        else:
            definition = Path(there.resource.filepath)
            for old in (stage / place).glob("package.*"):
                old.unlink()
            shutil.copy(definition, stage / place)
            _forget(stage)
            variant.install(str(stage), overrides=facts)
            subpath = variant._non_shortlinked_subpath or ""  # noqa: SLF001
            publish.move_into_place(stage / place / subpath, target / subpath)
            (stage / place / definition.name).replace(definition)
    # Rez's caches look at this folder's time.
    os.utime(target.parent)
    _forget(repository)
    # A build that was killed in Rez's own process left its mark.
    _repository(repository).on_variant_install_cancelled(variant.resource)
    return _same(variant, _package(variant, repository))


def _same(variant: Variant, package: Package) -> Variant | None:
    """The variant of an installed package that stands for the same requirements."""
    own = list(map(str, variant.variant_requires))
    found = (v for v in package.iter_variants() if list(map(str, v.variant_requires)) == own)
    return next(found, None)


def _package(variant: Variant, repository: Path) -> Package | None:
    return get_package_from_repository(variant.name, str(variant.version), str(repository))


def _repository(folder: Path) -> Any:
    return package_repository_manager.get_repository(str(folder))


def _forget(folder: Path) -> None:
    """Rez remembers what it has read."""
    _repository(folder).clear_caches()


def _is_ours(package: Package) -> bool:
    """Whether the hook builds it, which does not care where it is installed."""
    command = package.build_command
    return isinstance(command, list) and "rezbuild.hook" in command


def register_plugin() -> type[StagedBuildProcess]:
    """What Rez asks each plugin for."""
    return StagedBuildProcess
