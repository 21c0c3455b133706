"""The command ``rezbuild build``."""

from __future__ import annotations

import argparse
import shlex
import subprocess
from collections.abc import Sequence

from rezbuild.cli import plan_arguments
from rezbuild.cli.arguments import folder, words
from rezbuild.errors import ReleaseError, RezError, UsageError
from rezbuild.plan.matrix import Plan
from rezbuild.run import dry_run, release, timeline
from rezbuild.run.plan_runner import PlanRunner
from rezbuild.run.rez_process import rez_command
from rezbuild.util.terminal import printable_line
from rezbuild.versions import fallbacks

EPILOG = """\
examples:
  rezbuild build python-3.11              the newest available 3.11 and its dependencies
  rezbuild build python                   the default version
  rezbuild build openssl-3.0.20 python    python built against OpenSSL 3.0.20
  rezbuild build vfxplatform-2026         the versions of that year
  rezbuild build python --release         with rez-release, optimized
  rezbuild build openssl-3.5 python-3.11.17 --release --replace
                                          the same Python with a fixed OpenSSL
  rezbuild build --matrix years.toml      requests by profile and host
docs/how-to/plan.md describes the file and the timeline.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    plan_arguments.add_arguments(parser)
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print the plan, and check with --release that a release is possible; build nothing",
    )
    parser.add_argument("--message", default="", help="message of the release")
    parser.add_argument(
        "--run",
        metavar="COMMAND",
        type=words,
        help="run this afterwards in the Rez environment of the requests",
    )
    parser.add_argument(
        "--timeline",
        metavar="FILE",
        type=folder,
        help="write a picture of the run (SVG); default: in REZBUILD_CACHE/timelines",
    )


def run(arguments: argparse.Namespace) -> int:
    if arguments.run and arguments.matrix:
        raise UsageError(
            "--run requires requests, not --matrix",
            advice=["run the command in the environment that you want: rez-env REQUEST -- COMMAND"],
        )
    if arguments.timeline:
        timeline.check_writable(arguments.timeline)
    if arguments.dry_run:
        return _try(arguments)
    with plan_arguments.open_plan(arguments) as (runner, plan):
        if arguments.release:
            _prepare_release(runner, plan, arguments)
        if arguments.locked:
            dry_run.check_all(runner, plan.steps)
        runner.run(plan.steps)
        for target, years in plan.years.items():
            for year in years:
                runner.drivers[target].install_year(year)
    _report(plan, arguments, runner.progress.skipped())
    return 0


def _report(plan: Plan, arguments: argparse.Namespace, skipped: str) -> None:
    """Print the environments, run the command in them, and name the versions that are missing.

    Args:
        plan: The plan.
        arguments: The arguments.
        skipped: A summary, if there was nothing to do.
    """
    note = f" ({skipped})" if skipped else ""
    for target, keys in plan.asked:
        paths = f"--paths {shlex.quote(target.repository)} " if target.repository else ""
        for packages in _environments(keys):
            arguments.reporter.info(f"ready: rez-env {paths}{' '.join(packages)}{note}")
            if arguments.run:
                _run_in(packages, arguments.run)
    fallbacks.report(plan.steps, arguments.reporter)


def _try(arguments: argparse.Namespace) -> int:
    """Print the plan, and check that a release is possible.

    Raises:
        ReleaseError: Git would refuse it, or packages are released already.
    """
    with plan_arguments.open_plan(arguments, dry_run.make_dry) as (runner, plan):
        found = dry_run.examine(runner, plan.steps, runner.workers())
        for line in found.lines():
            arguments.reporter.result(printable_line(line))
        if arguments.release:
            refused = [f"{row.job}: {row.why}" for row in found.rows if row.refused]
            if refused:
                raise ReleaseError(
                    "a release is not possible: some packages cannot be built",
                    tried=refused,
                    advice=["request packages that are released already, with --replace"],
                )
            _prepare_release(runner, plan, arguments)
            arguments.reporter.result("a release is possible")
    return 0


def _prepare_release(runner: PlanRunner, plan: Plan, arguments: argparse.Namespace) -> None:
    for target, driver in runner.drivers.items():
        steps = [step for step in plan.steps if step.target == target]
        years, say = plan.years.get(target, []), arguments.reporter.notice
        release.prepare(driver, steps, years, say, dry=arguments.dry_run)


def _environments(keys: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Return the packages of each environment: of one, unless a package was asked for twice."""
    exact = [f"{name}=={version}" for name, version in keys]
    return [exact] if len({name for name, _ in keys}) == len(keys) else [[e] for e in exact]


def _run_in(packages: Sequence[str], command: Sequence[str]) -> None:
    argv = rez_command("env", *packages, "--", *command)
    status = subprocess.run(argv, check=False).returncode
    if status != 0:
        raise RezError(
            f"{shlex.join(command)} failed in rez-env {' '.join(packages)}: exit code {status}",
            advice=[f"run it by hand: rez-env {' '.join(packages)}"],
        )
