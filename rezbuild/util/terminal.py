"""Text for a terminal: escapes for text of servers, archives and payloads, and colors."""

from __future__ import annotations

import os
import re
from typing import TextIO

# Control characters, which a terminal may obey, marks that change the direction of reading, and
# bytes of file names that are not UTF-8.
_UNPRINTABLE = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

# Styles and their codes (ECMA-48, SGR). Rich uses the same names.
STYLES = {"yellow": "33", "bold red": "1;31"}


def printable(text: str) -> str:
    """Escape characters that a terminal would not show; keep line feeds and tabs."""
    return _UNPRINTABLE.sub(_escape, text)


def printable_line(text: str) -> str:
    """Escape line feeds and tabs, too, so that a file name cannot add a line."""
    return printable(text).replace("\n", r"\n").replace("\t", r"\t")


def has_colors(stream: TextIO) -> bool:
    """Return whether a stream shows colors: https://no-color.org and https://force-color.org."""
    if os.environ.get("NO_COLOR"):
        return False
    is_able = stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    return is_able or bool(os.environ.get("FORCE_COLOR"))


def paint(text: str, style: str, stream: TextIO) -> str:
    """Return a text with the codes of a style of `STYLES`, if the stream shows colors."""
    if not style or not has_colors(stream):
        return text
    return f"\x1b[{STYLES[style]}m{text}\x1b[0m"


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:  # a byte, as os.fsdecode() keeps it
        code -= 0xDC00
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"
