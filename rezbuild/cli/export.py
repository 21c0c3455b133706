"""The command ``rezbuild export``."""

from __future__ import annotations

import argparse

from rezbuild.cli.arguments import add_build_options, folder
from rezbuild.cli.context import find_recipes, read_settings
from rezbuild.files import temp_folders
from rezbuild.plan import resolve
from rezbuild.reporter import Reporter
from rezbuild.run import named_folders
from rezbuild.run.export import available, check_target
from rezbuild.run.export import export as export_payload

EPILOG = """\
example:
  rezbuild export python-3.11 /opt/python
The dependencies are built in the work folder. No repository is read or written.
The folder holds the files of a Rez package without Rez's own files.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("request", metavar="REQUEST", help="e.g. python-3.11")
    parser.add_argument("folder", metavar="DIR", type=folder, help="folder to create")
    parser.add_argument(
        "--work",
        metavar="DIR",
        type=folder,
        help="work folder; finished builds in it are used again; default: in REZBUILD_CACHE",
    )
    add_build_options(parser)


def run(arguments: argparse.Namespace) -> int:
    reporter: Reporter = arguments.reporter
    settings = read_settings(arguments)
    named_folders.require(settings)
    recipes = resolve.recipes(find_recipes(arguments))
    target = arguments.folder.absolute()
    # Refuse the folder before anything is fetched.
    check_target(target, resolve.requirement(arguments.request).name)
    steps = resolve.plan(recipes, [arguments.request], available(settings, reporter))
    work = (arguments.work or settings.cache / "stage").absolute()
    with temp_folders.folder():
        export_payload(steps, target, work, settings, reporter)
    reporter.info(f"ready: {target} is the payload of {steps[-1]}")
    return 0
