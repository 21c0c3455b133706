"""The command ``rezbuild check``."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from rezbuild.cli.arguments import add_jobs, add_payload, add_recipes, folder
from rezbuild.cli.context import find_payload, find_recipes, read_settings
from rezbuild.errors import CheckError
from rezbuild.reporter import CHECKED, Reporter
from rezbuild.util import json_output, processes
from rezbuild.verify import check

EPILOG = """\
examples:
  rezbuild check python-3.11                            in seconds
  rezbuild check python-3.11 --regrtest                 CPython's whole test suite
  rezbuild check python-3.11 --regrtest test_ssl        some of it
Exit code 12 when a check fails. docs/how-to/check.md lists the checks.
"""
# Problems that the error repeats.
_SHOWN = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_payload(parser)
    parser.add_argument(
        "--regrtest",
        dest="suite",
        nargs="*",
        metavar="TEST",
        help="also run upstream's own tests: the named ones, or all",
    )
    add_jobs(parser)
    parser.add_argument("--moved", action="store_true", help="test a copy in another folder")
    parser.add_argument(
        "--keep",
        metavar="DIR",
        type=folder,
        help="work in this folder, and keep it with all logs",
    )
    json_output.add_option(parser)
    add_recipes(parser)


def run(arguments: argparse.Namespace) -> int:
    # A release runs this command as its test, and must not leave it behind.
    processes.exit_with_rez()
    settings = read_settings(arguments)
    root = find_payload(arguments.what).resolve()
    folder = find_recipes(arguments)
    results = check.check(
        root, folder, settings, suite=arguments.suite, keep=arguments.keep, moved=arguments.moved
    )
    if arguments.json:
        found = list(results)
        data = {"root": str(root), "results": [asdict(result) for result in found]}
        arguments.reporter.result(json_output.text("rezbuild-check", data))
        results = iter(found)
    report(results, root, arguments.reporter)
    return 0


def report(results: Iterable[check.Result], root: Path, reporter: Reporter) -> None:
    """Print the results of checks.

    Raises:
        CheckError: One has failed.
    """
    failed, problems = [], []
    for result in results:
        if result.problems:
            failed.append(result.name)
            problems += [f"{result.name}: {problem}" for problem in result.problems]
            reporter.notice(str(result))
        else:
            reporter.info(str(result), CHECKED)
    more = len(problems[_SHOWN:])
    if failed:
        raise CheckError(
            f"{root} failed: {', '.join(failed)}",
            tried=[*problems[:_SHOWN], *([f"{more} more"] if more else [])],
            advice=[f"keep the logs: rezbuild check {root} --keep DIR"],
        )
