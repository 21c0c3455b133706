"""Runs a plan: each step by ``rez-build`` in its recipe's folder, so that Rez installs it."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from filelock import FileLock

import rezbuild
from rezbuild import manifest, repository, staged
from rezbuild.audit import glibc
from rezbuild.catalogue import Recipe, Release
from rezbuild.errors import REPORT, RezError, from_report
from rezbuild.fetch import Fetcher
from rezbuild.graph import Step, newest
from rezbuild.platforms import Platform
from rezbuild.process import NAME, REPLACE
from rezbuild.repository import Installed
from rezbuild.settings import Settings, version_variable
from rezbuild.toolchain import Toolchain

Say = Callable[[str], None]

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
    """

    release: bool = False
    force: bool = False
    message: str = ""
    replace: bool = False


class Driver:
    """Decides what is to be done for each step, and does it.

    Args:
        say: Takes the lines that tell the user what happens and why.
    """

    def __init__(self, settings: Settings, tools: Toolchain, options: Options, say: Say) -> None:
        self.settings = settings
        self.tools = tools
        self.options = options
        self.say = say
        self.fetcher = Fetcher(settings)
        self.paths = repository.search_path(release=options.release)
        self.profile = rezbuild.profile(settings.profile, central=options.release)
        self.repository = repository.target(release=options.release)
        self.fingerprints: dict[tuple[str, str], str] = {}
        self.reasons: dict[tuple[str, str], str] = {}
        self.profiles: dict[tuple[str, str], str] = {}

    def available(self, recipe: Recipe, release: Release) -> bool:
        """Whether a version is installed as the recipe has it now, or its source can be had.

        Raises:
            ChecksumError: Its source is not the pinned one; no other version makes up for that.
        """
        current = not self.options.force and self._is_current(recipe, release)
        return current or self.fetcher.available(release, self.say)

    def run(self, steps: Sequence[Step]) -> None:
        """Builds what has to be built, in order.

        Raises:
            RezbuildError: A build failed; what was installed before is as it was.
        """
        # What Rez makes here is for everyone, whoever builds.
        os.umask(0o022)
        self._notice_older(steps)
        for name in repository.bind_host(release=self.options.release):
            self.say(f"{name}: bound for this host, since no repository had it")
        for step in steps:
            target = repository.variant_root(self.repository, *step.key)
            if self._is_done(step):
                continue
            with self._alone(step):
                # Whoever held the lock may have built it.
                repository.forget()
                if not self._is_done(step):
                    self._build(step, target)

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
        found = repository.attributes(platform.name, platform.version, self.paths, list(wanted))
        if found == wanted:
            self.say(f"{platform}: nothing to do, installed with the same requests")
            return
        if found and self.options.release:
            raise RezError(
                f"{platform} is released already, with other requests: {found['requires']}",
                advice=[
                    f"to release it anew, remove it first: rez-rm -p {platform} {self.repository}"
                ],
            )
        variables = {version_variable(platform.name): platform.version}
        self.say(f"{platform}: {', '.join(platform.requires)}")
        if self.options.release:
            message = self.options.message or f"{platform}, by rezbuild"
            release = ("release", "--no-latest", "--message", message)
            self._rez(str(platform), platform.folder, variables, *release)
        else:
            self._rez(str(platform), platform.folder, variables, "build", "--install")
        repository.forget()

    def _is_done(self, step: Step) -> bool:
        current = repository.installed(*step.key, self.paths)
        reason, profile = self._reason(step, current)
        if reason or current is None:
            self.reasons[step.key] = reason
            self.profiles[step.key] = profile
            return False
        # No input of the build, so it may have changed since.
        what = f"{step}, installed in {current.root},"
        glibc.check_record(what, current.record, self.settings.glibc_max)
        self.say(f"{step}: nothing to do, installed from the same inputs in {current.root}")
        self.fingerprints[step.key] = current.record["fingerprint"]
        return True

    @contextlib.contextmanager
    def _alone(self, step: Step) -> Iterator[None]:
        """Two builds of one version into one repository wait for each other."""
        folder = staged.share(self.repository / staged.FOLDER, self.repository)
        with FileLock(folder / f"{step}.lock", mode=0o666):
            yield

    def _is_current(self, recipe: Recipe, release: Release) -> bool:
        found = repository.installed(release.name, release.version, self.paths)
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
        if record.get("compiler") != self.tools.description:
            return f"it was built with another compiler ({record.get('compiler')})"
        return "what it is built against has changed since"

    def _fingerprint(self, step: Step, profile: str) -> str:
        against = {n: self.fingerprints.get((n, v), "") for n, v in step.built_against.items()}
        return manifest.fingerprint(
            step.recipe, step.release, profile, self.tools.description, against
        )

    def _build(self, step: Step, target: Path) -> None:
        command: tuple[str, ...]
        self.say(f"{step}: building, {self.reasons[step.key]}")
        if self.options.release:
            if not (self.options.replace and step.requested):
                self._refuse_released(step, target)
            message = self.options.message or f"{step}, by rezbuild"
            again = ["--ignore-existing-tag"] if target.is_dir() else []
            command = ("release", "--no-latest", *again, "--message", message)
        else:
            forced = self.options.force and step.requested
            command = ("build", "--install", *(["--clean"] if forced else []))
        self._rez(str(step), step.recipe.folder, self._variables(step), *command)
        self._check_installed(step, target)

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
        """What has been built is what Rez will find, from the inputs that were meant."""
        repository.forget()
        found = repository.installed(*step.key, self.paths)
        if found is None or found.root.resolve() != target.resolve():
            where = found.root if found else "nowhere"
            raise RezError(
                f"{step} was built into {target}, but Rez finds it {where}",
                advice=["put that repository first in Rez's packages_path (REZ_PACKAGES_PATH)"],
            )
        self.fingerprints[step.key] = str(found.record.get("fingerprint"))
        if self.fingerprints[step.key] != self._fingerprint(step, self.profiles[step.key]):
            raise RezError(
                f"{step} was built from other inputs than planned",
                tried=[f"built against {found.record.get('built_against')}"],
                advice=["the recipe may have changed meanwhile: run it again"],
            )

    def _rez(
        self, what: str, recipe: Path, variables: Mapping[str, str], command: str, *arguments: str
    ) -> None:
        with tempfile.TemporaryDirectory(prefix="rezbuild-") as folder:
            report = Path(folder, "report.json")
            env = {**os.environ, **variables, REPORT: str(report)}
            argv = rez_command(command, "--process", NAME, *arguments)
            status = _wait(subprocess.Popen(argv, cwd=recipe, env=env))
            if status != 0:
                raise _failure(what, recipe, command, status, report)

    def _variables(self, step: Step) -> dict[str, str]:
        chosen = dict([step.key, *step.built_against.items()])
        variables = {version_variable(name): version for name, version in chosen.items()}
        profile = self.profiles[step.key]
        return {
            **variables,
            # One folder a version and profile: Rez itself would use one for all.
            "REZ_BUILD_DIRECTORY": f"build/{step.release.version}-{profile}",
            "REZBUILD_PROFILE": profile,
            REPLACE: "1" if self.options.replace and step.requested else "",
            # For the gate of a release, which is `rezbuild check`.
            "REZBUILD_RECIPES": str(step.recipe.folder.parent),
            "REZBUILD_GLIBC_MAX": self.settings.glibc_max or "",
            # The hook runs in another folder, where relative ones would be others.
            "REZBUILD_CACHE": str(self.settings.cache),
            "REZBUILD_MIRRORS": shlex.join(self.settings.mirrors),
        }

    def _notice_older(self, steps: Sequence[Step]) -> None:
        for step in steps:
            if not step.requested:
                continue
            series = ".".join(step.release.version.split(".")[:2])
            for kind, best in (
                (f" {series}", newest(step.recipe, series)),
                ("", newest(step.recipe)),
            ):
                if best.version != step.release.version:
                    self.say(f"{step}: notice: {best.version} is the newest{kind} in the catalogue")


def _wait(process: subprocess.Popen[bytes]) -> int:
    """The exit code; who is interrupted meanwhile takes Rez along, and all that Rez has started."""
    try:
        return process.wait()
    except BaseException:
        for pid in (*_descendants(process.pid), process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        raise


def _descendants(pid: int) -> list[int]:
    """The processes below one, from the fourth field of /proc/<pid>/stat, proc(5)."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name in parentheses may hold anything.
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for parent in found:
        found += [child for child, above in parents.items() if above == parent]
    return found[1:]


def rez_command(command: str, *arguments: str) -> list[str]:
    """``rez-<command>`` as an argument list; like this it is found however Rez was installed."""
    start = f"{_DIE_WITH_PARENT}from rez.cli._main import run; run({command!r})"
    return [sys.executable, "-c", start, *arguments]


def _failure(what: str, recipe: Path, command: str, status: int, report: Path) -> Exception:
    try:
        return from_report(json.loads(report.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return RezError(
            f"rez-{command} of {what} ended with exit code {status}; Rez's own words are above",
            advice=[f"try it by hand: cd {recipe} && rez-{command}"],
        )
