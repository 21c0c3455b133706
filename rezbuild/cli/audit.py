"""The command ``rezbuild audit``."""

from __future__ import annotations

import argparse

from rezbuild.audit import audit, show
from rezbuild.cli.arguments import add_glibc_max, add_payload, add_recipes
from rezbuild.cli.context import find_payload, read_settings
from rezbuild.errors import AuditError, UsageError
from rezbuild.util import json_output
from rezbuild.util.terminal import printable_line

EPILOG = """\
Exit code 9 when a rule is broken; notes do not count. docs/reference/audit.md lists the rules.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_payload(parser, "a folder, or e.g. python-3.11")
    json_output.add_option(parser)
    add_glibc_max(parser)
    add_recipes(parser)


def run(arguments: argparse.Namespace) -> int:
    root = find_payload(arguments.what)
    try:
        report = audit(root, ceiling=read_settings(arguments).glibc_max)
    except RecursionError:  # os.walk() before Python 3.12
        raise UsageError(
            f"{root}: folders too deep for this interpreter",
            advice=["name a payload, or run rezbuild with Python 3.12 or newer"],
        ) from None
    if arguments.json:
        data = show.as_data(root, report)
        arguments.reporter.result(json_output.text("rezbuild-audit", data))
    else:
        for line in show.lines(root, report):
            arguments.reporter.result(printable_line(line))
    return AuditError.exit_code if report.errors else 0
