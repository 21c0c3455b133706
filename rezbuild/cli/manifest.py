"""The command ``rezbuild manifest``."""

from __future__ import annotations

import argparse
import json

from rezbuild.cli.arguments import add_payload
from rezbuild.cli.context import find_payload
from rezbuild.payload import describe, sbom
from rezbuild.util.tables import console

EPILOG = """\
examples:
  rezbuild manifest python-3.11                       a table
  rezbuild manifest --json python-3.11                rezbuild.json, for programs
  rezbuild manifest --sbom python-3.11 > sbom.cdx.json  CycloneDX, for scanners
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_payload(parser)
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--json", action="store_true", help="print the whole record")
    kind.add_argument("--sbom", action="store_true", help="print the bill of materials (CycloneDX)")


def run(arguments: argparse.Namespace) -> int:
    root = find_payload(arguments.what)
    if arguments.sbom:
        arguments.reporter.result(json.dumps(describe.bill(root), indent=2))
        return 0
    record = describe.load(root)
    if arguments.json:
        arguments.reporter.result(json.dumps(record, indent=2, sort_keys=True))
        return 0
    describe.show(console(), record, sbom.read(root))
    return 0
