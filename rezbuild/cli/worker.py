"""The command ``rezbuild worker``."""

from __future__ import annotations

import argparse

from rezbuild.cli.arguments import label, positive, recipes_option
from rezbuild.cli.context import recipes_folder, say
from rezbuild.farm import daemons
from rezbuild.settings import Settings

EPILOG = """\
examples:
  rezbuild worker tcp://127.0.0.1:8786
  rezbuild worker tls://10.0.0.5:8786 --host 10.0.0.7 --label debian12
It has recipes, sources and a compiler of its own, as for a build by hand, and runs
until it is told to end. docs/farm.md says more.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument("scheduler", metavar="ADDRESS", help="as in tcp://host:8786")
    parser.add_argument(
        "--host", default="127.0.0.1", help="the address to listen on; default: this machine alone"
    )
    parser.add_argument("--cores", type=positive, help="jobs at once; default: all cores")
    parser.add_argument(
        "--label",
        type=label,
        default="",
        help="of this kind of host; goes before REZBUILD_HOST_LABEL",
    )
    parser.add_argument("--name", type=label, default="", help="of this worker")
    recipes_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    settings = Settings.read()
    post = daemons.Post(
        scheduler=arguments.scheduler,
        host=arguments.host,
        cores=arguments.cores or 0,
        label=arguments.label or settings.host,
        name=arguments.name,
        recipes=recipes_folder(arguments),
    )
    daemons.worker(settings, post, say)
    return 0
