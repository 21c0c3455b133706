"""Which paths of a machine a file names: every byte is read, of compiled files too."""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Union
from urllib.parse import quote

from rezbuild.payload.dependency import PLACEHOLDER_ROOT

# A file that was read, or is mapped because it is large.
Data = Union[bytes, mmap.mmap]

# What a path may go on with: then it is another one, as in /mnt/repo and /mnt/repository.
_END = rb"(?![\w\x80-\xff-]|\.\w)"
# Between two parts of a path: also as // and /./, and as JSON may write it, \\/.
_MORE = rb"(?:\.?\\?/)*"
_SLASH = rb"\\?/" + _MORE
_PREFIX = re.compile(re.escape(PLACEHOLDER_ROOT.encode()) + rb"(?:source|[\w+.]+-\d)[\w.+-]*")


class Places:
    """Paths to look for, all in one go.

    Args:
        places: Absolute paths; of others nothing can be said.
    """

    def __init__(self, places: Iterable[str | Path]) -> None:
        self.names = tuple(sorted(_spellings(places), key=len, reverse=True))
        # That each begins with the same byte makes the search many times faster.
        choice = _choice(name[1:].split(b"/") for name in self.names)
        self._anywhere = re.compile(choice)
        self._in_text = re.compile(choice + _END)
        # In UTF-16 of either byte order, zeros are between the bytes of ASCII.
        wide = (b"\0".join(bytes([byte]) for byte in name[1:]) for name in self.names)
        self._wide = re.compile(b"/\0(?:" + b"|".join(map(re.escape, wide)) + b")")

    def in_data(self, data: Data, *, text: bool) -> list[str]:
        """Those that the bytes of a file name.

        Args:
            data: The whole file.
            text: It is no compiled one, in which anything may follow a path without a gap.
        """
        if not self.names:
            return []
        pattern = self._in_text if text else self._anywhere
        found = {match[0] for match in pattern.finditer(data)}
        if not text:
            found |= {match[0].replace(b"\0", b"") for match in self._wide.finditer(data)}
        return [os.fsdecode(name) for name in sorted(found)]

    def in_name(self, path: str) -> list[str]:
        """Those that a path inside a payload repeats, as a wrong DESTDIR makes them."""
        return self.in_data(os.fsencode(f"/{path}"), text=True)


def placeholder_prefix(data: Data) -> str:
    """The prefix of a build, or of what it was built against, that a text names; "" for none."""
    match = _PREFIX.search(data)
    return os.fsdecode(match[0]) if match else ""


def _choice(names: Iterable[list[bytes]]) -> bytes:
    """A pattern for paths, however their parts are put together."""
    return b"/" + _MORE + b"(?:" + b"|".join(_SLASH.join(map(re.escape, n)) for n in names) + b")"


def _spellings(places: Iterable[str | Path]) -> set[bytes]:
    """Each as it is given, without its links, and as a URL has it."""
    found = set()
    for place in map(str, places):
        if place.startswith("/"):
            for path in (place.rstrip("/"), os.path.normpath(place), os.path.realpath(place)):
                found |= {os.fsencode(path), quote(os.fsencode(path)).encode()}
    return {name for name in found if len(name) > 1}
