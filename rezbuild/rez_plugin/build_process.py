"""A build process for Rez that replaces an installed variant only by a complete one.

Rez's process (rezplugins/build_process/local.py) builds in the repository, and deletes the variant
if the build or a test of it fails. This process builds and tests in a staging folder, and installs
the result by a rename. rezconfig.py selects it (``default_build_process = "staged"``). Packages
that are not built by rezbuild use Rez's process.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rez.build_process import BuildType
from rez.config import config
from rez.exceptions import BuildError, ReleaseVCSError
from rez.exceptions import ReleaseError as RezReleaseError
from rez.package_repository import package_repository_manager
from rez.packages import get_package_from_repository
from rez.utils.filesystem import get_existing_path, make_path_writable
from rez.utils.logging_ import print_warning
from rezplugins.build_process.local import LocalBuildProcess

from rezbuild.catalogue import platform_years
from rezbuild.errors import REPORT, ReleaseError, RezbuildError, write_report
from rezbuild.files import disk_space
from rezbuild.reporter import Reporter
from rezbuild.repository import staging, version_control
from rezbuild.repository.version_control import Released
from rezbuild.util import processes, words

if TYPE_CHECKING:
    from rez.packages import Package, Variant


class StagedBuildProcess(LocalBuildProcess):
    """Install and release variants completely or not at all."""

    @classmethod
    def name(cls) -> str:
        """Return the name for ``default_build_process`` and ``--process``."""
        return staging.PROCESS

    def _build_variant(
        self,
        variant: Variant,
        install_path: str | None = None,
        clean: bool = False,
        install: bool = False,
        **kwargs: Any,
    ) -> str | None:
        # With --scripts, the user builds later, and Rez does not change the installed variant.
        scripts = getattr(self.build_system, "write_build_scripts", False)
        if not install or scripts or not is_ours(self.package):
            return super()._build_variant(variant, install_path, clean, install, **kwargs)
        repository = Path(install_path or self.package.config.local_packages_path)
        with _for_everyone(), _stage(repository, variant) as stage:
            # Before the build: refuse another package of the same name.
            _installed(variant, repository)
            result = super()._build_variant(variant, str(stage), clean, install, **kwargs)
            _into_place(variant, stage, repository, {}, keep=False)
        return result

    def _release_variant(
        self, variant: Variant, release_message: str | None = None, **kwargs: Any
    ) -> Variant | None:
        if not is_ours(self.package):
            return super()._release_variant(variant, release_message, **kwargs)
        repository = Path(self.package.config.release_packages_path)
        with _for_everyone(), _stage(repository, variant) as stage:
            # Under the lock: the previous holder may have released the variant.
            if _installed(variant, repository) and os.environ.get(staging.REPLACE) != "1":
                # If package.py has changed, Rez would build over the released variant.
                print_warning("%s is released already: skipped", variant.qualified_name)
                self._add_missing_tag(repository)
                return None
            built = self._build_variant_base(
                variant, BuildType.central, install_path=str(stage), clean=True, install=True
            )
            folder = built["package_install_path"]
            self._run_tests(  # type: ignore[no-untyped-call]
                variant, run_on=["pre_release"], package_install_path=folder
            )
            facts = {**self.get_release_data(), "release_message": release_message}
            variant.install(str(stage), overrides=facts)
            staging.prune(repository)
            return _into_place(variant, stage, repository, facts, keep=True)

    def pre_release(self) -> None:
        """Check the clone before the build; `rezbuild build` has checked it for all packages."""
        checked = os.environ.get(REPORT) or self.skip_repo_errors or self.vcs is None
        if _is_recipe(self.package, self.working_dir) and not checked:
            try:
                tags = [self.get_current_tag_name()]
                version_control.check(self.vcs, tags, retag=self.ignore_existing_tag)
            except RezbuildError as error:
                raise RezReleaseError(str(error)) from None
        super().pre_release()

    def post_release(self, release_message: str | None = None) -> None:
        """Create the tag; explain how to repeat that alone if it fails."""
        try:
            super().post_release(release_message)
        except ReleaseVCSError as error:
            ours = ReleaseError(
                f"{self.package.qualified_name} is released, but its tag is missing",
                tried=words.reason(error).splitlines(),
                advice=["repair the cause, then run the command again, which creates the tag"],
            )
            write_report(ours)
            raise RezReleaseError(str(ours)) from None

    def _add_missing_tag(self, repository: Path) -> None:
        found = Released.find(self.package.name, str(self.package.version), repository)
        if found and self.vcs is not None:
            with self.repo_operation():
                version_control.add_missing_tags(self.vcs, [found], print)

    def get_changelog(self) -> str | None:
        """Return the changes of this recipe and of rezbuild, not of the whole git repository."""
        git = self.vcs is not None and self.vcs.name() == "git"
        if not (git and _is_recipe(self.package, self.working_dir)):
            return super().get_changelog()  # type: ignore[no-any-return]
        previous = self.get_previous_release()
        commit = (previous.revision or {}).get("commit") if previous else None
        most = config.max_package_changelog_revisions
        shared = Path(self.vcs.vcs_root, "rezbuild")
        places = [self.working_dir, *([str(shared)] if shared.is_dir() else [])]
        lines: list[str] = []
        # repo_operation ignores errors of git if Rez is configured so.
        with self.repo_operation():
            lines = self.vcs.git(
                *("log", *(["-n", str(most)] if most else [])),
                *([f"{commit}..HEAD"] if commit else []),
                *("--", *places),
            )
        return "\n".join(lines)


@contextlib.contextmanager
def _for_everyone() -> Iterator[None]:
    """Let all users read the files that Rez creates in the block."""
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)


@contextlib.contextmanager
def _stage(repository: Path, variant: Variant) -> Iterator[Path]:
    """Give a repository for one build; turn errors into Rez's.

    Raises:
        rez.exceptions.BuildError: For other exceptions, Rez shows a traceback (rez/cli/_main.py).
    """
    package = variant.parent.qualified_name
    try:
        os.environ[processes.REZ] = str(os.getpid())
        _refuse_ignored(repository, variant)
        with _writable(repository), staging.locked(repository, package, Reporter().notice):
            _forget(repository)
            with staging.stage(repository, package) as stage:
                yield stage
    except (RezbuildError, OSError) as error:
        ours = disk_space.explain(error, [repository, Path(tempfile.gettempdir())])
        write_report(ours)
        raise BuildError(str(ours)) from None


def _refuse_ignored(repository: Path, variant: Variant) -> None:
    """Refuse a package that was hidden, which saved contexts may still use."""
    mark = repository / variant.name / f".ignore{variant.version}"
    if mark.exists():
        raise BuildError(
            f"{variant.parent.qualified_name} is ignored in {repository}: run "
            f"rez-pkg-ignore --unignore or rez-rm, and build it again"
        )


def _into_place(
    variant: Variant, stage: Path, repository: Path, facts: dict[str, Any], *, keep: bool
) -> Variant:
    """Move the variant into the repository; also its package.py if it is the only variant.

    Rez's lock of a repository is never released if its holder is killed, so it is not used.
    Instead, a package.py with all variants is written in the staging folder, and replaces the old
    one by a rename.
    """
    # Rez caches packages, but another host may have released another variant.
    _forget(repository)
    name, place = variant.parent.qualified_name, Path(variant.name, str(variant.version))
    there = _package(variant, repository)
    subpath = variant._non_shortlinked_subpath or ""  # noqa: SLF001
    with _writable(repository / place / subpath):
        if there is None or (there.num_variants <= 1 and _same(variant, there)):
            staging.put(stage / place, place, repository, name, keep=keep)
        else:
            definition = Path(there.resource.filepath)
            # In a separate folder: Rez does not read a file again that it has written
            # (rez/serialise.py, file_cache).
            both = stage / "both"
            (both / place).mkdir(parents=True)
            shutil.copy(definition, both / place)
            variant.install(str(both), overrides=facts)
            staging.put(stage / place / subpath, place / subpath, repository, name, keep=keep)
            (both / place / definition.name).replace(definition)
    # Rez's caches check the time of this folder.
    os.utime(repository / variant.name)
    _forget(repository)
    # Remove the mark that a killed build of Rez's own process leaves.
    _repository(repository).on_variant_install_cancelled(variant.resource)
    return _installed(variant, repository)


def _installed(variant: Variant, repository: Path) -> Variant | None:
    """Return the variant in a repository with the same requirements.

    Raises:
        rez.exceptions.BuildError: Another package has that name.
    """
    there = _package(variant, repository)
    if there is None:
        return None
    if there.uuid and variant.parent.uuid and there.uuid != variant.parent.uuid:
        raise BuildError(f"{there.uri} is another package of that name: the uuids differ")
    return _same(variant, there)


def _same(variant: Variant, package: Package) -> Variant | None:
    own = list(map(str, variant.variant_requires))
    found = (v for v in package.iter_variants() if list(map(str, v.variant_requires)) == own)
    return next(found, None)


def _package(variant: Variant, repository: Path) -> Package | None:
    return get_package_from_repository(variant.name, str(variant.version), str(repository))


def _repository(folder: Path) -> Any:
    return package_repository_manager.get_repository(str(folder))


def _forget(folder: Path) -> None:
    """Clear Rez's cache of a repository."""
    _repository(folder).clear_caches()


@contextlib.contextmanager
def _writable(path: Path) -> Iterator[None]:
    """Make the deepest existing folder writable in the block, if Rez is configured so."""
    there = get_existing_path(str(path)) if config.make_package_temporarily_writable else None
    with make_path_writable(there) if there else contextlib.nullcontext():
        yield


def is_ours(package: Package) -> bool:
    """Whether rezbuild builds the package: its build command works with any install path."""
    command = package.build_command
    return isinstance(command, list) and "rezbuild.rez_plugin.build_command" in command


def _is_recipe(package: Package, folder: str) -> bool:
    return is_ours(package) or Path(folder, platform_years.FILE_NAME).is_file()


def register_plugin() -> type[StagedBuildProcess]:
    """Return the class of the plugin, for Rez."""
    return StagedBuildProcess
