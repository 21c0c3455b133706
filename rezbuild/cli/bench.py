"""The command ``rezbuild bench``."""

from __future__ import annotations

import argparse

from rezbuild import bench
from rezbuild.bench import interpreters
from rezbuild.bench.output import Output
from rezbuild.cli.arguments import add_payload, folder, job_count, names
from rezbuild.cli.context import find_payload
from rezbuild.errors import UsageError
from rezbuild.settings import Settings

EPILOG = """\
examples:
  rezbuild bench python-3.11                     a moved copy, against the host's 3.11
  rezbuild bench python-3.11 --only start,calls  in a minute
  rezbuild bench NEW --against OLD --full        two payloads, all of pyperformance
Parts: start, calls, latency, memory, size, native, suite.
docs/explanation/performance.md explains the method.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_payload(parser, "a payload, an interpreter, or e.g. python-3.11")
    parser.add_argument(
        "--against",
        metavar="PATH or REQUEST",
        help="the Python to compare with; default: the host's Python of the same X.Y",
    )
    parser.add_argument(
        "--only", metavar="PARTS", type=names, help="only these parts, e.g. start,calls"
    )
    parser.add_argument(
        "--rounds", metavar="N", type=job_count, help="number of pairs for each measurement"
    )
    parser.add_argument(
        "--full", action="store_true", help="all of pyperformance; takes more than an hour"
    )
    parser.add_argument(
        "--without",
        metavar="NAMES",
        type=names,
        default=(),
        help="print a second mean without these benchmarks, e.g. 'scimark_*'",
    )
    parser.add_argument(
        "--json", metavar="FILE", help="write all raw data; - for stdout instead of the table"
    )
    parser.add_argument("--svg", metavar="FILE", type=folder, help="draw the ratios")


def run(arguments: argparse.Namespace) -> int:
    parts = arguments.only or tuple(bench.PARTS)
    unknown = [part for part in parts if part not in bench.PARTS]
    if unknown:
        raise UsageError(
            f"--only: unknown part {','.join(unknown)}",
            advice=[f"name some of {','.join(bench.PARTS)}"],
        )
    first = interpreters.find(arguments.what, find_payload(arguments.what))
    second = (
        interpreters.find(arguments.against, find_payload(arguments.against))
        if arguments.against
        else interpreters.find_on_host(first)
    )
    output = Output(arguments.json, arguments.svg)
    output.check(compared=second is not None)
    options = bench.Options(
        *(Settings.read().cache, parts, arguments.rounds, arguments.full, arguments.without)
    )
    # Standard output holds the result alone.
    report = bench.bench(first, second, options, arguments.reporter.on_stderr().info)
    output.write(report, arguments.reporter)
    return 0
