"""The command ``rezbuild manifest``."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rezbuild.cli.arguments import add_payload
from rezbuild.cli.context import find_payload
from rezbuild.errors import UsageError
from rezbuild.payload import describe, provenance, sbom
from rezbuild.settings import Settings
from rezbuild.util import json_output
from rezbuild.util.tables import console

EPILOG = """\
examples:
  rezbuild manifest python-3.11                       a table
  rezbuild manifest --json python-3.11                the whole record, for programs
  rezbuild manifest --sbom python-3.11 > sbom.cdx.json  CycloneDX, for scanners
  rezbuild manifest --provenance python-3.11 > python.intoto.json  SLSA, for policies
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_payload(parser)
    kind = parser.add_mutually_exclusive_group()
    json_output.add_option(kind)
    kind.add_argument("--sbom", action="store_true", help="print the bill of materials (CycloneDX)")
    kind.add_argument(
        "--provenance",
        action="store_true",
        help="print an in-toto statement (SLSA provenance), signed if REZBUILD_STORE_SIGN is set",
    )
    parser.add_argument(
        "--builder",
        metavar="URI",
        type=_uri,
        help=f"with --provenance: the studio's build system; default: {provenance.BUILDER}",
    )


def run(arguments: argparse.Namespace) -> int:
    if arguments.builder and not arguments.provenance:
        raise UsageError("--builder requires --provenance", advice=["add --provenance"])
    root = find_payload(arguments.what)
    if arguments.sbom:
        arguments.reporter.result(json.dumps(describe.bill(root), indent=2))
        return 0
    record = describe.load(root)
    if arguments.provenance:
        arguments.reporter.result(
            _provenance(root, record, arguments.builder or provenance.BUILDER)
        )
        return 0
    if arguments.json:
        data = dict(sorted(record.items()))
        arguments.reporter.result(json_output.text("rezbuild-manifest", data))
        return 0
    describe.show(console(), record, sbom.read(root))
    return 0


def _provenance(root: Path, record: Mapping[str, Any], builder: str) -> str:
    text = provenance.text(provenance.statement(root, record, describe.bill(root), builder))
    key = Settings.read().store_sign
    if not key:
        return text
    from rezbuild.store.signing import Signer  # noqa: PLC0415 (the store's modules take 90 ms)

    signer = Signer(key)
    return json.dumps(provenance.envelope(text, signer.sign, signer.key_id()), indent=2)


def _uri(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+", text):
        raise argparse.ArgumentTypeError(f"must be a URI such as https://ci.studio, not {text!r}")
    return text
