"""The command ``rezbuild rollback``."""

from __future__ import annotations

import argparse
import time

from rezbuild.cli.arguments import add_recipes, not_empty
from rezbuild.cli.check import report
from rezbuild.cli.context import find_recipes, read_settings
from rezbuild.repository import installed, rollback
from rezbuild.verify import check

EPILOG = """\
examples:
  rezbuild rollback python-3.11.2     put back what the last --replace has replaced
A second rollback undoes the first one. docs/how-to/build-packages.md describes the steps.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("request", metavar="REQUEST", type=not_empty, help="e.g. python-3.11.2")
    add_recipes(parser)


def run(arguments: argparse.Namespace) -> int:
    settings, recipes = read_settings(arguments), find_recipes(arguments)
    reporter = arguments.reporter
    package = rollback.find(installed.target(release=True), arguments.request)
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(package.time / 1e9))
    with rollback.locked(package, reporter.notice):
        root = package.payload
        report(check.check(root, recipes, settings, moved=True), root, reporter)
        rollback.put_back(package)
    reporter.notice(f"{package.package}: put back the build that was replaced on {when}")
    return 0
