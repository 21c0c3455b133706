"""``rezbuild store``: its arguments, and what each of its commands does."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable
from dataclasses import asdict, replace

from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from rezbuild.cli.arguments import recipes_option
from rezbuild.cli.context import recipes_folder
from rezbuild.errors import CheckError, UsageError
from rezbuild.files import temp_folders
from rezbuild.reporter import Reporter, add_options
from rezbuild.settings import Settings
from rezbuild.store import Store, maintain
from rezbuild.store.maintain import Finding
from rezbuild.util.terminal import printable_line

EPILOG = """\
examples:
  rezbuild store list python            list the entries and their inputs
  rezbuild store add python-3.11        upload a package and its dependencies
  rezbuild store verify --remove        read everything; remove damaged entries
  rezbuild store revoke 5e1c0fd1a2b3    refuse this payload from now on
  rezbuild store prune --keep-days 90   remove entries older than 90 days
Exit code 12 when verify finds something. See docs/how-to/store.md.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the commands below ``store``."""
    parsers = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, summary: str) -> argparse.ArgumentParser:
        text = summary[0].upper() + summary[1:] + "."
        found = parsers.add_parser(name, help=summary, description=text)
        add_options(found)
        return found

    found = command("list", "list the entries")
    found.add_argument("names", nargs="*", metavar="NAME", help="packages; default: all")
    found.add_argument("--json", action="store_true", help="print whole entries as JSON")
    found.set_defaults(store_command=_list)

    found = command("add", "upload an installed package, if its recipe is unchanged")
    found.add_argument(
        "what", nargs="+", metavar="PATH or REQUEST", help="a payload, or e.g. python-3.11"
    )
    recipes_option(found)
    found.set_defaults(store_command=_add)

    found = command("verify", "read all payloads, and compare them with their checksums")
    found.add_argument("--remove", action="store_true", help="remove damaged entries")
    found.set_defaults(store_command=_verify)

    found = command("revoke", "remove a payload, and refuse it from now on")
    found.add_argument(
        "key", metavar="KEY", type=_key, help="key of the entry, or hash of the payload"
    )
    found.add_argument("--because", metavar="TEXT", default="", help="the reason, shown to others")
    found.set_defaults(store_command=_revoke)

    found = command("prune", "delete old and unreferenced entries")
    found.add_argument(
        "--keep-days",
        metavar="N",
        type=_days,
        help="remove entries older than N days, and their payloads",
    )
    found.add_argument(
        "--unused", action="store_true", help="remove payloads older than a day that no entry names"
    )
    found.add_argument("--dry-run", action="store_true", help="print what would be removed")
    found.set_defaults(store_command=_prune)


def run(arguments: argparse.Namespace) -> int:
    """Run the command below ``store``."""
    return int(arguments.store_command(arguments))


def _list(arguments: argparse.Namespace) -> int:
    store = _store(arguments)
    found = list(maintain.listing(store, arguments.names))
    # Without a trusted key, nobody has looked at the signature.
    signed = "yes" if store.verifies else "not verified"
    sound = [entry for _, entry in found if not isinstance(entry, str)]
    if arguments.json:
        arguments.reporter.result(json.dumps([asdict(entry) for entry in sound], indent=2))
    else:
        table = Table("package", "version", "profile", "size", "compiler", "glibc", box=None)
        table.add_column("signed")
        table.add_column("key", overflow="fold")
        for entry in sound:
            row = [
                *(entry.name, entry.version, entry.profile or "", decimal(entry.size)),
                *(str(entry.inputs.get(what, "")) for what in ("compiler", "glibc")),
                *(signed if entry.signature else "", entry.key[:16]),
            ]
            table.add_row(*(escape(printable_line(text)) for text in row))
        # In a pipe nothing is folded: other programs read lines.
        Console(width=None if sys.stdout.isatty() else 500).print(table)
    for place, why in found:
        if isinstance(why, str):
            arguments.reporter.aside().notice(f"notice: {place}: {why}")
    return 0


def _add(arguments: argparse.Namespace) -> int:
    from rezbuild.plan import resolve  # noqa: PLC0415 (rez is slow to import)
    from rezbuild.repository import installed  # noqa: PLC0415 (see above)
    from rezbuild.store.add_installed import Stock

    recipes = resolve.recipes(recipes_folder(arguments))
    paths = installed.search_path(release=False)
    say = arguments.reporter.info
    with temp_folders.folder():
        stock = Stock(_store(arguments), recipes, Settings.read(), paths, say)
        for what in arguments.what:
            stock.add(what)
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    with temp_folders.folder():
        number = _show(
            maintain.verify(_store(arguments), arguments.reporter.info, remove=arguments.remove),
            arguments.reporter,
        )
    if number:
        raise CheckError(
            f"the store has {number} files that are not sound",
            advice=[
                "they are gone: what they stood for is built when it is wanted"
                if arguments.remove
                else "no build takes them; rezbuild store verify --remove removes them"
            ],
        )
    return 0


def _revoke(arguments: argparse.Namespace) -> int:
    store = _store(arguments, _of_anybody())
    _show(maintain.revoke(store, arguments.key, arguments.because), arguments.reporter)
    return 0


def _of_anybody() -> Settings:
    """The settings, for a store whose entries are read whoever has signed them."""
    return replace(Settings.read(), store_trust=(), store_sign=None, store_revoked=None)


def _prune(arguments: argparse.Namespace) -> int:
    if arguments.keep_days is None and not arguments.unused:
        raise UsageError("nothing to prune", advice=["say --keep-days N, --unused, or both"])
    number = _show(
        maintain.prune(
            # What others take, who trust other keys or nobody, is no less in use.
            _store(arguments, _of_anybody()),
            days=arguments.keep_days,
            unused=arguments.unused,
            dry_run=arguments.dry_run,
        ),
        arguments.reporter,
    )
    arguments.reporter.info(f"{number} files {'would go' if arguments.dry_run else 'removed'}")
    return 0


def _show(findings: Iterable[Finding], reporter: Reporter) -> int:
    """Tells the user of each; their number."""
    number = 0
    for finding in findings:
        reporter.result(printable_line(str(finding)))
        number += 1
    return number


def _store(arguments: argparse.Namespace, settings: Settings | None = None) -> Store:
    """The store of the settings; by default, of the environment's.

    Raises:
        UsageError: There is none.
    """
    store = Store.of(settings or Settings.read(), arguments.reporter.aside().notice)
    if store is None:
        raise UsageError("there is no store", advice=["set REZBUILD_STORE to a folder or address"])
    return store


def _key(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{8,64}", text):
        raise argparse.ArgumentTypeError("8 to 64 hex digits")
    return text


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = -1.0
    if not 0 <= days < 1e6:
        raise argparse.ArgumentTypeError("a number of days")
    return days
