"""Old names of commands and options, and unknown settings, each with a notice.

Old names work for one more release. `rezbuild.settings.RENAMED` has those of settings.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence

from rezbuild.cli import setting_texts
from rezbuild.errors import REPORT
from rezbuild.reporter import EVENTS
from rezbuild.settings import RENAMED, STORE_ENTRY, STORE_ENTRY_CHECKED, STORE_FRESH
from rezbuild.util import jobserver, processes

_PREFIX = "REZBUILD_"
# Variables between processes of rezbuild.
_INTERNAL = {
    *(EVENTS, REPORT, STORE_ENTRY, STORE_ENTRY_CHECKED, STORE_FRESH),
    *("REZBUILD_REPLACE", jobserver.VARIABLE, processes.REZ),
}
# Versions of packages, and variables of the test suite.
_OTHER = re.compile(r"REZBUILD_(\w+_VERSION|TEST_\w+)")
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


def unknown_settings(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for the user for each REZBUILD_* variable that is no setting."""
    known = {
        name for group in setting_texts.GROUPS.values() for text in group for name in text.names
    }
    words = {text.removeprefix(_PREFIX): text for text in known}
    given = {name for name in environ if name.startswith(_PREFIX) and not _OTHER.fullmatch(name)}
    for name in sorted(given - known - _INTERNAL - set(RENAMED)):
        near = difflib.get_close_matches(name.removeprefix(_PREFIX), words, 1)
        yield f"notice: {name} is unknown{f'; is it {words[near[0]]}?' if near else ''}"


def _option(word: str) -> str:
    name, equals, value = word.partition("=")
    return f"{OPTIONS.get(name, name)}{equals}{value}"
