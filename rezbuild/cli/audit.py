"""The command ``rezbuild audit``."""

from __future__ import annotations

import argparse
import json

from rezbuild.audit import audit, show
from rezbuild.cli.arguments import glibc_option, recipes_option
from rezbuild.cli.context import payload_of, settings_of
from rezbuild.errors import AuditError, UsageError
from rezbuild.util.terminal import printable_line

EPILOG = """\
Exit code 9 when a rule is broken; notes do not count. docs/reference/audit.md lists the rules.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument("what", metavar="PATH or REQUEST", help="a folder, or e.g. python-3.11")
    parser.add_argument("--json", action="store_true", help="print JSON")
    glibc_option(parser)
    recipes_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    if not arguments.what:
        raise UsageError("nothing to audit", advice=["name a folder or a Rez request"])
    root = payload_of(arguments.what)
    try:
        report = audit(root, ceiling=settings_of(arguments).glibc_max)
    except RecursionError:  # os.walk() before Python 3.12
        raise UsageError(
            f"{root}: its folders are too deep for this interpreter",
            advice=["name a payload, or use Python 3.12 or newer"],
        ) from None
    if arguments.json:
        arguments.reporter.result(json.dumps(show.as_data(root, report), indent=2))
    else:
        for line in show.lines(root, report):
            arguments.reporter.result(printable_line(line))
    return AuditError.exit_code if report.errors else 0
