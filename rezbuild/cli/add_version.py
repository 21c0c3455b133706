"""The command ``rezbuild add-version``."""

from __future__ import annotations

import argparse

from rezbuild.cli.arguments import add_recipes
from rezbuild.cli.context import find_recipes
from rezbuild.errors import CatalogueError, UsageError
from rezbuild.plan import resolve
from rezbuild.reporter import Reporter
from rezbuild.settings import Settings
from rezbuild.versions import add

EPILOG = """\
examples:
  rezbuild add-version openssl 3.5.10             signed by the key in keys/
  rezbuild add-version zlib 1.3.3 --sha256 SUM    the sum from upstream's page
  rezbuild add-version python 3.11.17             already there: verify it again
stdout is the change as a unified diff. docs/how-to/security.md explains signatures.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="e.g. openssl")
    parser.add_argument("version", metavar="VERSION", help="e.g. 3.5.10")
    parser.add_argument(
        "--url", default="", help="URL of the archive, if it differs from the catalogue's pattern"
    )
    parser.add_argument("--sha256", metavar="SUM", default="", help="checksum from upstream's page")
    parser.add_argument(
        "--unsigned",
        action="store_true",
        help="accept the version although the catalogue pins no key",
    )
    parser.add_argument(
        "--older-signature",
        action="store_true",
        help="accept a signature that is older than the previous version's",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="fetch and verify, show the change, write nothing"
    )
    add_recipes(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; return its exit code. Standard output holds the change alone."""
    reporter: Reporter = arguments.reporter
    recipes = resolve.recipes(find_recipes(arguments))
    recipe = recipes.get(arguments.name)
    if recipe is None:
        raise CatalogueError(
            f"no recipe for {arguments.name}",
            advice=[f"name one of the recipes: {', '.join(recipes)}"],
        )
    source = next(iter(recipe.releases.values())).source
    if source:
        raise UsageError(
            f"{recipe.name} has the versions of {source}",
            advice=[f"add the version there: rezbuild add-version {source} {arguments.version}"],
        )
    wanted = add.NewVersion(
        arguments.version,
        url=arguments.url,
        sha256=arguments.sha256,
        unsigned=arguments.unsigned,
        older_signature=arguments.older_signature,
        dry_run=arguments.dry_run,
    )
    changed = add.add(recipe, wanted, Settings.read(), reporter.on_stderr())
    reporter.result(changed, end="")
    if changed and not arguments.dry_run:
        build = f"rezbuild build {recipe.name}-{arguments.version}"
        reporter.on_stderr().info(f"written; review the change, then run: {build}")
    return 0
