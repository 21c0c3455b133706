"""The command ``rezbuild log``."""

from __future__ import annotations

import argparse

from rez.version import Version, VersionRange

from rezbuild.cli.arguments import add_recipes, not_empty
from rezbuild.cli.context import find_recipes
from rezbuild.errors import CatalogueError, UsageError
from rezbuild.plan import resolve
from rezbuild.reporter import Reporter
from rezbuild.run import build_logs
from rezbuild.run.build_logs import BuildLogs
from rezbuild.settings import Settings
from rezbuild.util import json_output

EPILOG = """\
examples:
  rezbuild log python                   of the last build of any version
  rezbuild log python-3.11 | less
  less "$(rezbuild log --path zlib)"
It prints the log of the step that failed or is running. If there is none, it prints the output
of Rez. docs/how-to/parallel.md lists all logs.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "request", metavar="NAME or REQUEST", type=not_empty, help="e.g. zlib or python-3.11"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--path", action="store_true", help="print only the path of the log")
    json_output.add_option(form)
    add_recipes(parser)


def run(arguments: argparse.Namespace) -> int:
    reporter: Reporter = arguments.reporter
    name, logs = _find(arguments)
    if arguments.json:
        data = {
            "name": name,
            "version": logs.version,
            "profile": logs.profile,
            "path": str(logs.last),
            "unfinished": logs.unfinished is not None,
            "logs": [str(path) for path in (logs.rez, *logs.steps) if path],
        }
        reporter.result(json_output.text("rezbuild-log", data))
    elif arguments.path:
        reporter.result(str(logs.last))
    else:
        reporter.on_stderr().info(f"{logs.last}:")
        with logs.last.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                reporter.result(line, end="")
    return 0


def _find(arguments: argparse.Namespace) -> tuple[str, BuildLogs]:
    """Return the package that is asked for, and the logs of its last build.

    Raises:
        CatalogueError: There is no such recipe.
        UsageError: There are no logs.
    """
    recipes = resolve.recipes(find_recipes(arguments))
    wanted = resolve.requirement(arguments.request)
    if wanted.name not in recipes:
        raise CatalogueError(
            f"no recipe for {wanted.name}",
            advice=[f"name one of the recipes: {', '.join(recipes)}"],
        )
    folders = [
        recipes[wanted.name].folder / "build",
        # of `rezbuild export`
        Settings.read().cache / "stage" / wanted.name,
    ]
    versions = wanted.range or VersionRange()
    for logs in build_logs.find(folders):
        if versions.contains_version(Version(logs.version)):
            return wanted.name, logs
    raise UsageError(
        f"no log of a build of {arguments.request}",
        tried=[str(folder) for folder in folders],
        advice=["build it: a package that is installed, or in the store, has no log"],
    )
