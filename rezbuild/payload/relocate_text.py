"""Makes the text files of a payload independent of where it was built and of where it stands."""

from __future__ import annotations

import io
import os
import re
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path

from rezbuild.errors import RelocationError

# Larger files are no text that we know of.
_LARGEST = 16 << 20
_SHEBANG = re.compile(rb"#!\s*(\S+)([^\n]*)\n")
_LAUNCHER = b"""#!/bin/sh
'''exec' "$(dirname -- "$(readlink -f -- "$0")")/%s"%s "$0" "$@"
' '''
"""


def fix(payload: Path, prefix: str, places: Mapping[Path, str]) -> list[Path]:
    """Rewrites scripts, ``.pc`` files and whatever names a folder of the build.

    Args:
        payload: Where the files lie now.
        prefix: What they were configured with.
        places: Folders of this machine, and the text to put for each.

    Returns:
        The files that changed.

    Raises:
        RelocationError: A script would no longer be one.
    """
    # A longer path goes first: it may lie below a shorter one.
    known = sorted(places.items(), key=lambda item: len(str(item[0])), reverse=True)
    changed = []
    for path in _texts(payload):
        old = path.read_bytes()
        new = _script(old, path, payload, prefix)
        for folder, instead in known:
            new = re.sub(re.escape(os.fsencode(folder)) + rb"(?![\w.-])", instead.encode(), new)
        if path.suffix == ".pc":
            new = _pkg_config(new, path.relative_to(payload), prefix)
        if new != old:
            _replace(path, new)
            changed.append(path)
    return changed


def _texts(payload: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(payload):
        for name in sorted(names):
            path = Path(folder, name)
            if not path.is_symlink() and path.is_file() and path.stat().st_size <= _LARGEST:
                with path.open("rb") as stream:
                    if b"\0" not in stream.read(4096):
                        yield path


def _script(data: bytes, path: Path, payload: Path, prefix: str) -> bytes:
    """A command whose interpreter is the payload's own finds it beside itself.

    The shell resolves the script's own real path, so that links to it and spaces in the path do
    no harm; to Python the shell's lines are a string. A module that merely starts like a script
    must not get such lines: they would be its docstring.
    """
    match = _SHEBANG.match(data)
    if match is None or not path.stat().st_mode & 0o111:
        return data
    named = os.fsdecode(match[1])
    interpreter = payload / "bin" / Path(named).name
    if named == "/usr/bin/env" or not (named.startswith(prefix + "/") or _is_python(named)):
        return data
    if path.parent != interpreter.parent:
        return b"#!/usr/bin/env python3\n" + data[match.end() :] if _is_python(named) else data
    if not interpreter.exists():
        return data
    launcher = _LAUNCHER % (os.fsencode(interpreter.name), match[2].rstrip())
    return _checked(launcher + _as_utf8(data)[match.end() :], path)


def _as_utf8(data: bytes) -> bytes:
    """The script in Python's default encoding: the launcher moves the line that names another."""
    encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
    if encoding in ("utf-8", "utf-8-sig"):
        return data
    return data.decode(encoding).replace("coding", "was written in", 1).encode()


def _checked(data: bytes, path: Path) -> bytes:
    try:
        compile(data, str(path), "exec", dont_inherit=True)
    except SyntaxError as error:
        raise RelocationError(
            f"{path} cannot be given a launcher: {error.msg}",
            advice=["a docstring before 'from __future__' cannot stay one; leave the script out"],
        ) from None
    return data


def _is_python(named: str) -> bool:
    # e.g. python3.13t, the program without the GIL
    return re.fullmatch(r"(.*/)?python[\d.]*t?", named) is not None


def _pkg_config(data: bytes, place: Path, prefix: str) -> bytes:
    """Computes from ``${pcfiledir}``, which pkg-config(1) sets to the file's own folder."""
    up = "/".join([".."] * len(place.parent.parts))
    data = re.sub(rb"(?m)^prefix\s*=.*$", b"prefix=${pcfiledir}/" + up.encode(), data)
    return data.replace(prefix.encode(), b"${prefix}")


def _replace(path: Path, data: bytes) -> None:
    mode = path.stat().st_mode
    path.chmod(mode | 0o200)
    path.write_bytes(data)
    path.chmod(mode)
