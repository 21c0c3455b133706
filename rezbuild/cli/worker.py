"""The command ``rezbuild worker``."""

from __future__ import annotations

import argparse

from rezbuild.cli.arguments import add_recipes, job_count, label
from rezbuild.cli.context import find_recipes
from rezbuild.farm import daemons
from rezbuild.farm.log import LogReporter
from rezbuild.run import named_folders
from rezbuild.settings import Settings

EPILOG = """\
examples:
  rezbuild worker tcp://127.0.0.1:8786
  rezbuild worker tls://10.0.0.5:8786 --host 10.0.0.7 --label debian12
The worker needs its own recipes, sources and compiler, like a build by hand. It runs
until SIGTERM or Ctrl-C; its jobs go to other workers. SIGUSR1 and "rezbuild farm drain" let
it finish its jobs first. See docs/how-to/farm.md.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("scheduler", metavar="ADDRESS", help="e.g. tcp://host:8786")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; default: 127.0.0.1, this machine only",
    )
    parser.add_argument("--cores", type=job_count, help="parallel jobs; default: all cores")
    parser.add_argument(
        "--label",
        type=label,
        default="",
        help="label of this kind of host; overrides REZBUILD_HOST_LABEL",
    )
    parser.add_argument("--name", type=label, default="", help="name of this worker")
    add_recipes(parser)


def run(arguments: argparse.Namespace) -> int:
    settings = Settings.read()
    named_folders.require(settings)
    options = daemons.WorkerOptions(
        scheduler=arguments.scheduler,
        host=arguments.host,
        cores=arguments.cores or 0,
        label=arguments.label or settings.host,
        name=arguments.name,
        recipes=find_recipes(arguments),
    )
    daemons.run_worker(settings, options, LogReporter(quiet=arguments.reporter.quiet))
    return 0
