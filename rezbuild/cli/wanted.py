"""What ``build`` and ``plan`` share: requests or a matrix, as one plan."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rezbuild.build import toolchain
from rezbuild.catalogue import platform_years
from rezbuild.cli.arguments import folder, glibc_option, positive, recipes_option
from rezbuild.cli.context import recipes_folder, settings_of
from rezbuild.errors import MachineError, UsageError
from rezbuild.plan import matrix, resolve
from rezbuild.plan.matrix import Plan, RequestSet
from rezbuild.plan.resolve import Target
from rezbuild.reporter import Reporter
from rezbuild.run import progress, system_needs
from rezbuild.run.driver import Options
from rezbuild.run.plan_runner import PlanRunner, here
from rezbuild.settings import PROFILES, Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is to be built, and how."""
    parser.add_argument("requests", nargs="*", metavar="REQUEST", help="e.g. python-3.11")
    parser.add_argument(
        "--matrix", metavar="FILE", type=folder, help="a table of requests, profiles and hosts"
    )
    parser.add_argument(
        "--host",
        metavar="LABEL",
        action="append",
        default=[],
        help="build only this host kind of the matrix; may be repeated; default: all",
    )
    parser.add_argument(
        "--release", action="store_true", help="use rez-release instead of rez-build -i"
    )
    parser.add_argument(
        "--replace", action="store_true", help="replace a version that is already released"
    )
    parser.add_argument(
        "--force", action="store_true", help="build again even if nothing has changed"
    )
    parser.add_argument("--profile", choices=PROFILES, help="overrides REZBUILD_PROFILE")
    parser.add_argument("-j", "--jobs", type=positive, help="overrides REZBUILD_JOBS")
    glibc_option(parser)
    recipes_option(parser)
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="build on the workers of this farm, e.g. tcp://host:8786; overrides"
        " REZBUILD_SCHEDULER",
    )


@contextlib.contextmanager
def work_of(
    arguments: argparse.Namespace, prepare: Callable[[PlanRunner], None] = lambda _: None
) -> Iterator[tuple[PlanRunner, Plan]]:
    """What does the builds that were asked for, and those; ``prepare`` is called in between."""
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
    request_sets = _request_sets(arguments, settings)
    targets = [request_set.target for request_set in request_sets]
    with _plan_runner(targets, settings, options, folder, arguments.reporter) as work:
        prepare(work)
        drivers = work.drivers
        yield (
            work,
            matrix.plan(
                request_sets,
                resolve.recipes(folder),
                platform_years.find(folder),
                lambda target: drivers[target].available,
                lambda target: drivers[target].repository,
            ),
        )


def _request_sets(arguments: argparse.Namespace, settings: Settings) -> list[RequestSet]:
    """What was asked for, by requests or by a file."""
    if bool(arguments.matrix) == bool(arguments.requests):
        raise UsageError(
            "requests or --matrix FILE: one of them says what is wanted",
            advice=["rezbuild build python-3.11", "docs/how-to/plan.md describes the file"],
        )
    if arguments.matrix:
        found = matrix.load(arguments.matrix, settings, release=arguments.release)
        return matrix.only(found, arguments.host)
    if arguments.host:
        raise UsageError("--host goes with --matrix", advice=["it picks what is built of the file"])
    return [matrix.RequestSet(resolve.DEFAULT_TARGET, tuple(arguments.requests))]


@contextlib.contextmanager
def _plan_runner(
    targets: Sequence[Target],
    settings: Settings,
    options: Options,
    recipes: Path,
    reporter: Reporter,
) -> Iterator[PlanRunner]:
    """What builds in some targets: here, or on a farm where a scheduler is named."""
    shown = progress.choose(quiet=reporter.quiet, verbose=reporter.verbose)
    if not settings.scheduler:
        try:
            tools = toolchain.find(settings)
        except MachineError as error:
            raise system_needs.explain(error, settings) from None
        yield PlanRunner(targets, here(settings, tools, options, shown), shown)
        return
    from rezbuild.farm.client import Farm  # noqa: PLC0415 (not for every command)
    from rezbuild.farm.plan_runner import FarmPlanRunner, there

    with Farm(settings.scheduler, settings, shown.notice) as farm:
        yield FarmPlanRunner(targets, there(farm, recipes, settings, options, shown), shown)
