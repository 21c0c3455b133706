"""Decides what is to be done for each step of a plan, and has ``rez-build`` do it.

That runs in the recipe's folder, so that Rez installs the package.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rezbuild.audit import glibc
from rezbuild.build.toolchain import Toolchain
from rezbuild.catalogue.platform_years import Platform
from rezbuild.catalogue.sources_toml import Recipe, Release
from rezbuild.errors import REPORT, RezbuildError, RezError, from_report
from rezbuild.files import atomic_swap, disk_space, locks, temp_folders
from rezbuild.payload import manifest
from rezbuild.plan.resolve import DEFAULT_TARGET, Step, Target
from rezbuild.repository import installed, staging
from rezbuild.repository.installed import Installed
from rezbuild.run import system_needs
from rezbuild.run.progress import Lines
from rezbuild.settings import STORE_FRESH, Settings, build_profile, version_variable
from rezbuild.sources.fetch import Fetcher
from rezbuild.store import Store, get_or_build
from rezbuild.util import jobserver
from rezbuild.util.processes import RunningTask, Task, wait_or_stop

# Rez's output, in the build folder of a version.
LOG = "rez.log"
# A Rez that outlived us could delete what the next build has installed. PR_SET_PDEATHSIG, prctl(2).
_DIE_WITH_PARENT = "import ctypes, signal; ctypes.CDLL(None).prctl(1, signal.SIGKILL); "


@dataclass(frozen=True)
class Options:
    """How a plan is run.

    Attributes:
        release: ``rez-release`` into the studio's repository instead of ``rez-build -i``.
        force: Builds what was asked for even where it is installed from the same inputs.
        message: For the release.
        replace: A release goes in the place of what is released, in one step.
        timeline: Where the picture of the run goes; None: into the cache.
    """

    release: bool = False
    force: bool = False
    message: str = ""
    replace: bool = False
    timeline: Path | None = None


class Driver:
    """Decide what is to be done for each step of a target, and do it: `rezbuild.run.executor.Work`.

    Args:
        view: Tells the user what happens and why.
        target: Its profile goes before that of the settings; of other repositories than its own
            nothing is taken.
    """

    def __init__(
        self,
        settings: Settings,
        tools: Toolchain,
        options: Options,
        view: Lines,
        target: Target = DEFAULT_TARGET,
    ) -> None:
        self.settings = replace(settings, profile=target.profile or settings.profile)
        self.tools = tools
        self.options = options
        self.view = view
        self.target = target
        self.fetcher = Fetcher(settings, reporter=view)
        self.store = Store.of(settings, view.notice)
        release = options.release
        own = target.repository
        self.paths = [own] if own else installed.search_path(release=release)
        self.profile = build_profile(self.settings.profile, release=release)
        self.repository = Path(own) if own else installed.target(release=release)
        self.identities: dict[tuple[str, str], str] = {}
        self.reasons: dict[tuple[str, str], str] = {}
        self.profiles: dict[tuple[str, str], str] = {}
        self.locks: dict[tuple[str, str], locks.Lock] = {}
        self.jobs = settings.jobs or installed.jobs()
        # For what Rez's processes are given besides; there while a plan is run.
        self.folder = Path()

    def available(self, recipe: Recipe, release: Release) -> bool:
        """Whether a version is installed or stored as the recipe has it now, or its source is here.

        Raises:
            FetchError: Its source cannot be fetched.
            ChecksumError: Its source is not the pinned one; no other version makes up for that.
        """
        made = not self.options.force and (
            self._is_current(recipe, release) or self.is_stored(recipe, release)
        )
        return made or self.fetcher.available(release)

    def is_stored(self, recipe: Recipe, release: Release) -> bool:
        """Whether the store has it, built against whatever."""
        return get_or_build.has_payload(self.store, recipe, release, self.profile, self.tools)

    def prepare(self, steps: Sequence[Step]) -> None:
        """Sees that Rez can work where it is to, before the first of these steps is done.

        Raises:
            UsageError: It cannot, because of a folder's name.
            RezError: It cannot make its packages for this host.
            MachineError: This machine lacks what a build needs.
        """
        self.check_machine(steps)
        # What Rez makes here is for everyone, whoever builds.
        os.umask(0o022)
        # Before anything of Rez is started: it would run what stands in such a name.
        for path in (self.repository, *(step.recipe.folder for step in steps)):
            atomic_swap.check_place(path)
            atomic_swap.check_for_rez(path.absolute())
        staging.tidy(self.repository, self.view.notice)
        for name in installed.bind_host(self.repository, self.paths):
            self.view.info(f"{name}: bound for this host, since no repository had it")

    def check_machine(self, steps: Sequence[Step]) -> None:
        """Check that this machine has what it takes to build what is not installed yet.

        A store may bring a payload whose build is not possible here.

        Raises:
            MachineError: It names all that is missing.
        """
        lacking = [step.release.name for step in steps if not self._target(step).is_dir()]
        if lacking and self.settings.store is None:
            system_needs.require(self.settings, lacking)

    def install(self, platform: Platform) -> None:
        """Installs or releases a package of requests.

        Raises:
            RezError: It is released already, with other requests; or Rez failed.
        """
        wanted = {
            "requires": list(platform.requires),
            "glibc": platform.glibc,
            "draft": platform.draft,
        }
        found = installed.attributes(platform.name, platform.version, self.paths, list(wanted))
        if found == wanted:
            self.view.info(f"{platform}: nothing to do, installed with the same requests")
            return
        if found and self.options.release:
            raise RezError(
                f"{platform} is released already, with other requests: {found['requires']}",
                advice=[
                    f"to release it anew, remove it first: rez-rm -p {platform} {self.repository}"
                ],
            )
        self.view.info(f"{platform}: {', '.join(platform.requires)}")
        arguments = ["--install"]
        if self.options.release:
            message = self.options.message or f"{platform}, by rezbuild"
            again = ["--ignore-existing-tag"] if self.target.repository else []
            arguments = ["--no-latest", *again, "--message", message]
        variables = {version_variable(platform.name): platform.version}
        with self._scratch():
            log = platform.folder / "build" / LOG
            task = self._rez(str(platform), platform.folder, log, variables, *arguments)
            status = wait_or_stop(task)
            if status != 0:
                raise self._failure(task, platform.folder, status)
        installed.forget()

    def is_done(self, step: Step) -> bool:
        """Whether it is installed from the same inputs; else why not is known then.

        Raises:
            AuditError: It is, and needs a newer glibc than it may.
            RezError: Rez cannot read a package.
        """
        current = installed.installed(*step.key, self.paths)
        reason, profile = self._reason(step, current)
        if reason or current is None:
            self.reasons[step.key] = reason
            self.profiles[step.key] = profile
            return False
        # No input of the build, so it may have changed since.
        what = f"{step}, installed in {current.root},"
        glibc.check_record(what, current.record, self.settings.glibc_max)
        self.view.info(f"{step}: nothing to do, installed from the same inputs in {current.root}")
        self.identities[step.key] = manifest.identity(current.record)
        return True

    def assume(self, step: Step) -> None:
        """Takes it that a step will be built, for those that are built against it.

        What has debug data is another one each time; see `rezbuild.payload.manifest.identity`.
        """
        profile = self.profiles[step.key]
        self.identities[step.key] = "" if step.recipe.debug else self._fingerprint(step, profile)

    def lock(self, step: Step) -> bool:
        """Sees that nobody else builds this version into this repository; whether nobody does."""
        lock = staging.open_lock(self.repository, step.package, self.view.notice)
        # Not waited for: two runs could have what the other one waits for.
        if not lock.take():
            return False
        self.locks[step.key] = lock
        # Whoever held the lock may have built it.
        installed.forget()
        return True

    def unlock(self, step: Step) -> None:
        """Lets others build it, if they were kept from it."""
        lock = self.locks.pop(step.key, None)
        if lock:
            lock.release()

    def start(self, step: Step) -> RunningTask:
        """Has Rez begin to build it.

        Raises:
            RezError: It is released already, and may not be replaced.
        """
        self.view.info(f"{step}: building, {self.reasons[step.key]}")
        return self._begin(step, self._arguments(step), self._variables(step))

    def finish(self, step: Step, task: RunningTask, status: int) -> None:
        """Sees that what has been built is what Rez will find, from the inputs that were meant.

        Raises:
            RezbuildError: It is not, or the build failed.
        """
        if status != 0:
            raise self._failure(task, step.recipe.folder, status)
        self._check_installed(step, self._target(step))
        verb = "released" if self.options.release else "installed"
        self.view.info(f"{step}: {verb}, {task.seconds:.0f} s")

    def _arguments(self, step: Step) -> list[str]:
        """What Rez's command is told.

        Raises:
            RezError: It is released already, and may not be replaced.
        """
        if not self.options.release:
            forced = self.options.force and step.requested
            return ["--install", *(["--clean"] if forced else [])]
        target = self._target(step)
        if not (self.options.replace and step.requested):
            self._refuse_released(step, target)
        message = self.options.message or f"{step.package}, by rezbuild"
        # Another target may have released it already, into its own repository.
        tagged = target.is_dir() or self.target.repository
        again = ["--ignore-existing-tag"] if tagged else []
        return ["--no-latest", *again, "--message", message]

    def _begin(
        self,
        step: Step,
        arguments: Sequence[str],
        variables: Mapping[str, str],
        *,
        after: bool = False,
    ) -> Task:
        """Starts Rez for a step; ``after``: its log goes on where that of another task ended."""
        log = self._log(step)
        return self._rez(str(step), step.recipe.folder, log, variables, *arguments, after=after)

    def _log(self, step: Step) -> Path:
        return step.recipe.folder / self._build_directory(step) / LOG

    def _build_directory(self, step: Step) -> str:
        # One folder a version and profile: Rez itself would use one for all.
        return f"build/{step.release.version}-{self.profiles[step.key]}"

    def _is_current(self, recipe: Recipe, release: Release) -> bool:
        found = installed.installed(release.name, release.version, self.paths)
        revision = manifest.recipe_revision(recipe, release)
        return found is not None and found.record.get("recipe") == revision

    def _reason(self, step: Step, current: Installed | None) -> tuple[str, str]:
        """Why a step must be built ("" where what is installed will do), and in which profile."""
        profile = self.profile
        if current is None:
            return "it is not installed", profile
        record = current.record
        had = str(record.get("profile"))
        # Without a word on it, the better profile will do where the faster build was meant.
        if not self.settings.profile and (profile, had) == ("fast", "optimized"):
            profile = had
        if self.options.force and step.requested:
            return "as --force says", self.profile
        if step.recipe.profiled and had != profile:
            return f"what is installed is {had}, not {profile}", profile
        if record.get("fingerprint") != self._fingerprint(step, profile):
            return self._difference(step, record), profile
        return "", profile

    def _difference(self, step: Step, record: Mapping[str, object]) -> str:
        if record.get("recipe") != manifest.recipe_revision(step.recipe, step.release):
            return "the recipe or rezbuild has changed since"
        other = self.tools.difference(record)
        if other:
            return other
        return "what it is built against has changed since"

    def _fingerprint(self, step: Step, profile: str) -> str:
        against = {n: self.identities.get((n, v), "") for n, v in step.built_against.items()}
        return manifest.fingerprint(
            step.recipe, step.release, profile, self.tools.identity, against
        )

    def _target(self, step: Step) -> Path:
        return installed.variant_root(self.repository, *step.key)

    def _refuse_released(self, step: Step, target: Path) -> None:
        """Rez would release over it where the package differs, and delete it when that fails."""
        if target.is_dir():
            raise RezError(
                f"{step} is released already, and is to be built: {self.reasons[step.key]}",
                tried=[str(target)],
                advice=[
                    "a released package is not replaced: artists may be using it",
                    "--replace puts the new one in its place, once it has passed its tests",
                ],
            )

    def _check_installed(self, step: Step, target: Path) -> None:
        installed.forget()
        found = installed.installed(*step.key, self.paths)
        if found is None or found.root.resolve() != target.resolve():
            where = found.root if found else "nowhere"
            raise RezError(
                f"{step} was built into {target}, but Rez finds it {where}",
                advice=["put that repository first in Rez's packages_path (REZ_PACKAGES_PATH)"],
            )
        self.identities[step.key] = manifest.identity(found.record)
        planned = self._fingerprint(step, self.profiles[step.key])
        if found.record.get("fingerprint") != planned:
            raise RezError(
                f"{step} was built from other inputs than planned",
                tried=[f"built against {found.record.get('built_against')}"],
                advice=["the recipe may have changed meanwhile: run it again"],
            )

    @contextlib.contextmanager
    def _scratch(self) -> Iterator[None]:
        with temp_folders.folder() as self.folder:
            yield

    def _rez(
        self,
        what: str,
        recipe: Path,
        log: Path,
        variables: Mapping[str, str],
        *arguments: str,
        after: bool = False,
    ) -> Task:
        """Starts ``rez-build``, or ``rez-release``."""
        # Unbuffered, so that the log has it in its order.
        argv = rez_command(self._command, "--process", staging.PROCESS, *arguments, python=("-u",))
        env = {
            **os.environ,
            **installed.environment(self.target.repository, release=self.options.release),
            **variables,
            REPORT: str(self._report(what)),
            jobserver.VARIABLE: str(jobserver.path(self.folder)),
            "REZBUILD_JOBS": str(self.jobs),
            # A Rez that is told to end takes its whole process group along otherwise: the others
            # and this process (rez/cli/_util.py, sigbase_handler).
            "_REZ_NO_KILLPG": "1",
        }
        return Task(what, argv, recipe, env, log, after=after)

    @property
    def _command(self) -> str:
        return "release" if self.options.release else "build"

    def _report(self, what: str) -> Path:
        return self.folder / f"{what}.json"

    def _failure(self, task: RunningTask, recipe: Path, status: int) -> RezbuildError:
        """What a build has to say of its failure, or Rez."""
        where = f"all of rez-{self._command}'s output: {task.log}"
        try:
            text = self._report(task.name).read_text(encoding="utf-8")
            error = from_report(json.loads(text))
        except (OSError, ValueError):
            ended = f"rez-{self._command} of {task.name} ended with exit code {status}"
            lines = "\n".join(f"    {line}" for line in task.tail())
            by_hand = f"try it by hand: cd {recipe} && rez-{self._command}"
            places = [task.log.parent, self.folder, self.repository]
            return disk_space.explained(
                RezError(f"{ended}. Its last lines:\n{lines}", advice=[where, by_hand]), places
            )
        error.advice += (where,)
        return error

    def _variables(self, step: Step) -> dict[str, str]:
        chosen = dict([step.key, *step.built_against.items()])
        variables = {version_variable(name): version for name, version in chosen.items()}
        profile = self.profiles[step.key]
        return {
            **variables,
            "REZ_BUILD_DIRECTORY": self._build_directory(step),
            "REZBUILD_PROFILE": profile,
            staging.REPLACE: "1" if self.options.replace and step.requested else "",
            # For the gate of a release, which is `rezbuild check`.
            "REZBUILD_RECIPES": str(step.recipe.folder.parent),
            "REZBUILD_GLIBC_MAX": self.settings.glibc_max or "",
            # The hook runs in another folder, where relative ones would be others.
            "REZBUILD_CACHE": str(self.settings.cache),
            "REZBUILD_MIRRORS": shlex.join(self.settings.mirrors),
            **self._store_variables(step),
        }

    def _store_variables(self, step: Step) -> dict[str, str]:
        settings = self.settings
        # Each build would wait anew for one that cannot be used.
        usable = settings.store if self.store and not self.store.failure else None
        return {
            "REZBUILD_STORE": usable or "",
            "REZBUILD_STORE_SIGN": str(settings.store_sign or ""),
            "REZBUILD_STORE_TRUST": shlex.join(map(str, settings.store_trust)),
            "REZBUILD_STORE_REVOKED": str(settings.store_revoked or ""),
            STORE_FRESH: "1" if self.options.force and step.requested else "",
        }


def rez_command(command: str, *arguments: str, python: Sequence[str] = ()) -> list[str]:
    """``rez-<command>`` as an argument list; like this it is found however Rez was installed.

    Args:
        command: Of Rez.
        arguments: Its arguments.
        python: Options for the interpreter.
    """
    start = f"{_DIE_WITH_PARENT}from rez.cli._main import run; run({command!r})"
    return [sys.executable, *python, "-c", start, *arguments]
