"""The command ``rezbuild manifest``."""

from __future__ import annotations

import argparse
import json
import sys

from rich.console import Console

from rezbuild.cli.context import payload_of
from rezbuild.errors import UsageError
from rezbuild.payload import describe

EPILOG = """\
examples:
  rezbuild manifest python-3.11                       a table
  rezbuild manifest --json python-3.11                rezbuild.json, for programs
  rezbuild manifest --sbom python-3.11 > sbom.cdx.json  CycloneDX, for scanners
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument("what", metavar="PATH or REQUEST", help="a payload, or e.g. python-3.11")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--json", action="store_true", help="print the whole record")
    kind.add_argument("--sbom", action="store_true", help="print the bill of materials (CycloneDX)")


def run(arguments: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    if not arguments.what:
        raise UsageError("nothing to show", advice=["name a folder or a Rez request"])
    root = payload_of(arguments.what)
    if arguments.sbom:
        arguments.reporter.result(json.dumps(describe.bill(root), indent=2))
        return 0
    record = describe.load(root)
    if arguments.json:
        arguments.reporter.result(json.dumps(record, indent=2, sort_keys=True))
        return 0
    # Into a file or a pipe nothing is cut to a terminal's width.
    wide = None if sys.stdout.isatty() else 1000
    describe.show(Console(width=wide), record, describe.materials(root))
    return 0
