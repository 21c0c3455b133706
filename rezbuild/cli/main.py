"""The main module of the command line. Each command is a module beside this one."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import os
import signal
import sys
from collections.abc import Iterable, Sequence
from typing import NoReturn

from rezbuild import __version__
from rezbuild.cli import aliases, setting_texts
from rezbuild.cli.arguments import add_command
from rezbuild.cli.parser import Parser
from rezbuild.errors import as_error
from rezbuild.files import cache_lock
from rezbuild.reporter import Reporter, add_options
from rezbuild.settings import Settings
from rezbuild.util.terminal import printable_line

# In the order of --help. The module of a command is imported when the command is called.
_COMMANDS = {
    "build": "build packages and what they need, and install them",
    "plan": "print what a build would do, why, and how long it takes; nothing is done",
    "lock": "write the exact versions of a build to a file, for build --locked",
    "rollback": "put back a released package that --replace has replaced",
    "fetch": "get and verify sources",
    "add-version": "add a version: fetch it, verify who signed it, write its catalogue entry",
    "versions": "show the catalogue: versions, tests, sources, and what is installed",
    "log": "show the last log of a package, of the failed step if there is one",
    "audit": "prove that a payload is relocatable and independent of the host",
    "manifest": "show the sources, compiler, flags and contents of a payload",
    "report": "write a page (HTML) about a payload, its changes, or all repositories",
    "check": "test a payload: the audit, the package's checks, upstream's own tests",
    "bench": "compare two Pythons: start, system calls, size, pyperformance",
    "reproduce": "build a package again under other conditions, and compare byte for byte",
    "export": "build a payload without a package manager, for a container or another packager",
    "scheduler": "run the scheduler of a farm",
    "worker": "build for a farm",
    "farm": "show the workers and jobs of a farm, and drain workers",
    "store": "manage the store of payloads that REZBUILD_STORE names",
    "cache": "show and clean the cache: sources, objects of compilers, ...",
    "doctor": "list what this machine lacks, and the command that installs it",
    "completion": "print the script that completes commands in bash, zsh or fish",
}
# While one of these runs, `rezbuild cache clean` removes nothing. Each job of a worker has a lock.
_USES_CACHE = ("add-version", "bench", "build", "export", "fetch", "lock", "reproduce")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line.

    Returns:
        0, the exit code of the error (`rezbuild.errors`), or 130 after Ctrl-C.
    """
    given = sys.argv[1:] if argv is None else argv
    words = aliases.replace_old_names(given)
    # The command is the first word that is no option: the options before it have no values.
    command = next((word for word in words if not word.startswith("-")), "")
    arguments = make_parser([command]).parse_args(words)
    reporter = arguments.reporter = Reporter(
        quiet=getattr(arguments, "quiet", False),
        verbose=getattr(arguments, "verbose", False),
        # With --json, standard output holds the result alone.
        stream=sys.stderr if getattr(arguments, "json", None) else None,
    )
    for line in (*aliases.notices(given, os.environ), *aliases.unknown_settings(os.environ)):
        reporter.on_stderr().notice(printable_line(line))
    signal.signal(signal.SIGTERM, _stop)
    # A shell without job control ignores SIGINT for programs in the background.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _stop)
    if isinstance(sys.stdout, io.TextIOWrapper):  # file names may hold bytes that are no text
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with contextlib.ExitStack() as stack:
            if command in _USES_CACHE:
                cache, say = Settings.read().cache, reporter.on_stderr().notice
                stack.enter_context(cache_lock.shared(cache, say))
            return int(arguments.command(arguments))
    except KeyboardInterrupt:
        reporter.error("\nrezbuild: interrupted")
        return 130
    except BrokenPipeError:
        # The reader of the pipe has ended, as in "| head".
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as exception:  # noqa: BLE001 (users see a message, not a traceback)
        error = as_error(exception)
        reporter.error(f"\nrezbuild: {error}")
        return error.exit_code


def _stop(number: int, _: object) -> NoReturn:
    """End the command on SIGTERM as on Ctrl-C: its child processes end too."""
    # Ignore further signals: Rez sends those that it gets to its process group, and so to this
    # process.
    for again in (signal.SIGINT, signal.SIGTERM):
        signal.signal(again, signal.SIG_IGN)
    raise KeyboardInterrupt(number)


def make_parser(commands: Iterable[str] = tuple(_COMMANDS)) -> argparse.ArgumentParser:
    """Return the parser. Only the modules of ``commands`` are imported, for their arguments."""
    parser = Parser(
        prog="rezbuild",
        description="Build CPython and its native dependencies as Rez packages that can be moved.",
        epilog=setting_texts.epilog(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"rezbuild {__version__}")
    parsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, summary in _COMMANDS.items():
        command = add_command(
            parsers, name, summary, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if name in commands:
            module = importlib.import_module(f"rezbuild.cli.{name.replace('-', '_')}")
            command.epilog = module.EPILOG
            module.add_arguments(command)
            add_options(command)
            command.set_defaults(command=module.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
