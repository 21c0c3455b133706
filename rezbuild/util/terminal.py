"""Escapes for text of servers, archives and payloads before a terminal shows it."""

from __future__ import annotations

import re

# Control characters, which a terminal may obey, marks that change the direction of reading, and
# bytes of file names that are not UTF-8.
_UNPRINTABLE = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Escape characters that a terminal would not show; keep line feeds and tabs."""
    return _UNPRINTABLE.sub(_escape, text)


def printable_line(text: str) -> str:
    """Escape line feeds and tabs, too, so that a file name cannot add a line."""
    return printable(text).replace("\n", r"\n").replace("\t", r"\t")


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:  # a byte, as os.fsdecode() keeps it
        code -= 0xDC00
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"
