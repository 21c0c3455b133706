"""The command ``rezbuild completion``. The library shtab makes the scripts from the parsers."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rezbuild.catalogue import model, platform_years, sources_toml
from rezbuild.cli.arguments import add_recipes
from rezbuild.cli.context import find_recipes
from rezbuild.errors import MachineError, RezbuildError
from rezbuild.run.cache_folder import KINDS
from rezbuild.util import extras, words

SHELLS = ("bash", "zsh", "fish")
# Lists that the scripts ask for.
NAMES, REQUESTS = "names", "requests"
EPILOG = """\
examples:
  rezbuild completion bash > ~/.local/share/bash-completion/completions/rezbuild
  rezbuild completion fish > ~/.config/fish/completions/rezbuild.fish
The scripts call "rezbuild completion names" and "rezbuild completion requests" for packages
and versions of the catalogue. docs/how-to/completion.md describes each shell.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=(*SHELLS, NAMES, REQUESTS), help="a shell, or a list")
    add_recipes(parser)


def run(arguments: argparse.Namespace) -> int:
    if arguments.what in SHELLS:
        arguments.reporter.result(_script(arguments.what))
        return 0
    try:
        folder = find_recipes(arguments)
    except RezbuildError:  # the shell completes nothing
        return 0
    found = dict.fromkeys(_names(folder) if arguments.what == NAMES else _requests(folder))
    arguments.reporter.result("\n".join(found))
    return 0


def _script(shell: str) -> str:
    """Return the script of a shell.

    Raises:
        MachineError: shtab is not installed.
    """
    try:
        import shtab
    except ImportError as error:
        raise MachineError(
            f"rezbuild completion needs the Python package shtab: {words.reason(error)}",
            advice=[f"install it: {extras.install_command('completion')}"],
        ) from None
    from rezbuild.cli.main import make_parser

    parser = make_parser()
    values = {
        "DIR": shtab.DIRECTORY,
        "FILE": shtab.FILE,
        "NAME": _call(NAMES),
        "NAME or REQUEST": _call(REQUESTS),
        "REQUEST": _call(REQUESTS),
        "PATH or REQUEST": _call(REQUESTS, path=True),
    }
    for action in _actions(parser):
        if action.metavar == "KIND":
            action.choices = [kind.name for kind in KINDS]
        elif action.metavar in values:
            action.complete = values[action.metavar]  # type: ignore[attr-defined]
    script = str(shtab.complete(parser, shell))
    # shtab 1.13 completes only the first one of several arguments in zsh: *:TEXT:ACTION stands for
    # all of them (zshcompsys(1), _arguments).
    return re.sub(r'(?m)^  "\(\*\)::?', '  "*:', script) if shell == "zsh" else script


def _call(what: str, *, path: bool = False) -> dict[str, Any]:
    """Return how each shell gets the words of a list, for shtab.

    Args:
        what: `NAMES` or `REQUESTS`.
        path: Also complete paths.
    """
    # By _file in the name, shtab's script for bash knows that it completes paths.
    function = f"_rezbuild_{what}{'_or_file' if path else ''}"
    ask = f"rezbuild completion {what} 2>/dev/null"
    bash = [f'compgen -W "$({ask})" -- "$1"', *(['compgen -f -- "$1"'] if path else [])]
    zsh = [f'compadd -- ${{(f)"$({ask})"}}', *(["_files"] if path else [])]
    fish = [f"({ask})", *(["(__fish_complete_path (commandline -ct))"] if path else [])]
    return {
        "bash": function,
        "zsh": function,
        "fish": " ".join(fish),
        "preamble": {"bash": _function(function, bash), "zsh": _function(function, zsh)},
    }


def _function(name: str, lines: Sequence[str]) -> str:
    return "\n".join([f"{name}() {{", *(f"  {line}" for line in lines), "}"])


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the arguments of a parser and of the commands below it."""
    for action in parser._actions:  # noqa: SLF001 (argparse has no other list)
        if isinstance(action.choices, dict):
            for child in action.choices.values():
                yield from _actions(child)
        else:
            yield action


def _names(folder: Path) -> Iterator[str]:
    for file in (model.FILE_NAME, platform_years.FILE_NAME):
        yield from (path.parent.name for path in sorted(folder.glob(f"*/{file}")))


def _requests(folder: Path) -> Iterator[str]:
    """Yield requests: packages, their series, then their versions."""
    names, versions = list(_names(folder)), []
    for path in sorted(folder.glob(f"*/{model.FILE_NAME}")):
        versions += [f"{path.parent.name}-{v}" for v in sources_toml.load(path.parent).releases]
    for years in platform_years.find(folder).values():
        versions += map(str, years)
    yield from names
    yield from (".".join(version.split(".")[:2]) for version in versions)
    yield from versions
