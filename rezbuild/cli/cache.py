"""The command ``rezbuild cache``."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.filesize import decimal

from rezbuild.cli.arguments import add_command, add_recipes, day_count
from rezbuild.cli.context import find_recipes
from rezbuild.errors import CatalogueError
from rezbuild.files import cache_lock
from rezbuild.plan import resolve
from rezbuild.reporter import Reporter, add_options
from rezbuild.run import cache_folder, named_folders
from rezbuild.run.cache_folder import KINDS, Kind, Usage
from rezbuild.settings import Settings
from rezbuild.store import Entry, Store, maintain
from rezbuild.util import json_output, words
from rezbuild.util.tables import TextTable, console
from rezbuild.util.terminal import printable_line

EPILOG = """\
examples:
  rezbuild cache size
  rezbuild cache clean --dry-run           what would be removed
  rezbuild cache clean --older-than 30     files that are older than 30 days
  rezbuild cache clean ccache stage        only these kinds
clean removes nothing while a build uses the cache. docs/how-to/cache.md describes the kinds.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the commands below ``cache``, and their arguments."""
    parsers = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, summary: str) -> argparse.ArgumentParser:
        found = add_command(parsers, name, summary)
        add_options(found)
        json_output.add_option(found)
        return found

    found = command("size", "show the disk space of each kind of files, and of the store")
    found.set_defaults(cache_command=_size)

    found = command("clean", "remove files that a build can make or fetch again")
    found.add_argument(
        "kinds", nargs="*", metavar="KIND", type=_kind, help="kinds of files, e.g. ccache"
    )
    found.add_argument(
        "--older-than",
        metavar="DAYS",
        type=day_count,
        default=0.0,
        help="only files that were written longer ago",
    )
    found.add_argument("--dry-run", action="store_true", help="print what would be removed")
    add_recipes(found)
    found.set_defaults(cache_command=_clean)


def run(arguments: argparse.Namespace) -> int:
    """Run the command below ``cache``."""
    return int(arguments.cache_command(arguments))


def _size(arguments: argparse.Namespace) -> int:
    settings, reporter = Settings.read(), arguments.reporter
    used, store = cache_folder.usage(settings.cache), _store(settings, reporter)
    total = sum(one.size for one in used)
    if arguments.json:
        kinds = [{**_as_data(one), "meaning": one.kind.meaning} for one in used]
        data = {"cache": str(settings.cache), "size": total, "kinds": kinds, "store": store}
        reporter.result(json_output.text("rezbuild-cache-size", data))
        return 0
    rows = [(one.kind.name, decimal(one.size), str(one.files), one.kind.meaning) for one in used]
    console().print(TextTable(("kind", "size", "files", "meaning"), rows))
    reporter.result(f"{settings.cache}: {decimal(total)}")
    if store:
        payloads = words.count(store["payloads"], "payload")
        reporter.result(f"store {store['store']}: {decimal(store['size'])} in {payloads}")
    return 0


def _store(settings: Settings, reporter: Reporter) -> dict[str, Any] | None:
    """Return the size of the store; packages may share files."""
    named_folders.require(settings)
    store = Store.of(settings, reporter.on_stderr().notice)
    if store is None:
        return None
    entries = [one for _, one in maintain.list_entries(store, []) if isinstance(one, Entry)]
    files = {file.blob: file.size for one in entries for file in (one.packed, one.debug) if file}
    return {"store": store.display_url, "size": sum(files.values()), "payloads": len(entries)}


def _clean(arguments: argparse.Namespace) -> int:
    cache, reporter, dry = Settings.read().cache, arguments.reporter, arguments.dry_run
    cache_folder.check_cleanable(cache)
    sums: dict[Kind, list[Usage]] = {}
    needed, days = _needed(arguments, cache), arguments.older_than
    changes = cache.is_dir() and not dry
    with cache_lock.alone(cache, reporter.notice) if changes else contextlib.nullcontext():
        for path, removed in cache_folder.clean(
            cache, arguments.kinds, needed, days=days, dry_run=dry
        ):
            sums.setdefault(removed.kind, []).append(removed)
            if reporter.verbose:
                reporter.info(printable_line(str(path)))
    found = [
        Usage(kind, sum(one.files for one in parts), sum(one.size for one in parts))
        for kind, parts in sums.items()
    ]
    total = sum(one.size for one in found)
    if arguments.json:
        data = {"cache": str(cache), "dry_run": dry, "size": total}
        data["removed"] = [_as_data(one) for one in found]
        reporter.result(json_output.text("rezbuild-cache-clean", data))
        return 0
    verb = "would be removed" if dry else "removed"
    for one in found:
        files = words.count(one.files, "file")
        reporter.result(f"{one.kind.name}: {decimal(one.size)} in {files} {verb}")
    reporter.result(f"{cache}: {decimal(total)} {verb}")
    return 0


def _needed(arguments: argparse.Namespace, cache: Path) -> Callable[[Path], bool]:
    """Return a function that says whether a source is kept: without recipes, all are."""
    try:
        recipes = resolve.recipes(find_recipes(arguments))
    except CatalogueError as error:
        if arguments.recipes:
            raise
        arguments.reporter.on_stderr().notice(f"notice: all sources are kept: {error.message}")
        return lambda _: True
    return cache_folder.source_filter(recipes, cache)


def _as_data(used: Usage) -> dict[str, Any]:
    return {"kind": used.kind.name, "size": used.size, "files": used.files}


def _kind(text: str) -> str:
    names = [kind.name for kind in KINDS]
    if text not in names:
        raise argparse.ArgumentTypeError(f"must be one of {', '.join(names)}, not {text!r}")
    return text
