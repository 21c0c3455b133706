"""The arguments of ``build`` and ``plan``, and the plan that they ask for."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rezbuild.build import toolchain
from rezbuild.catalogue import platform_years
from rezbuild.catalogue.platform_years import Platform
from rezbuild.cli.arguments import add_build_options, add_locked, add_strict, folder
from rezbuild.cli.context import find_recipes, read_settings
from rezbuild.errors import MachineError, UsageError
from rezbuild.plan import matrix, resolve
from rezbuild.plan.matrix import Plan, RequestSet
from rezbuild.plan.resolve import Target
from rezbuild.reporter import Reporter
from rezbuild.run import named_folders, progress, system_needs
from rezbuild.run.driver import Options
from rezbuild.run.plan_runner import PlanRunner, local_drivers
from rezbuild.run.progress import LineProgress
from rezbuild.settings import Settings
from rezbuild.util import extras
from rezbuild.util.glibc_version import host_glibc, number
from rezbuild.versions import fallbacks, lock_file
from rezbuild.versions.lock_file import LockedRecipes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say what to build, and how."""
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
    add_locked(parser)
    add_strict(parser)
    add_build_options(parser)
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="build on the workers of this farm, e.g. tcp://host:8786; overrides"
        " REZBUILD_SCHEDULER",
    )


@contextlib.contextmanager
def open_plan(
    arguments: argparse.Namespace, prepare: Callable[[PlanRunner], None] = lambda _: None
) -> Iterator[tuple[PlanRunner, Plan]]:
    """Yield the plan that the arguments ask for, and its runner.

    Args:
        arguments: Of ``build`` or ``plan``.
        prepare: Changes the runner before the plan is made.
    """
    if arguments.replace and not arguments.release:
        raise UsageError(
            "--replace requires --release",
            advice=["leave out --replace: a local build replaces the installed package"],
        )
    settings = read_settings(arguments)
    named_folders.require(settings)
    options = Options(
        arguments.release,
        arguments.force,
        arguments.message,
        arguments.replace,
        arguments.timeline,
    )
    folder = find_recipes(arguments)
    recipes = resolve.recipes(folder)
    known: lock_file.Years = platform_years.find(folder)
    if copy := extras.outdated_copy(folder):
        arguments.reporter.on_stderr().notice(f"notice: {copy}")
    locked = None
    if arguments.locked:
        locked = lock_file.load(arguments.locked, recipes, known)
        recipes, known = locked.recipes, locked.years
        settings = locked.with_glibc(settings)
    request_sets = _request_sets(arguments, settings, locked)
    if arguments.release:
        requests = [request for one in request_sets for request in one.requests]
        settings = with_glibc_of_year(settings, requests, known, arguments.reporter)
    targets = [request_set.target for request_set in request_sets]
    shown = _progress(arguments)
    with contextlib.ExitStack() as stack:
        with shown.planning():
            runner = stack.enter_context(_open_runner(targets, settings, options, folder, shown))
            prepare(runner)
            drivers = runner.drivers
            plan = matrix.plan(
                request_sets,
                recipes,
                known,
                lambda target: drivers[target].is_available,
                lambda target: drivers[target].repository,
            )
        if locked:
            locked.check_plan(plan.steps)
        if arguments.strict:
            fallbacks.refuse(plan.steps)
        yield runner, plan


def with_glibc_of_year(
    settings: Settings,
    requests: Sequence[str],
    known: Mapping[str, list[Platform]],
    reporter: Reporter,
) -> Settings:
    """Return settings that build a requested year for its glibc, unless a glibc is set.

    For several years, it is the oldest glibc of them.
    """
    if settings.glibc:
        return settings
    years, _ = platform_years.expand(known, list(dict.fromkeys(requests)))
    host = host_glibc()
    lowest = min((year.glibc for year in years), key=number, default=host)
    if not host or number(lowest) >= number(host):
        return settings
    reporter.notice(
        f"{' '.join(map(str, years))}: built for glibc {lowest}, the newest that the year allows;"
        f" --glibc {host} builds for the glibc of this host"
    )
    return replace(settings, glibc=lowest)


def _request_sets(
    arguments: argparse.Namespace, settings: Settings, locked: LockedRecipes | None
) -> list[RequestSet]:
    if locked:
        if arguments.matrix or arguments.requests:
            raise UsageError(
                "--locked builds the requests of its file, and no others",
                advice=["leave out the requests and --matrix, or leave out --locked"],
            )
        return [RequestSet(resolve.DEFAULT_TARGET, locked.lock.requests)]
    if bool(arguments.matrix) == bool(arguments.requests):
        raise UsageError(
            "give either requests or --matrix FILE",
            advice=[
                "name a request: rezbuild build python-3.11",
                "read docs/how-to/plan.md, which describes the file",
            ],
        )
    if arguments.matrix:
        found = matrix.load(arguments.matrix, settings, release=arguments.release)
        return matrix.only(found, arguments.host)
    if arguments.host:
        raise UsageError(
            "--host requires --matrix", advice=["leave out --host to build for this machine"]
        )
    return [RequestSet(resolve.DEFAULT_TARGET, tuple(arguments.requests))]


def _progress(arguments: argparse.Namespace) -> LineProgress:
    # With --json, standard output holds the result alone.
    is_quiet = arguments.reporter.quiet or getattr(arguments, "json", False)
    return progress.choose(quiet=is_quiet, verbose=arguments.reporter.verbose)


@contextlib.contextmanager
def _open_runner(
    targets: Sequence[Target],
    settings: Settings,
    options: Options,
    recipes: Path,
    shown: LineProgress,
) -> Iterator[PlanRunner]:
    """Yield a runner that builds on this machine, or on a farm if a scheduler is set."""
    if settings.scheduler:
        from rezbuild.farm.plan_runner import open_farm

        with open_farm(settings.scheduler, targets, recipes, settings, options, shown) as runner:
            yield runner
        return
    try:
        tools = toolchain.find(settings)
    except MachineError as error:
        raise system_needs.explain(error, settings) from None
    yield PlanRunner(targets, local_drivers(settings, tools, options, shown), shown)
