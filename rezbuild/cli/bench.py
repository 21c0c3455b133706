"""The command ``rezbuild bench``."""

from __future__ import annotations

import argparse
import sys

from rezbuild import bench
from rezbuild.bench import interpreters
from rezbuild.bench.output import Output
from rezbuild.cli.arguments import folder, names, positive
from rezbuild.cli.context import payload_of
from rezbuild.errors import UsageError
from rezbuild.settings import Settings

EPILOG = """\
examples:
  rezbuild bench python-3.11                     a moved copy, against the host's 3.11
  rezbuild bench python-3.11 --only start,calls  in a minute
  rezbuild bench NEW --against OLD --full        two payloads, all of pyperformance
Parts: start, calls, latency, size, suite. docs/performance.md says how it measures.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument(
        "what", metavar="PATH or REQUEST", help="a payload, an interpreter, or as in python-3.11"
    )
    parser.add_argument(
        "--against",
        metavar="PATH or REQUEST",
        help="what to compare it with; default: the host's python of the same X.Y, if there is one",
    )
    parser.add_argument("--only", metavar="PARTS", type=names, help="some parts, as in start,calls")
    parser.add_argument("--rounds", metavar="N", type=positive, help="pairs of each measurement")
    parser.add_argument("--full", action="store_true", help="all of pyperformance, for hours")
    parser.add_argument("--json", metavar="FILE", help="all raw data; - for stdout, and no table")
    parser.add_argument("--svg", metavar="FILE", type=folder, help="the ratios as a picture")


def run(arguments: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    parts = arguments.only or tuple(bench.PARTS)
    unknown = [part for part in parts if part not in bench.PARTS]
    if unknown:
        raise UsageError(
            f"--only {','.join(unknown)} names no part", advice=[f"parts: {','.join(bench.PARTS)}"]
        )
    first = interpreters.find(arguments.what, payload_of(arguments.what))
    second = (
        interpreters.find(arguments.against, payload_of(arguments.against))
        if arguments.against
        else interpreters.of_the_host(first)
    )
    output = Output(arguments.json, arguments.svg)
    output.check(compared=second is not None)
    options = bench.Options(Settings.read().cache, parts, arguments.rounds, arguments.full)
    # The result alone is on stdout.
    report = bench.bench(first, second, options, lambda text: print(text, file=sys.stderr))
    output.write(report)
    return 0
