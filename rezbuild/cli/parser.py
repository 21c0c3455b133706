"""The parser of the command line, with hints for unknown options."""

from __future__ import annotations

import argparse
import difflib
import itertools
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """A parser whose errors for unknown options and commands name the nearest one.

    An unknown option may mean an argument without a name.

    The parsers of commands are of this class, too.
    """

    _given: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse words; unknown ones are an error of this command, not of the one above."""
        self._given = sys.argv[1:] if args is None else list(args)
        found, left = super().parse_known_args(self._given, namespace)
        if left:
            self.error(f"unknown arguments: {' '.join(left)}")
        return found, left

    def error(self, message: str) -> NoReturn:
        """Print the usage and an error, and exit; an unknown option is the likely cause of others.

        For example, the value of an unknown option becomes a request.
        """
        super().error(next(self._unknown(), message))

    def _unknown(self) -> Iterator[str]:
        """Yield a line for each unknown option of this command, and for an unknown command."""
        words = itertools.takewhile(lambda word: word != "--", self._given)
        if self._subparsers:  # the others are of the command below
            words = itertools.takewhile(lambda word: word.startswith("-"), words)
        for word in words:
            name = word.partition("=")[0]
            if name.startswith("--") and name not in self._option_string_actions:
                yield f"{name} is unknown{self._hint(name)}"
        if self._subparsers:
            yield from self._unknown_command()

    def _unknown_command(self) -> Iterator[str]:
        known = next(iter(self._get_positional_actions())).choices or ()
        word = next((word for word in self._given if not word.startswith("-")), "")
        near = difflib.get_close_matches(word, known, 1)
        if word not in known and near:
            yield f"{word} is unknown; is it {near[0]}?"

    def _hint(self, name: str) -> str:
        plain = {
            f"--{text.lower()}": action.metavar or action.dest
            for action in self._get_positional_actions()
            for text in (action.dest, action.metavar)
            if isinstance(text, str)
        }
        near = next(
            iter(difflib.get_close_matches(name, {**self._option_string_actions, **plain}, 1)), ""
        )
        if near in self._option_string_actions:
            return f"; is it {near}?"
        if self._subparsers:
            return f"; options follow the command: {self.prog} COMMAND"
        return f"; give {plain[near]} alone: {self.prog} {plain[near]}" if near else ""
