"""The command ``rezbuild export``."""

from __future__ import annotations

import argparse

from rezbuild.cli.arguments import folder, glibc_option, positive, recipes_option
from rezbuild.cli.context import recipes_folder, say, settings_of
from rezbuild.files import temp_folders
from rezbuild.plan import resolve
from rezbuild.run import stage as staging
from rezbuild.settings import PROFILES

EPILOG = """\
example:
  rezbuild export python-3.11 /opt/python
What it needs is built besides, in a folder that may be kept. No repository is read or
written. The folder holds what a Rez package would, less Rez's own files.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument("request", metavar="REQUEST", help="as in python-3.11")
    parser.add_argument("folder", metavar="DIR", type=folder, help="a folder to make")
    parser.add_argument(
        "--work",
        metavar="DIR",
        type=folder,
        help="where it is built; what is ready there is used again; default: in REZBUILD_CACHE",
    )
    parser.add_argument("--profile", choices=PROFILES, help="goes before REZBUILD_PROFILE")
    parser.add_argument("-j", "--jobs", type=positive, help="goes before REZBUILD_JOBS")
    glibc_option(parser)
    recipes_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    settings = settings_of(arguments)
    recipes = resolve.recipes(recipes_folder(arguments))
    target = arguments.folder.absolute()
    # Before anything is fetched.
    staging.check_target(target, resolve.requirement(arguments.request).name)
    steps = resolve.plan(recipes, [arguments.request], staging.available(settings, say))
    work = (arguments.work or settings.cache / "stage").absolute()
    with temp_folders.folder():
        staging.stage(steps, target, work, settings)
    say(f"ready: {target} is the payload of {steps[-1]}")
    return 0
