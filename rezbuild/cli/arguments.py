"""Options that several commands share, and the types of arguments.

A type raises argparse.ArgumentTypeError, which argparse prints as a usage error.
"""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path
from typing import Any, TypeVar

from rezbuild.settings import MOST_JOBS, PROFILES, whole_number
from rezbuild.util.words import reason

_Parser = TypeVar("_Parser", bound=argparse.ArgumentParser)
# The default name of a lock file.
LOCK_FILE = "rezbuild.lock"


def add_command(
    parsers: argparse._SubParsersAction[_Parser],
    name: str,
    summary: str,
    **options: Any,
) -> _Parser:
    """Add a command, and return its parser.

    Args:
        parsers: The commands of a parser.
        name: The name of the command.
        summary: What it does, for the list of commands.
        options: For the parser.
    """
    text = summary[0].upper() + summary[1:] + "."
    return parsers.add_parser(name, help=summary, description=text, allow_abbrev=False, **options)


def add_payload(
    parser: argparse.ArgumentParser, text: str = "a payload, or e.g. python-3.11"
) -> None:
    """Add the argument that names a payload."""
    parser.add_argument("what", metavar="PATH or REQUEST", type=not_empty, help=text)


def add_recipes(parser: argparse.ArgumentParser) -> None:
    """Add ``--recipes``."""
    parser.add_argument(
        "--recipes",
        metavar="DIR",
        type=folder,
        help="folder of recipes; default: REZBUILD_RECIPES, or packages/ here or above",
    )


def add_glibc(parser: argparse.ArgumentParser) -> None:
    """Add ``--glibc``."""
    parser.add_argument(
        "--glibc",
        metavar="VERSION",
        default="",
        help="build for this glibc, e.g. 2.28, or for the glibc of a year, e.g. CY2026;"
        " overrides REZBUILD_GLIBC; default: the host's",
    )


def add_glibc_max(parser: argparse.ArgumentParser) -> None:
    """Add ``--glibc-max``."""
    parser.add_argument(
        "--glibc-max",
        metavar="VERSION",
        default="",
        help="newest glibc that a payload may need, or a platform's year, e.g. CY2026;"
        " overrides REZBUILD_GLIBC_MAX",
    )


def add_jobs(parser: argparse.ArgumentParser) -> None:
    """Add ``--jobs``."""
    parser.add_argument("-j", "--jobs", metavar="N", type=job_count, help="overrides REZBUILD_JOBS")


def add_locked(parser: argparse.ArgumentParser) -> None:
    """Add ``--locked``."""
    parser.add_argument(
        "--locked",
        metavar="FILE",
        nargs="?",
        const=Path(LOCK_FILE),
        type=folder,
        help="take the requests and the exact versions of this lock file, or fail if they are not"
        f" possible; default: {LOCK_FILE}",
    )


def add_strict(parser: argparse.ArgumentParser) -> None:
    """Add ``--strict``."""
    parser.add_argument(
        "--strict",
        action="store_true",
        help="fail if a source cannot be fetched here, instead of taking another version",
    )


def add_build_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of commands that build for a user: profile, jobs, glibc and recipes."""
    parser.add_argument("--profile", choices=PROFILES, help="overrides REZBUILD_PROFILE")
    add_jobs(parser)
    add_glibc(parser)
    add_glibc_max(parser)
    add_recipes(parser)


def words(text: str) -> list[str]:
    """Split a command as a shell does."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"cannot be read as a command: {reason(error)}") from None


def names(text: str) -> tuple[str, ...]:
    """Split names at commas."""
    return tuple(text.split(","))


def not_empty(text: str) -> str:
    """Return the text; an unset variable of a script gives an empty one."""
    if not text:
        raise argparse.ArgumentTypeError("must not be empty")
    return text


def folder(text: str) -> Path:
    """Return a path. An empty one would be the current folder."""
    return Path(not_empty(text))


def port(text: str) -> int:
    """Return a TCP port; 0 is any free one."""
    if whole_number(text) not in range(65536):
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to 65535, not {text!r}")
    return int(text)


def label(text: str) -> str:
    """Return a label, e.g. ``debian12``."""
    if not re.fullmatch(r"[A-Za-z0-9_.-]{0,64}", text):
        raise argparse.ArgumentTypeError(f"must have letters, digits and ._- only, not {text!r}")
    return text


def job_count(text: str) -> int:
    """Return a number of parallel jobs, or of rounds."""
    if whole_number(text) not in range(1, MOST_JOBS + 1):
        raise argparse.ArgumentTypeError(
            f"must be a whole number from 1 to {MOST_JOBS}, not {text!r}"
        )
    return int(text)


def day_count(text: str) -> float:
    """Return a number of days."""
    try:
        days = float(text)
    except ValueError:
        days = -1.0
    if not 0 <= days < 1e6:
        raise argparse.ArgumentTypeError(f"must be a number of days, not {text!r}")
    return days
