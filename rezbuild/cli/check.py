"""The command ``rezbuild check``."""

from __future__ import annotations

import argparse

from rezbuild.cli.arguments import folder, positive, recipes_option
from rezbuild.cli.context import payload_of, recipes_folder, settings_of
from rezbuild.errors import CheckError
from rezbuild.reporter import CHECKED, Reporter
from rezbuild.util import processes
from rezbuild.verify import check

EPILOG = """\
examples:
  rezbuild check python-3.11                            in seconds
  rezbuild check python-3.11 --regrtest                 CPython's whole test suite
  rezbuild check python-3.11 --regrtest test_ssl        some of it
Exit code 12 when a check fails. docs/how-to/check.md lists the checks.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument("what", metavar="PATH or REQUEST", help="a payload, or e.g. python-3.11")
    parser.add_argument(
        "--regrtest",
        dest="suite",
        nargs="*",
        metavar="TEST",
        help="also run upstream's own tests: the named ones, or all",
    )
    parser.add_argument("-j", "--jobs", type=positive, help="overrides REZBUILD_JOBS")
    parser.add_argument("--moved", action="store_true", help="test a copy in another folder")
    parser.add_argument(
        "--keep",
        metavar="DIR",
        type=folder,
        help="work in this folder, and keep it with all logs",
    )
    recipes_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    processes.end_with_rez()  # that of a release, whose gate this is
    settings = settings_of(arguments)
    root = payload_of(arguments.what).resolve()
    folder = recipes_folder(arguments)
    failed = []
    reporter: Reporter = arguments.reporter
    results = check.check(
        root, folder, settings, suite=arguments.suite, keep=arguments.keep, moved=arguments.moved
    )
    for result in results:
        if result.problems:
            failed.append(result.name)
            reporter.notice(str(result))
        else:
            reporter.info(str(result), CHECKED)
    if failed:
        raise CheckError(
            f"{root} failed: {', '.join(failed)}",
            advice=["the lines above say what is wrong; --keep DIR leaves the logs"],
        )
    return 0
