"""The decisions for each step of a plan, and the ``rez-build`` or ``rez-release`` that follows."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rezbuild.audit import glibc
from rezbuild.build.toolchain import Toolchain
from rezbuild.catalogue.model import Recipe, Release
from rezbuild.catalogue.platform_years import Platform
from rezbuild.errors import RezError
from rezbuild.files import atomic_swap, locks, noexec, temp_folders
from rezbuild.payload import manifest
from rezbuild.plan.resolve import DEFAULT_TARGET, Step, Target
from rezbuild.repository import installed, staging
from rezbuild.repository.installed import Installed
from rezbuild.run import system_needs
from rezbuild.run.progress import LineProgress
from rezbuild.run.rez_process import LOG, RezProcesses
from rezbuild.settings import STORE_FRESH, Settings, build_profile, version_variable
from rezbuild.sources.fetch import Fetcher
from rezbuild.store import Store, get_or_build
from rezbuild.store import key as keys
from rezbuild.util.processes import RunningTask, Task, wait_or_stop


@dataclass(frozen=True)
class Options:
    """How a plan is run.

    Attributes:
        release: Run ``rez-release`` into the studio's repository instead of ``rez-build -i``.
        force: Build requested packages even if nothing has changed.
        message: The message of the release.
        replace: Replace a released package, in one step.
        timeline: The file for the picture of the run; None: a file in the cache.
    """

    release: bool = False
    force: bool = False
    message: str = ""
    replace: bool = False
    timeline: Path | None = None


class Driver:
    """Decides what to do for the steps of one target, and does it: `rezbuild.run.executor.Work`.

    Args:
        settings: The settings of the environment.
        tools: The compiler and its tools.
        options: How the plan is run.
        progress: Tells the user what happens, and why.
        target: Its profile overrides the settings. Packages of other repositories than its own
            are not used.

    Attributes:
        identities: Which build of each package is installed or will be, by name and version.
        reasons: Why each package must be built.
        profiles: The profile that each package is built with.
    """

    def __init__(
        self,
        settings: Settings,
        tools: Toolchain,
        options: Options,
        progress: LineProgress,
        target: Target = DEFAULT_TARGET,
    ) -> None:
        self.settings = replace(settings, profile=target.profile or settings.profile)
        self.tools = tools
        self.options = options
        self.progress = progress
        self.target = target
        self.fetcher = Fetcher(settings, progress.console, reporter=progress)
        self.store = Store.of(settings, progress.notice)
        release = options.release
        own = target.repository
        self.search_path = [own] if own else installed.search_path(release=release)
        self.profile = build_profile(self.settings.profile, release=release)
        self.repository = Path(own) if own else installed.target(release=release)
        self.identities: dict[tuple[str, str], str] = {}
        self.reasons: dict[tuple[str, str], str] = {}
        self.profiles: dict[tuple[str, str], str] = {}
        self.locks: dict[tuple[str, str], locks.Lock] = {}
        self._stored: dict[tuple[str, str], bool] = {}
        self.jobs = settings.jobs or installed.jobs()
        self.rez = RezProcesses(own, self.repository, release=release, jobs=self.jobs)

    def is_available(self, recipe: Recipe, release: Release) -> bool:
        """Return whether a version is installed or stored with the current recipe, or has a source.

        Raises:
            FetchError: Its source cannot be fetched.
            ChecksumError: Its source is not the pinned one. No other version may replace it.
        """
        made = not self.options.force and (
            self._is_current(recipe, release) or self.is_stored(recipe, release)
        )
        return made or self.fetcher.available(release)

    def is_stored(self, recipe: Recipe, release: Release) -> bool:
        """Return whether the store has a version, with any dependencies; ask the store once."""
        key = (release.name, release.version)
        if key not in self._stored:
            self._stored[key] = self._ask_store(recipe, release)
        return self._stored[key]

    def _ask_store(self, recipe: Recipe, release: Release) -> bool:
        return get_or_build.has_payload(self.store, recipe, release, self.profile, self.tools)

    def prepare(self, steps: Sequence[Step]) -> None:
        """Check that Rez can work in all folders, and prepare them for these steps.

        Raises:
            UsageError: The name of a folder does not allow it.
            RezError: Rez cannot make its packages for this host.
            MachineError: This machine lacks programs or libraries of a build.
        """
        self.check_machine(steps)
        # All users may read installed packages.
        os.umask(0o022)
        # Check names before starting Rez, which would run commands in them.
        for path in (self.repository, *(step.recipe.folder for step in steps)):
            atomic_swap.check_place(path)
            atomic_swap.check_for_rez(path.absolute())
        staging.tidy(self.repository, self.progress.notice)
        for name in installed.bind_host(self.repository, self.search_path):
            self.progress.info(f"{name}: created with rez-bind (no repository had it)")

    def check_machine(self, steps: Sequence[Step]) -> None:
        """Check that this machine can build the packages that are not installed yet.

        With a store, nothing is checked: it may have payloads that cannot be built here.

        Raises:
            MachineError: Something is missing, which the error lists, or programs cannot run in a
                folder of the builds.
        """
        missing = [step.release.name for step in steps if not self._target(step).is_dir()]
        if missing and self.settings.store is None:
            system_needs.require(self.settings, missing)
            folders = (
                step.recipe.folder / "build" for step in steps if step.release.name in missing
            )
            noexec.refuse(Path(tempfile.gettempdir()), *folders)

    def install_year(self, year: Platform) -> None:
        """Install or release the package of a platform year.

        Raises:
            RezError: It is released with other requests, or Rez failed.
        """
        wanted = {
            "requires": list(year.requires),
            "glibc": year.glibc,
            "draft": year.draft,
        }
        found = installed.attributes(year.name, year.version, self.search_path, list(wanted))
        if found == wanted:
            self.progress.skip(f"{year}: nothing to do, installed with the same requests")
            return
        if found and self.options.release:
            raise RezError(
                f"{year} is already released with other requests: {found['requires']}",
                advice=[
                    f"to release it again, remove it first: rez-rm -p {year} {self.repository}"
                ],
            )
        self.progress.info(f"{year}: {', '.join(year.requires)}")
        arguments = ["--install"]
        if self.options.release:
            message = self.options.message or f"{year}, by rezbuild"
            retag = ["--ignore-existing-tag"] if self.target.repository else []
            arguments = ["--no-latest", *retag, "--message", message]
        variables = {version_variable(year.name): year.version}
        with temp_folders.folder() as self.rez.folder:
            log = year.folder / "build" / LOG
            task = self.rez.start(str(year), year.folder, log, variables, arguments)
            status = wait_or_stop(task)
            if status != 0:
                raise self.rez.failure(task, year.folder, status)
        installed.forget()

    def is_done(self, step: Step) -> bool:
        """Return whether `find_done` finds a step, and report it."""
        if current := self.find_done(step):
            self.progress.skip(
                f"{step}: nothing to do, installed from the same inputs in {current.root}"
            )
        return current is not None

    def find_done(self, step: Step) -> Installed | None:
        """Return the package of a step if it has the same inputs; else note why not.

        Raises:
            AuditError: It is installed, but needs a newer glibc than allowed.
            RezError: Rez cannot read a package.
        """
        current = installed.installed(*step.key, self.search_path)
        reason, profile = self._reason(step, current)
        if reason or current is None:
            self.reasons[step.key] = reason
            self.profiles[step.key] = profile
            return None
        # The limit is no input of the build, so it may have changed since.
        what = f"{step}, installed in {current.root},"
        glibc.check_record(what, current.record, self.settings.glibc_limit)
        self.identities[step.key] = manifest.identity(current.record)
        return current

    def assume_built(self, step: Step) -> None:
        """Assume that a step will be built, for the plan of the steps that depend on it.

        A package with debug data differs after each build; see
        `rezbuild.payload.manifest.identity`.
        """
        profile = self.profiles[step.key]
        self.identities[step.key] = "" if step.recipe.debug else self._fingerprint(step, profile)

    def lock(self, step: Step) -> bool:
        """Lock a version in this repository; return whether no other run has the lock."""
        lock = staging.open_lock(self.repository, step.package, self.progress.notice)
        # Do not wait: two runs could each hold a lock that the other one waits for.
        if not lock.take():
            return False
        self.locks[step.key] = lock
        # The run that held the lock may have built the version.
        installed.forget()
        return True

    def unlock(self, step: Step) -> None:
        """Release the lock of a step, if it is held."""
        lock = self.locks.pop(step.key, None)
        if lock:
            lock.release()

    def start(self, step: Step) -> RunningTask:
        """Start the build of a step.

        Raises:
            RezError: It is released, and may not be replaced.
        """
        self.progress.info(f"{step}: building, {self.reasons[step.key]}")
        return self._begin(step, self._arguments(step), self._variables(step))

    def finish(self, step: Step, task: RunningTask, status: int) -> None:
        """Check that Rez finds the package of a finished build, with the planned inputs.

        Raises:
            RezbuildError: The build failed, or Rez does not find its package.
        """
        if status != 0:
            raise self.rez.failure(task, step.recipe.folder, status)
        self._check_installed(step, self._target(step))
        verb = "released" if self.options.release else "installed"
        self.progress.info(f"{step}: {verb}, {task.seconds:.0f} s")

    def _arguments(self, step: Step) -> list[str]:
        """Return the arguments of Rez's command.

        Raises:
            RezError: The step is released, and may not be replaced.
        """
        if not self.options.release:
            forced = self.options.force and step.requested
            return ["--install", *(["--clean"] if forced else [])]
        self.check_unreleased(step)
        target = self._target(step)
        message = self.options.message or f"{step.package}, by rezbuild"
        # Another target may have released it already, into its own repository.
        tagged = target.is_dir() or self.target.repository
        retag = ["--ignore-existing-tag"] if tagged else []
        return ["--no-latest", *retag, "--message", message]

    def _begin(
        self,
        step: Step,
        arguments: Sequence[str],
        variables: Mapping[str, str],
        *,
        after: bool = False,
    ) -> Task:
        """Start Rez for a step; ``after`` appends to the log of an earlier task."""
        log, folder = self._log(step), step.recipe.folder
        return self.rez.start(str(step), folder, log, variables, arguments, after=after)

    def _log(self, step: Step) -> Path:
        return step.recipe.folder / self._build_directory(step) / LOG

    def _build_directory(self, step: Step) -> str:
        # A folder for each version and profile: Rez itself would use one for all of them.
        return f"build/{step.release.version}-{self.profiles[step.key]}"

    def _is_current(self, recipe: Recipe, release: Release) -> bool:
        found = installed.installed(release.name, release.version, self.search_path)
        revision = manifest.recipe_revision(recipe, release)
        return found is not None and found.record.get("recipe") == revision

    def _reason(self, step: Step, current: Installed | None) -> tuple[str, str]:
        """Return why a step must be built, or "" if it need not be, and the profile."""
        profile = self.profile
        if current is None:
            return "it is not installed", profile
        record = current.record
        had = str(record.get("profile"))
        # If no profile is set, an optimized package need not be replaced by a fast one.
        if not self.settings.profile and (profile, had) == ("fast", "optimized"):
            profile = had
        if self.options.force and step.requested:
            return "--force is given", self.profile
        if step.recipe.profiled and had != profile:
            return f"the installed package is {had}, not {profile}", profile
        if record.get("fingerprint") != self._fingerprint(step, profile):
            revision = manifest.recipe_revision(step.recipe, step.release)
            return keys.describe_change(record, revision, self.tools), profile
        return "", profile

    def _fingerprint(self, step: Step, profile: str) -> str:
        against = {n: self.identities.get((n, v), "") for n, v in step.built_against.items()}
        return manifest.fingerprint(
            step.recipe, step.release, profile, self.tools.identity, against
        )

    def _target(self, step: Step) -> Path:
        return installed.variant_root(self.repository, *step.key)

    def check_unreleased(self, step: Step) -> None:
        """Check that a step may be released: a failed rez-release would delete a released package.

        Raises:
            RezError: The step is released, and may not be replaced.
        """
        target, options = self._target(step), self.options
        if options.release and target.is_dir() and not (options.replace and step.requested):
            raise RezError(
                f"{step} is already released, and must be built: {self.reasons[step.key]}",
                tried=[str(target)],
                advice=[
                    "leave it, since artists may use it",
                    "or replace it in one step once the new build has passed its tests: --replace",
                ],
            )

    def _check_installed(self, step: Step, target: Path) -> None:
        installed.forget()
        found = installed.installed(*step.key, self.search_path)
        if found is None or found.root.resolve() != target.resolve():
            where = found.root if found else "no such package"
            raise RezError(
                f"{step} was built into {target}, but Rez finds {where}",
                advice=["put that repository first in Rez's packages_path (REZ_PACKAGES_PATH)"],
            )
        self.identities[step.key] = manifest.identity(found.record)
        planned = self._fingerprint(step, self.profiles[step.key])
        if found.record.get("fingerprint") != planned:
            raise RezError(
                f"{step} was built from other inputs than planned",
                tried=[f"built against {found.record.get('built_against')}"],
                advice=["run the command again: the recipe may have changed meanwhile"],
            )

    def _variables(self, step: Step) -> dict[str, str]:
        chosen = dict([step.key, *step.built_against.items()])
        variables = {version_variable(name): version for name, version in chosen.items()}
        profile = self.profiles[step.key]
        return {
            **variables,
            "REZ_BUILD_DIRECTORY": self._build_directory(step),
            "REZBUILD_PROFILE": profile,
            staging.REPLACE: "1" if self.options.replace and step.requested else "",
            # For `rezbuild check`, the test of a release.
            "REZBUILD_RECIPES": str(step.recipe.folder.parent),
            "REZBUILD_GLIBC": self.settings.glibc or "",
            "REZBUILD_GLIBC_MAX": self.settings.glibc_max or "",
            # The build command runs in another folder, so paths must be absolute.
            "REZBUILD_CACHE": str(self.settings.cache),
            "REZBUILD_MIRRORS": shlex.join(self.settings.mirrors),
            **self._store_variables(step),
        }

    def _store_variables(self, step: Step) -> dict[str, str]:
        settings = self.settings
        # Leave out a store that failed: each build would wait for it again.
        usable = settings.store if self.store and not self.store.failure else None
        return {
            "REZBUILD_STORE": usable or "",
            "REZBUILD_STORE_SIGN": str(settings.store_sign or ""),
            "REZBUILD_STORE_TRUST": shlex.join(map(str, settings.store_trust)),
            "REZBUILD_STORE_REVOKED": str(settings.store_revoked or ""),
            STORE_FRESH: "1" if self.options.force and step.requested else "",
        }
