"""Search for paths of a machine in the bytes of files, compiled ones, too."""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Union
from urllib.parse import quote

from rezbuild.payload.dependency import PLACEHOLDER_ROOT

# A file in memory, or a large one that is mapped.
Data = Union[bytes, mmap.mmap]

# A path must not continue with these, as /mnt/repo does in /mnt/repository.
_END = rb"(?![\w\x80-\xff-]|\.\w)"
# Separators of two parts of a path: also // and /./, and \\/ in JSON.
_MORE = rb"(?:\.?\\?/)*"
_SLASH = rb"\\?/" + _MORE
_PREFIX = re.compile(re.escape(PLACEHOLDER_ROOT.encode()) + rb"(?:source|[\w+.]+-\d)[\w.+-]*")


class Places:
    """A search for several paths at once.

    Args:
        places: Absolute paths; relative ones are ignored.
    """

    def __init__(self, places: Iterable[str | Path]) -> None:
        self.names = tuple(sorted(_spellings(places), key=len, reverse=True))
        # A common first byte makes the search many times faster.
        choice = _choice(name[1:].split(b"/") for name in self.names)
        self._anywhere = re.compile(choice)
        self._in_text = re.compile(choice + _END)
        # UTF-16 of both byte orders has zeros between the bytes of ASCII.
        wide = (b"\0".join(bytes([byte]) for byte in name[1:]) for name in self.names)
        self._wide = re.compile(b"/\0(?:" + b"|".join(map(re.escape, wide)) + b")")

    def in_data(self, data: Data, *, text: bool) -> list[str]:
        """Return the paths that a file contains.

        Args:
            data: The whole file.
            text: The file is text: the end of a path is checked. In compiled files, any byte may
                follow a path.
        """
        if not self.names:
            return []
        pattern = self._in_text if text else self._anywhere
        found = {match[0] for match in pattern.finditer(data)}
        if not text:
            found |= {match[0].replace(b"\0", b"") for match in self._wide.finditer(data)}
        return [os.fsdecode(name) for name in sorted(found)]

    def in_name(self, path: str) -> list[str]:
        """Return the paths that a path in a payload contains, e.g. after a wrong DESTDIR."""
        return self.in_data(os.fsencode(f"/{path}"), text=True)


def placeholder_prefix(data: Data) -> str:
    """Return the first placeholder prefix in a text, or ""."""
    match = _PREFIX.search(data)
    return os.fsdecode(match[0]) if match else ""


def _choice(names: Iterable[list[bytes]]) -> bytes:
    """Return a pattern for paths with any separators."""
    return b"/" + _MORE + b"(?:" + b"|".join(_SLASH.join(map(re.escape, n)) for n in names) + b")"


def _spellings(places: Iterable[str | Path]) -> set[bytes]:
    """Return each path as given, without links, and as in a URL."""
    found = set()
    for place in map(str, places):
        if place.startswith("/"):
            for path in (place.rstrip("/"), os.path.normpath(place), os.path.realpath(place)):
                found |= {os.fsencode(path), quote(os.fsencode(path)).encode()}
    return {name for name in found if len(name) > 1}
