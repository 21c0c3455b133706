"""Runs a plan: each step by ``rez-build`` in its recipe's folder, so that Rez installs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import rezbuild
from rezbuild import manifest, publish, repository
from rezbuild.catalogue import Recipe, Release
from rezbuild.errors import REPORT, FetchError, RezError, from_report
from rezbuild.fetch import Fetcher
from rezbuild.graph import Step, newest
from rezbuild.repository import Installed
from rezbuild.settings import Settings, version_variable
from rezbuild.toolchain import Toolchain

Say = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """How a plan is run.

    Attributes:
        release: ``rez-release`` into the studio's repository instead of ``rez-build -i``.
        force: Builds what was asked for even where it is installed from the same inputs.
        message: For the release.
    """

    release: bool = False
    force: bool = False
    message: str = ""


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
        self.fingerprints: dict[tuple[str, str], str] = {}

    def available(self, recipe: Recipe, release: Release) -> bool:
        """Whether a version is installed as the recipe has it now, or its source can be had.

        Raises:
            ChecksumError: Its source is not the pinned one; no other version makes up for that.
        """
        if not self.options.force and self._is_current(recipe, release):
            return True
        try:
            self.fetcher.fetch(release)
        except FetchError as error:
            self.say(str(error))
            return False
        return True

    def run(self, steps: Sequence[Step]) -> None:
        """Builds what has to be built, in order.

        Raises:
            RezbuildError: A build failed; what was installed before is as it was.
        """
        self._notice_older(steps)
        for name in repository.bind_host(release=self.options.release):
            self.say(f"{name}: bound for this host, since no repository had it")
        for step in steps:
            target = self._target(step)
            publish.recover(target)
            current = repository.installed(*step.key, self.paths)
            reason = self._reason(step, current)
            if reason is None and current is not None:
                self.say(f"{step}: nothing to do, installed from the same inputs in {current.root}")
                self.fingerprints[step.key] = current.record["fingerprint"]
                continue
            self.say(f"{step}: building, {reason}")
            self._build(step, target)

    def _is_current(self, recipe: Recipe, release: Release) -> bool:
        found = repository.installed(release.name, release.version, self.paths)
        revision = manifest.recipe_revision(recipe, release)
        return found is not None and found.record.get("recipe") == revision

    def _reason(self, step: Step, current: Installed | None) -> str | None:
        """Why a step must be built; None where what is installed will do."""
        if current is None:
            return "it is not installed"
        if self.options.force and step.requested:
            return "as --force says"
        record = current.record
        # Without a word on it, the better profile will do where the faster build was meant.
        wanted = self.profile if self.settings.profile else record.get("profile", self.profile)
        if step.recipe.profiled and record.get("profile") != wanted:
            return f"what is installed is {record.get('profile')}, not {wanted}"
        if record.get("fingerprint") != self._fingerprint(step, wanted):
            return self._difference(step, record)
        return None

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

    def _target(self, step: Step) -> Path:
        return repository.variant_root(repository.target(release=self.options.release), *step.key)

    def _build(self, step: Step, target: Path) -> None:
        if self.options.release:
            # Rez never releases over an existing variant, so nothing can be lost.
            message = self.options.message or f"{step}, by rezbuild"
            self._rez(step, "release", "--no-latest", "--message", message)
        else:
            # Rez deletes what is installed when a build fails. So the build ends in its staging
            # folder first, and only what is ready and audited is installed.
            self._rez(step, "build")
            with publish.kept(target):
                self._rez(step, "build", "--install")
        record = manifest.read(target)
        if record is None:
            raise RezError(f"{step} was built, but {target} is not there")
        self.fingerprints[step.key] = record["fingerprint"]

    def _rez(self, step: Step, command: str, *arguments: str) -> None:
        with tempfile.TemporaryDirectory(prefix="rezbuild-") as folder:
            report = Path(folder, "report.json")
            # Started like this it is found however Rez was installed.
            start = f"from rez.cli._main import run; run({command!r})"
            done = subprocess.run(
                [sys.executable, "-c", start, *arguments],
                cwd=step.recipe.folder,
                env={**os.environ, **self._variables(step), REPORT: str(report)},
                check=False,
            )
            if done.returncode != 0:
                raise _failure(step, command, done.returncode, report)

    def _variables(self, step: Step) -> dict[str, str]:
        chosen = dict([step.key, *step.built_against.items()])
        variables = {version_variable(name): version for name, version in chosen.items()}
        # One folder a version and profile: Rez itself would use one for all.
        folder = f"build/{step.release.version}-{self.profile}"
        return {**variables, "REZ_BUILD_DIRECTORY": folder, "REZBUILD_PROFILE": self.profile}

    def _notice_older(self, steps: Sequence[Step]) -> None:
        for step in steps:
            best = newest(step.recipe)
            if step.requested and best.version != step.release.version:
                self.say(f"{step}: notice: {best.version} is the newest in the catalogue")


def _failure(step: Step, command: str, status: int, report: Path) -> Exception:
    try:
        return from_report(json.loads(report.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return RezError(
            f"rez-{command} of {step} ended with exit code {status}; Rez's own words are above",
            advice=[f"try it by hand: cd {step.recipe.folder} && rez-{command}"],
        )
