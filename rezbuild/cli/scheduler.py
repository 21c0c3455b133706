"""The command ``rezbuild scheduler``."""

from __future__ import annotations

import argparse

from rezbuild.cli.arguments import port
from rezbuild.farm import daemons
from rezbuild.farm.log import LogReporter
from rezbuild.settings import Settings

EPILOG = """\
examples:
  rezbuild scheduler                      for workers of this machine
  rezbuild scheduler --host 10.0.0.5      for others; with REZBUILD_FARM_CA, _CERT, _KEY
It runs until SIGTERM or Ctrl-C. See docs/how-to/farm.md.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; default: 127.0.0.1, this machine only",
    )
    parser.add_argument("--port", type=port, default=8786, help="default: 8786; 0: any")


def run(arguments: argparse.Namespace) -> int:
    log = LogReporter(quiet=arguments.reporter.quiet)
    daemons.run_scheduler(Settings.read(), arguments.host, arguments.port, log)
    return 0
