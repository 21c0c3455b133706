"""The command ``rezbuild versions``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rezbuild.catalogue import platform_years
from rezbuild.catalogue.platform_years import Platform
from rezbuild.cli.arguments import add_recipes
from rezbuild.cli.context import find_recipes
from rezbuild.errors import CatalogueError, FetchError, OutdatedError, UsageError
from rezbuild.plan import resolve
from rezbuild.plan.resolve import Recipes
from rezbuild.reporter import Reporter
from rezbuild.repository import installed
from rezbuild.settings import Settings
from rezbuild.util import json_output, words
from rezbuild.util.tables import console
from rezbuild.versions import support_matrix, table
from rezbuild.versions.python_index import PythonIndex

EPILOG = """\
examples:
  rezbuild versions openssl
  rezbuild versions --outdated       installed packages that are older than their newest
                                     pin, or contain or were built against such a package
  rezbuild versions --outdated --upstream openssl python
Exit code 13 when something is outdated, for a timer; Python packages in sources, e.g. pip in
CPython's, are listed but do not count.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="packages; default: all")
    parser.add_argument(
        "--outdated", action="store_true", help="only installed packages that have a newer pin"
    )
    parser.add_argument(
        "--upstream", action="store_true", help="also ask upstream for newer versions"
    )
    form = parser.add_mutually_exclusive_group()
    json_output.add_option(form)
    form.add_argument(
        "--markdown", action="store_true", help="print the page docs/reference/support-matrix.md"
    )
    add_recipes(parser)


def run(arguments: argparse.Namespace) -> int:
    folder = find_recipes(arguments)
    recipes, years = resolve.recipes(folder), platform_years.find(folder)
    unknown = [name for name in arguments.names if name not in {*recipes, *years}]
    if unknown:
        raise CatalogueError(
            f"no recipe for {', '.join(unknown)}",
            advice=[f"name one of the recipes: {', '.join([*recipes, *years])}"],
        )
    names = arguments.names or [*recipes, *years]
    if arguments.outdated:
        return _outdated(recipes, [name for name in recipes if name in names], arguments)
    if arguments.upstream:
        raise UsageError("--upstream requires --outdated", advice=["add --outdated"])
    if arguments.markdown:
        arguments.reporter.result(support_matrix.page(recipes.values()), end="")
        return 0
    wanted = [recipe for name, recipe in recipes.items() if name in names]
    rows = table.rows(wanted, Settings.read())
    if arguments.json:
        data = {
            "versions": [asdict(row) for row in rows],
            "years": [_year(year) for name in names for year in years.get(name, ())],
        }
        arguments.reporter.result(json_output.text("rezbuild-versions", data))
    else:
        left_out: dict[str, str] = {}
        if not arguments.names:
            rows, left_out = table.shorten(rows)
        if rows:
            console().print(table.table(rows))
        for name, other in left_out.items():
            arguments.reporter.result(
                f"{name}: the versions of {other}, which `rezbuild versions {name}` lists"
            )
        for year in (year for name in names for year in years.get(name, ())):
            pins = ", ".join(year.builds)
            draft = " (draft)" * year.draft
            arguments.reporter.result(f"{year}{draft}: {pins}; glibc up to {year.glibc}")
    return 0


def _year(year: Platform) -> dict[str, Any]:
    return {
        "name": year.name,
        "version": year.version,
        "requires": list(year.requires),
        "glibc": year.glibc,
        "draft": year.draft,
    }


def _outdated(recipes: Recipes, names: Sequence[str], arguments: argparse.Namespace) -> int:
    """Run ``versions --outdated``; return an exit code for a timer: 0 if nothing is outdated."""
    from rezbuild.versions import outdated
    from rezbuild.versions.upstream import Upstream

    reporter: Reporter = arguments.reporter
    paths = installed.search_path(release=False)
    found = list(outdated.installed(recipes, names, paths))
    unknown: list[FetchError] = []
    if arguments.upstream:
        settings = Settings.read()
        if settings.offline:
            raise UsageError(
                "--upstream needs the network, but REZBUILD_OFFLINE is set",
                advice=["unset REZBUILD_OFFLINE"],
            )
        asked = Upstream(settings, reporter.on_stderr().info)
        found += outdated.upstream(recipes, names, asked, unknown.append)
        newest = PythonIndex().newest
        found += outdated.python_packages(recipes, names, paths, newest, unknown.append)
    if arguments.json:
        data = {
            "outdated": [asdict(finding) for finding in found],
            "unknown": [error.message for error in unknown],
        }
        reporter.result(json_output.text("rezbuild-outdated", data))
    else:
        for finding in found:
            reporter.result(str(finding))
    _print_unknown(unknown, reporter)
    updates = sum(finding.has_update for finding in found)
    if inside := len(found) - updates:
        packages = words.count(inside, "older Python package")
        reporter.on_stderr().info(f"{packages} in sources: only a newer source has newer ones")
    if updates:
        reporter.on_stderr().info(
            f"{updates} outdated; docs/how-to/security.md shows how to update packages"
        )
        return OutdatedError.exit_code
    return FetchError.exit_code if unknown else 0


def _print_unknown(unknown: Sequence[FetchError], reporter: Reporter) -> None:
    """Print errors; those with the same cause have one explanation."""
    causes: dict[tuple[tuple[str, ...], ...], list[str]] = {}
    for error in unknown:
        causes.setdefault((error.tried, error.advice), []).append(error.message)
    for (tried, advice), messages in causes.items():
        reporter.error(str(FetchError("\n".join(messages), tried=tried, advice=advice)))
