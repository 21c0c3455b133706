"""The command ``rezbuild reproduce``."""

from __future__ import annotations

import argparse

from rezbuild.cli.arguments import add_jobs, add_recipes, folder
from rezbuild.cli.context import find_recipes, read_settings
from rezbuild.errors import CheckError
from rezbuild.reporter import Reporter
from rezbuild.settings import PROFILES
from rezbuild.util import json_output
from rezbuild.util.terminal import printable_line
from rezbuild.verify import reproduce

EPILOG = """\
examples:
  rezbuild reproduce zlib                  compare the installed build with a second one
  rezbuild reproduce python-3.11 --keep DIR    keep both payloads and all logs
The second build has another folder, user, umask, locale, time zone, home, host name and
number of jobs, and no ccache. Exit code 12 when a file is not the same.
docs/explanation/reproducible.md explains the comparison.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("request", metavar="REQUEST", help="e.g. python-3.11")
    parser.add_argument(
        "--profile", choices=PROFILES, help="default: the profile of the installed package"
    )
    add_jobs(parser)
    json_output.add_option(parser)
    parser.add_argument(
        "--keep",
        metavar="DIR",
        type=folder,
        help="work in this folder, and keep it with both builds",
    )
    parser.add_argument(
        "--pgo-profile",
        metavar="FILE",
        type=folder,
        help="PGO profile of the first build; default: from the cache",
    )
    add_recipes(parser)


def run(arguments: argparse.Namespace) -> int:
    reporter: Reporter = arguments.reporter
    report = reproduce.reproduce(
        arguments.request,
        find_recipes(arguments),
        read_settings(arguments),
        reporter,
        reproduce.Options(arguments.keep, arguments.pgo_profile),
    )
    if arguments.json:
        reporter.result(json_output.text("rezbuild-reproduce", report.as_data()))
    else:
        for line in report.lines():
            reporter.result(printable_line(line))
    if report.differences:
        raise CheckError(
            f"{report.package}: two builds from the same inputs differ",
            tried=list(report.lines()),
            advice=["run it again with --keep DIR, which keeps both builds"],
        )
    return 0
