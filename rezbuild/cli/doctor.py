"""The command ``rezbuild doctor``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import rezbuild
from rezbuild.cli.context import find_recipes
from rezbuild.errors import CatalogueError, MachineError
from rezbuild.reporter import Reporter
from rezbuild.run import machine_check
from rezbuild.run.machine_check import Check
from rezbuild.settings import Settings
from rezbuild.util import extras, json_output

EPILOG = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tests",
        action="store_true",
        help="also list the tests that this machine must skip, and their programs",
    )
    json_output.add_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; return its exit code.

    With ``--tests``, missing programs of the tests are an error, too.
    """
    settings = Settings.read()
    tests = machine_check.examine_tests(settings) if arguments.tests else []
    checks = [*_installation(arguments), *machine_check.examine(settings), *tests]
    commands = machine_check.commands("setup", "build", *(["tests"] if arguments.tests else []))
    reporter: Reporter = arguments.reporter
    if arguments.json:
        data = machine_check.as_data(checks, commands)
        reporter.result(json_output.text("rezbuild-doctor", data))
    else:
        machine_check.report(checks, reporter)
        reporter.result("\nOn any machine, one of these commands (as root) installs everything:")
        for command in commands.values():
            reporter.result(f"  {command}")
    is_missing = any(check.found is None for check in tests)
    return machine_check.exit_code(checks) or (MachineError.exit_code if is_missing else 0)


def _installation(arguments: argparse.Namespace) -> Iterator[Check]:
    """Check that rezbuild is not an outdated copy of the clone."""
    try:
        copy = extras.outdated_copy(find_recipes(arguments))
    except CatalogueError:  # no clone
        copy = ""
    place = f"{rezbuild.__version__} ({Path(rezbuild.__file__).parent})"
    yield Check("rezbuild", None if copy else place, "changes of the clone", advice=copy)
