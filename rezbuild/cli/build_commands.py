"""``rezbuild build`` and ``rezbuild plan``: one plan, of requests or of a matrix."""

from __future__ import annotations

import argparse
import contextlib
import json
import shlex
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rezbuild.catalogue import platform_years
from rezbuild.cli.commands import recipes_folder, say, settings_of
from rezbuild.errors import MachineError, RezError, UsageError
from rezbuild.util.terminal import printable_line

if TYPE_CHECKING:
    from rezbuild.plan.matrix import Plan, Target
    from rezbuild.plan.resolve import Lane
    from rezbuild.run.driver import Options
    from rezbuild.run.plan_runner import Lanes
    from rezbuild.settings import Settings


def build(arguments: argparse.Namespace) -> int:
    """``rezbuild build``; the exit code, as for each of these."""
    from rezbuild.run import timeline  # noqa: PLC0415 (rez is slow to import)

    if arguments.run and arguments.matrix:
        raise UsageError("--run goes with requests", advice=["a matrix has many environments"])
    if arguments.timeline:
        timeline.check(arguments.timeline)
    with _work(arguments) as (work, wanted):
        work.run(wanted.steps)
        for lane, years in wanted.years.items():
            for year in years:
                work.drivers[lane].install(year)
    for lane, keys in wanted.asked:
        paths = f"--paths {shlex.quote(lane.repository)} " if lane.repository else ""
        for packages in _environments(keys):
            say(f"ready: rez-env {paths}{' '.join(packages)}")
            if arguments.run:
                _run_in(packages, arguments.run)
    return 0


def plan(arguments: argparse.Namespace) -> int:
    """``rezbuild plan``."""
    from rezbuild.plan.simulate import Worker  # noqa: PLC0415 (see above)
    from rezbuild.run import dry_run  # noqa: PLC0415 (rez is slow to import)

    with _work(arguments, dry_run.only_look) as (work, wanted):
        given = [Worker()] * (arguments.workers or 0)
        found = dry_run.examine(work, wanted.steps, given or work.workers())
    if arguments.svg:
        what = str(arguments.matrix or " ".join(arguments.requests))
        title = f"rezbuild plan {what}: as expected with {found.workers} at once"
        arguments.svg.write_text(found.picture(title), encoding="utf-8")
    if arguments.json:
        print(json.dumps(found.as_data(), indent=2))
    else:
        for line in found.lines():
            print(printable_line(line))
    return 0


@contextlib.contextmanager
def _work(
    arguments: argparse.Namespace, prepare: Callable[[Lanes], None] = lambda _: None
) -> Iterator[tuple[Lanes, Plan]]:
    """What does the builds that were asked for, and those; ``prepare`` is called in between."""
    from rezbuild.plan import matrix, resolve  # noqa: PLC0415 (rez is slow to import)
    from rezbuild.run.driver import Options  # noqa: PLC0415 (see above)

    if arguments.replace and not arguments.release:
        raise UsageError("--replace goes with --release", advice=["a local build replaces anyway"])
    settings = settings_of(arguments)
    options = Options(
        arguments.release,
        arguments.force,
        arguments.message,
        arguments.replace,
        arguments.timeline,
    )
    folder = recipes_folder(arguments)
    targets = _targets(arguments, settings)
    with _lanes([target.lane for target in targets], settings, options, folder) as work:
        prepare(work)
        drivers = work.drivers
        yield (
            work,
            matrix.plan(
                targets,
                resolve.recipes(folder),
                platform_years.find(folder),
                lambda lane: drivers[lane].available,
                lambda lane: drivers[lane].repository,
            ),
        )


def _targets(arguments: argparse.Namespace, settings: Settings) -> list[Target]:
    """What was asked for, by requests or by a file."""
    from rezbuild.plan import matrix, resolve  # noqa: PLC0415 (rez is slow to import)

    if bool(arguments.matrix) == bool(arguments.requests):
        raise UsageError(
            "requests or --matrix FILE: one of them says what is wanted",
            advice=["rezbuild build python-3.11", "docs/plan.md describes the file"],
        )
    if arguments.matrix:
        found = matrix.load(arguments.matrix, settings, release=arguments.release)
        return matrix.only(found, arguments.host)
    if arguments.host:
        raise UsageError("--host goes with --matrix", advice=["it picks what is built of the file"])
    return [matrix.Target(resolve.HERE, tuple(arguments.requests))]


@contextlib.contextmanager
def _lanes(
    lanes: Sequence[Lane], settings: Settings, options: Options, recipes: Path
) -> Iterator[Lanes]:
    """What builds in some lanes: here, or on a farm where a scheduler is named."""
    from rezbuild.build import toolchain  # noqa: PLC0415 (rez is slow to import)
    from rezbuild.run import progress, system_needs  # noqa: PLC0415 (rez is slow to import)
    from rezbuild.run.plan_runner import Lanes, here  # noqa: PLC0415 (see above)

    shown = progress.choose()
    if not settings.scheduler:
        try:
            tools = toolchain.find(settings)
        except MachineError as error:
            raise system_needs.explain(error, settings) from None
        yield Lanes(lanes, here(settings, tools, options, shown), shown)
        return
    from rezbuild.farm.client import Farm  # noqa: PLC0415 (not for every command)
    from rezbuild.farm.plan_runner import FarmLanes, there  # noqa: PLC0415 (see above)

    with Farm(settings.scheduler, settings, shown.say) as farm:
        yield FarmLanes(lanes, there(farm, recipes, settings, options, shown), shown)


def _environments(keys: Sequence[tuple[str, str]]) -> list[list[str]]:
    """What was asked for, in one environment, or one each where a package is there twice."""
    exact = [f"{name}=={version}" for name, version in keys]
    return [exact] if len({name for name, _ in keys}) == len(keys) else [[e] for e in exact]


def _run_in(packages: Sequence[str], command: Sequence[str]) -> None:
    from rezbuild.run.driver import rez_command  # noqa: PLC0415 (rez is slow to import)

    argv = rez_command("env", *packages, "--", *command)
    status = subprocess.run(argv, check=False).returncode
    if status != 0:
        raise RezError(
            f"{shlex.join(command)} failed in rez-env {' '.join(packages)}: exit code {status}",
            advice=[f"try it by hand: rez-env {' '.join(packages)}"],
        )
