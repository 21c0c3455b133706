"""The command ``rezbuild doctor``."""

from __future__ import annotations

import argparse

from rezbuild.errors import MachineError
from rezbuild.run import machine_check
from rezbuild.settings import Settings

EPILOG = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tests",
        action="store_true",
        help="also list the tests that this machine must skip, and their programs",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command; return its exit code.

    With ``--tests``, missing programs of the tests are an error, too.
    """
    settings = Settings.read()
    tests = machine_check.examine_tests(settings) if arguments.tests else []
    status = machine_check.report([*machine_check.examine(settings), *tests], arguments.reporter)
    machine_check.report_commands(
        arguments.reporter, "setup", "build", *(["tests"] if arguments.tests else [])
    )
    is_missing = any(check.found is None for check in tests)
    return status or (MachineError.exit_code if is_missing else 0)
