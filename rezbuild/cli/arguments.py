"""Options that several commands have, and the types of arguments.

The types raise argparse.ArgumentTypeError, which argparse shows as a wrong usage.
"""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

from rezbuild.settings import MOST_JOBS, whole_number


def recipes_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--recipes``."""
    parser.add_argument(
        "--recipes",
        metavar="DIR",
        type=folder,
        help="folder of recipes; default: REZBUILD_RECIPES, or packages/ here or above",
    )


def glibc_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--glibc-max``."""
    parser.add_argument(
        "--glibc-max",
        metavar="VERSION",
        default="",
        help="newest glibc that a payload may need, or a platform's year, e.g. CY2026;"
        " overrides REZBUILD_GLIBC_MAX",
    )


def words(text: str) -> list[str]:
    """A command, as a shell splits it."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"cannot be read as a command: {error}") from None


def names(text: str) -> tuple[str, ...]:
    """Names, separated by commas."""
    return tuple(text.split(","))


def folder(text: str) -> Path:
    """A path that is not empty."""
    if not text:  # an unset variable of a script; it would be the current folder
        raise argparse.ArgumentTypeError("an empty name")
    return Path(text)


def port(text: str) -> int:
    """A TCP port; 0 is any."""
    if whole_number(text) not in range(65536):
        raise argparse.ArgumentTypeError("a whole number from 0 to 65535")
    return int(text)


def label(text: str) -> str:
    """A name of letters, digits and ``._-``."""
    if not re.fullmatch(r"[A-Za-z0-9_.-]{0,64}", text):
        raise argparse.ArgumentTypeError("letters, digits and ._- only")
    return text


def positive(text: str) -> int:
    """A whole number from 1 to the most jobs."""
    if whole_number(text) not in range(1, MOST_JOBS + 1):
        raise argparse.ArgumentTypeError(f"a whole number from 1 to {MOST_JOBS}")
    return int(text)
