"""Folders of one build, exchanged for names in a text, and names for another build's folders."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rezbuild.errors import UnpackError

# What stands for folders of one build, in what is kept.
_MARK = b"@rezbuild-place-"
# A path goes on with these: /work is no part of /workshop.
_LONGER = rb"(?!(?:\"\\\n\")?[\w.+@~-])"
# autoconf cuts long values in config.status into lines of 148 characters.
_CUT = b'"\\\n"'
_PLAIN = re.compile(r"(/[A-Za-z0-9_.+@~-]+){2,}")


@dataclass(frozen=True)
class Marks:
    """Folders that another build has elsewhere, each with a name.

    Args:
        folders: Absolute paths by name; in what is kept the names stand for them.
        build: The folder that holds the work of this build.
    """

    folders: Mapping[str, Path]
    build: Path

    @property
    def plain(self) -> bool:
        """Whether all are spelled the same in a shell, a Makefile and a file."""
        return all(_PLAIN.fullmatch(str(path)) for path in self.folders.values())

    def out(self, data: bytes) -> bytes:
        """Names in place of paths."""
        # Of one path by two names either will do; the longest first: they stand in one another.
        marks = {os.fsencode(path): _mark(name) for name, path in self.folders.items()}
        for path in sorted(marks, key=len, reverse=True):
            if path in data:
                data = re.sub(re.escape(path) + _LONGER, marks[path], data)
            if _CUT in data:
                between = b"(?:" + re.escape(_CUT) + b")?"
                letters = (re.escape(bytes([byte])) for byte in path)
                data = re.sub(between.join(letters) + _LONGER, marks[path], data)
        return data

    def into(self, data: bytes) -> bytes:
        """Paths in place of names.

        Raises:
            UnpackError: It has a name that is not known here.
        """
        if _MARK not in data:
            return data
        for name, path in self.folders.items():
            data = data.replace(_mark(name), os.fsencode(path))
        if _MARK in data:
            raise UnpackError("it names a folder that this build does not have")
        return data

    def kept(self, data: bytes) -> bytes | None:
        """What may be kept of a file; None where it would not be the same elsewhere."""
        found = self.out(data)
        # In a compiled file a path cannot be made longer.
        if _MARK in data or (found != data and b"\0" in data):
            return None
        paths = [os.fsencode(path) for path in (*self.folders.values(), self.build)]
        left = found.replace(_CUT, b"").replace(b"\\", b"")
        return None if any(path in left for path in paths) else found


def _mark(name: str) -> bytes:
    return _MARK + name.encode() + b"@"
