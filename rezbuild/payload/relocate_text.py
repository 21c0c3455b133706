"""Make the text files of a payload relocatable."""

from __future__ import annotations

import io
import os
import re
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path

from rezbuild.errors import RelocationError

# Larger files are not scripts or configuration.
_LARGEST = 16 << 20
_SHEBANG = re.compile(rb"#!\s*(\S+)([^\n]*)\n")
_LAUNCHER = b"""#!/bin/sh
'''exec' "$(dirname -- "$(readlink -f -- "$0")")/%s"%s "$0" "$@"
' '''
"""


def fix(payload: Path, prefix: str, places: Mapping[Path, str]) -> list[Path]:
    """Rewrite scripts, ``.pc`` files, and files that contain folders of the build.

    Args:
        payload: The folder of the files.
        prefix: The placeholder prefix.
        places: Folders of this machine, with their replacements.

    Returns:
        The changed files.

    Raises:
        RelocationError: A script is not valid Python after the change.
    """
    # Longer paths first: they may be below shorter ones.
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
    """Make a script find the payload's Python in its own folder.

    The new first lines are a shell command that resolves the script's real path, so links and
    spaces work. For Python, these lines are a string. A module that is not executable must not get
    them: they would be its docstring.
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
    """Return the script in UTF-8: after the launcher, Python does not read its coding line."""
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
            advice=["remove the script in the recipe, or its docstring before 'from __future__'"],
        ) from None
    return data


def _is_python(named: str) -> bool:
    # e.g. python3.13t, the program without the GIL
    return re.fullmatch(r"(.*/)?python[\d.]*t?", named) is not None


def _pkg_config(data: bytes, place: Path, prefix: str) -> bytes:
    """Compute the prefix from ``${pcfiledir}``, which is the folder of the file, pkg-config(1)."""
    up = "/".join([".."] * len(place.parent.parts))
    data = re.sub(rb"(?m)^prefix\s*=.*$", b"prefix=${pcfiledir}/" + up.encode(), data)
    return data.replace(prefix.encode(), b"${prefix}")


def _replace(path: Path, data: bytes) -> None:
    mode = path.stat().st_mode
    path.chmod(mode | 0o200)
    path.write_bytes(data)
    path.chmod(mode)
