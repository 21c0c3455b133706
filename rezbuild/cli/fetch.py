"""The command ``rezbuild fetch``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from rezbuild.catalogue import platform_years
from rezbuild.catalogue.model import Recipe, Release
from rezbuild.cli.arguments import add_locked, add_recipes, folder
from rezbuild.cli.context import find_recipes
from rezbuild.errors import FetchError, UsageError
from rezbuild.plan import resolve
from rezbuild.plan.resolve import Available, Recipes
from rezbuild.reporter import Reporter
from rezbuild.run import named_folders
from rezbuild.settings import Settings
from rezbuild.sources.fetch import Fetched, Fetcher
from rezbuild.util import json_output, words
from rezbuild.versions import lock_file, notices
from rezbuild.versions.lock_file import LockedRecipes

EPILOG = """\
examples:
  rezbuild fetch python-3.11            into the cache, with its dependencies
  rezbuild fetch --locked               exactly the sources of rezbuild.lock
  rezbuild fetch --all --to /mnt/mirror fills a mirror for an air-gapped site, where
                                        REZBUILD_MIRRORS=/mnt/mirror finds it
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("requests", nargs="*", metavar="REQUEST", help="e.g. python-3.11")
    parser.add_argument("--all", action="store_true", help="every version of every package")
    add_locked(parser)
    parser.add_argument("--to", metavar="DIR", type=folder, help="also fill this mirror folder")
    json_output.add_option(parser)
    add_recipes(parser)


def run(arguments: argparse.Namespace) -> int:
    reporter: Reporter = arguments.reporter
    settings = Settings.read()
    named_folders.require(settings, created=arguments.to and arguments.to.absolute())
    fetcher = Fetcher(settings, reporter=reporter)
    folder = find_recipes(arguments)
    recipes = resolve.recipes(folder)
    years: lock_file.Years = platform_years.find(folder)
    locked = _locked(arguments, recipes, years)
    requests: Sequence[str] = arguments.requests
    if locked:
        recipes, years, requests = locked.recipes, locked.years, locked.lock.requests
    _, requests = platform_years.expand(years, requests)
    sources: list[dict[str, Any]] = []

    def get(_: Recipe, release: Release) -> bool:
        fetched = fetcher.fetch(release)
        if arguments.to:
            fetched = fetcher.mirror(release, arguments.to.absolute())
        sources.append(_source(release, fetched))
        if not arguments.json:
            reporter.result(f"{release.name}-{release.version}: {fetched.path}")
        return True

    try:
        if arguments.all:
            _fetch_all(recipes, get)
        else:
            steps = resolve.plan(recipes, requests, get)
            for line in notices.for_steps(steps):
                reporter.notice(line)
            if locked:
                locked.check_plan(steps)
    finally:
        if arguments.json:
            reporter.result(json_output.text("rezbuild-fetch", {"sources": sources}))
    return 0


def _locked(
    arguments: argparse.Namespace, recipes: Recipes, years: lock_file.Years
) -> LockedRecipes | None:
    """Return the lock file of ``--locked``, if it is given; check that one choice is given."""
    choices = [arguments.requests, arguments.all, arguments.locked]
    if sum(map(bool, choices)) != 1:
        raise UsageError(
            "rezbuild fetch requires requests, --all or --locked",
            advice=["name a request, or give one of --all and --locked"],
        )
    return lock_file.load(arguments.locked, recipes, years) if arguments.locked else None


def _source(release: Release, fetched: Fetched) -> dict[str, Any]:
    return {
        "name": release.name,
        "version": release.version,
        "path": str(fetched.path),
        "sha256": fetched.archive.sha256,
        "location": fetched.location,
    }


def _fetch_all(recipes: Recipes, get: Available) -> None:
    """Fetch every version.

    Raises:
        FetchError: Some could not be fetched; all others were.
    """
    missing: dict[str, FetchError] = {}
    for recipe in recipes.values():
        for release in recipe.releases.values():
            # A release that takes the archives of another package has none to fetch.
            if not release.source:
                try:
                    get(recipe, release)
                except FetchError as error:
                    missing[f"{release.name}-{release.version}"] = error
    if missing:
        raise FetchError(
            f"{words.count(len(missing), 'source')} could not be fetched: {', '.join(missing)}",
            tried=[f"{name}: {'; '.join(error.tried)}" for name, error in missing.items()],
            advice=[
                "put each archive into a folder, and set REZBUILD_MIRRORS to the folder",
                "run rezbuild versions, which lists the sources of each version",
            ],
        )
