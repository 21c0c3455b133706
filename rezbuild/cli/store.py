"""The command ``rezbuild store``."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from dataclasses import asdict, replace

from rich.filesize import decimal

from rezbuild.cli.arguments import add_command, add_recipes, day_count
from rezbuild.cli.context import find_recipes
from rezbuild.errors import CheckError, UsageError
from rezbuild.files import temp_folders
from rezbuild.reporter import Reporter, add_options
from rezbuild.run import named_folders
from rezbuild.settings import Settings
from rezbuild.store import Store, maintain
from rezbuild.store.maintain import Finding
from rezbuild.util import json_output, words
from rezbuild.util.tables import TextTable, console
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
    """Add the commands below ``store``, and their arguments."""
    parsers = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, summary: str, *, json: bool = True) -> argparse.ArgumentParser:
        found = add_command(parsers, name, summary)
        add_options(found)
        if json:
            json_output.add_option(found)
        return found

    found = command("list", "list the entries")
    found.add_argument("names", nargs="*", metavar="NAME", help="packages; default: all")
    found.set_defaults(store_command=_list)

    found = command("add", "upload an installed package, if its recipe is unchanged", json=False)
    found.add_argument(
        "what", nargs="+", metavar="PATH or REQUEST", help="a payload, or e.g. python-3.11"
    )
    add_recipes(found)
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
        type=day_count,
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
    store = _open_store(arguments)
    found = list(maintain.list_entries(store, arguments.names))
    # Without a trusted key, the store verifies no signature.
    signed = "yes" if store.verifies else "not verified"
    sound = [entry for _, entry in found if not isinstance(entry, str)]
    if arguments.json:
        data = {
            "store": store.display_url,
            "entries": [entry.as_data() for entry in sound],
            "invalid": [{"place": at, "why": why} for at, why in found if isinstance(why, str)],
        }
        arguments.reporter.result(json_output.text("rezbuild-store-list", data))
    else:
        rows = [
            (
                *(entry.name, entry.version, entry.profile or "", decimal(entry.size)),
                *(str(entry.inputs.get("compiler", "")), entry.glibc),
                *(signed if entry.signature else "", entry.key[:16]),
            )
            for entry in sound
        ]
        head = ("package", "version", "profile", "size", "compiler", "glibc", "signed", "key")
        console().print(TextTable(head, [map(printable_line, row) for row in rows]))
    for place, why in found:
        if isinstance(why, str):
            arguments.reporter.on_stderr().notice(f"notice: {place}: {why}")
    return 0


def _add(arguments: argparse.Namespace) -> int:
    from rezbuild.store.add_installed import Uploader

    with temp_folders.folder():
        store, folder = _open_store(arguments), find_recipes(arguments)
        uploader = Uploader(store, folder, Settings.read(), arguments.reporter.info)
        for what in arguments.what:
            uploader.add(what)
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    with temp_folders.folder():
        store, reporter = _open_store(arguments), arguments.reporter
        number = _show(maintain.verify(store, reporter.info, remove=arguments.remove), arguments)
    if number:
        raise CheckError(
            f"the store has {number} damaged files",
            advice=[
                "build the packages again when you need them: the damaged files are removed"
                if arguments.remove
                else "remove them: rezbuild store verify --remove (no build uses them)"
            ],
        )
    return 0


def _revoke(arguments: argparse.Namespace) -> int:
    store = _open_store(arguments, _settings_without_trust())
    _show(maintain.revoke(store, arguments.key, arguments.because), arguments)
    return 0


def _settings_without_trust() -> Settings:
    """Return settings that accept entries without a trusted signature, and revoked ones."""
    return replace(Settings.read(), store_trust=(), store_sign=None, store_revoked=None)


def _prune(arguments: argparse.Namespace) -> int:
    if arguments.keep_days is None and not arguments.unused:
        raise UsageError(
            "rezbuild store prune requires --keep-days or --unused",
            advice=["give --keep-days N, --unused, or both"],
        )
    number = _show(
        maintain.prune(
            # Entries that only other users trust are in use, too.
            _open_store(arguments, _settings_without_trust()),
            days=arguments.keep_days,
            unused=arguments.unused,
            dry_run=arguments.dry_run,
        ),
        arguments,
    )
    verb = "would be removed" if arguments.dry_run else "removed"
    arguments.reporter.info(f"{words.count(number, 'file')} {verb}")
    return 0


def _show(findings: Iterable[Finding], arguments: argparse.Namespace) -> int:
    """Print findings; return how many there are."""
    reporter: Reporter = arguments.reporter
    found = []
    try:
        for finding in findings:
            found.append(asdict(finding))
            if not arguments.json:
                reporter.result(printable_line(str(finding)))
    finally:
        if arguments.json:
            reporter.result(json_output.text("rezbuild-store-findings", {"findings": found}))
    return len(found)


def _open_store(arguments: argparse.Namespace, settings: Settings | None = None) -> Store:
    """Open the store of the settings; by default, of those in the environment.

    Raises:
        UsageError: No store is set.
        MachineError: The folder does not exist.
    """
    settings = settings or Settings.read()
    named_folders.require(replace(settings, mirrors=()))
    store = Store.of(settings, arguments.reporter.on_stderr().notice)
    if store is None:
        raise UsageError("no store is set", advice=["set REZBUILD_STORE to a folder or address"])
    return store


def _key(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{8,64}", text):
        raise argparse.ArgumentTypeError(f"must have 8 to 64 hex digits, not {text!r}")
    return text
