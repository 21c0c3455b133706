"""The command ``rezbuild plan``."""

from __future__ import annotations

import argparse

from rezbuild.cli import plan_arguments
from rezbuild.cli.arguments import folder, job_count
from rezbuild.plan.simulate import Worker
from rezbuild.run import dry_run
from rezbuild.util import json_output
from rezbuild.util.terminal import printable_line

EPILOG = """\
examples:
  rezbuild plan python-3.11
  rezbuild plan --matrix years.toml --workers 8
docs/how-to/plan.md explains the durations.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    plan_arguments.add_arguments(parser)
    parser.add_argument(
        "--workers", metavar="N", type=job_count, help="parallel builds; default: REZBUILD_JOBS"
    )
    json_output.add_option(parser)
    parser.add_argument("--svg", metavar="FILE", type=folder, help="draw the expected run")
    parser.set_defaults(message="", timeline=None)


def run(arguments: argparse.Namespace) -> int:
    with plan_arguments.open_plan(arguments, dry_run.make_dry) as (runner, plan):
        given = [Worker()] * (arguments.workers or 0)
        found = dry_run.examine(runner, plan.steps, given or runner.workers())
    if arguments.svg:
        what = str(arguments.matrix or " ".join(arguments.requests))
        title = f"rezbuild plan {what}: as expected with {found.workers} at once"
        arguments.svg.write_text(found.picture(title), encoding="utf-8")
    if arguments.json:
        arguments.reporter.result(json_output.text("rezbuild-plan", found.as_data()))
    else:
        for line in found.lines():
            arguments.reporter.result(printable_line(line))
    return 0
