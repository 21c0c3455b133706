"""Text from elsewhere, fit for a terminal: servers, archives and payloads choose their own."""

from __future__ import annotations

import re

# Controls (a terminal obeys some of them), what turns the direction of reading, and the bytes of
# file names that are no text.
_ODD = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """The text with escapes for what a terminal would not show; lines and tabs stay."""
    return _ODD.sub(_escape, text)


def printable_line(text: str) -> str:
    """The same in one line: what has a line feed in its name cannot add a line of its own."""
    return printable(text).replace("\n", r"\n").replace("\t", r"\t")


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:  # a byte, as os.fsdecode() keeps it
        code -= 0xDC00
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"
