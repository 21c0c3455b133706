"""Old names of commands and options. Each works for one more release, with a notice.

`rezbuild.settings.RENAMED` has the old names of settings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rezbuild.settings import RENAMED

COMMANDS = {"stage": "export"}
OPTIONS = {"--training": "--pgo-profile"}


def replace_old_names(words: Sequence[str]) -> list[str]:
    """Return the words of a command line with the current names of commands and options."""
    found = list(words)
    for number, word in enumerate(found):
        if not word.startswith("-"):
            found[number] = COMMANDS.get(word, word)
            break
    return [_option(word) for word in found]


def notices(words: Sequence[str], environ: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for the user for each old name in a command line and the environment."""
    pairs = [
        *zip(words, replace_old_names(words)),
        *((old, RENAMED[old]) for old in environ if old in RENAMED),
    ]
    for old, new in pairs:
        if old != new:
            yield f"notice: {old.partition('=')[0]} is deprecated; use {new.partition('=')[0]}"


def _option(word: str) -> str:
    name, equals, value = word.partition("=")
    return f"{OPTIONS.get(name, name)}{equals}{value}"
