"""The command ``rezbuild lock``."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from rezbuild.catalogue import platform_years
from rezbuild.catalogue.model import Recipe, Release
from rezbuild.cli import plan_arguments
from rezbuild.cli.arguments import LOCK_FILE, add_glibc, add_recipes, add_strict, folder
from rezbuild.cli.context import find_recipes, read_settings
from rezbuild.errors import UsageError
from rezbuild.plan import resolve
from rezbuild.reporter import Reporter
from rezbuild.run import named_folders
from rezbuild.sources.fetch import Fetcher
from rezbuild.util import words
from rezbuild.util.glibc_version import host_glibc
from rezbuild.versions import fallbacks, lock_file
from rezbuild.versions.lock_file import Lock

EPILOG = """\
examples:
  rezbuild lock python-3.11             writes rezbuild.lock
  rezbuild lock vfxplatform-2026 -o cy2026.lock
  rezbuild build --locked               builds exactly the packages of rezbuild.lock
It fetches and verifies the sources. It needs no compiler, and does not look at installed packages.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("requests", nargs="+", metavar="REQUEST", help="e.g. python-3.11")
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        type=folder,
        default=Path(LOCK_FILE),
        help=f"file to write; default: {LOCK_FILE}",
    )
    add_strict(parser)
    add_glibc(parser)
    add_recipes(parser)


def run(arguments: argparse.Namespace) -> int:
    reporter: Reporter = arguments.reporter
    above = arguments.output.absolute().parent
    if not above.is_dir():  # before anything is fetched
        raise UsageError(
            f"the folder {above} does not exist",
            advice=[f"create it: mkdir -p {shlex.quote(str(above))}"],
        )
    if arguments.output.is_dir():
        raise UsageError(
            f"{arguments.output} is a folder, and a lock file is a file",
            advice=[f"name a file: -o {shlex.quote(str(arguments.output / LOCK_FILE))}"],
        )
    settings = read_settings(arguments)
    named_folders.require(settings)
    recipes = find_recipes(arguments)
    known = platform_years.find(recipes)
    years, requests = platform_years.expand(known, arguments.requests)
    settings = plan_arguments.with_glibc_of_year(settings, arguments.requests, known, reporter)
    fetcher = Fetcher(settings, reporter=reporter)

    def available(_: Recipe, release: Release) -> bool:
        return fetcher.available(release)

    steps = resolve.plan(resolve.recipes(recipes), requests, available)
    if arguments.strict:
        fallbacks.refuse(steps)
    lock = Lock.of_plan(arguments.requests, settings.glibc or host_glibc(), years, steps)
    lock_file.write(arguments.output, lock)
    packages = words.count(len(lock.package), "package")
    reporter.info(f"{arguments.output}: {packages}, for glibc {lock.glibc}")
    fallbacks.report(steps, reporter)
    return 0
