"""The command ``rezbuild manifest``."""

from __future__ import annotations

import argparse
import json

from rezbuild.cli.arguments import add_payload
from rezbuild.cli.context import find_payload
from rezbuild.payload import describe, sbom
from rezbuild.util import json_output
from rezbuild.util.tables import console

EPILOG = """\
examples:
  rezbuild manifest python-3.11                       a table
  rezbuild manifest --json python-3.11                the whole record, for programs
  rezbuild manifest --sbom python-3.11 > sbom.cdx.json  CycloneDX, for scanners
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_payload(parser)
    kind = parser.add_mutually_exclusive_group()
    json_output.add_option(kind)
    kind.add_argument("--sbom", action="store_true", help="print the bill of materials (CycloneDX)")


def run(arguments: argparse.Namespace) -> int:
    root = find_payload(arguments.what)
    if arguments.sbom:
        arguments.reporter.result(json.dumps(describe.bill(root), indent=2))
        return 0
    record = describe.load(root)
    if arguments.json:
        data = dict(sorted(record.items()))
        arguments.reporter.result(json_output.text("rezbuild-manifest", data))
        return 0
    describe.show(console(), record, sbom.read(root))
    return 0
