"""Compare two trees of files, and show differences so that a user can find the cause."""

from __future__ import annotations

import difflib
import io
import itertools
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from rezbuild.files import safe_files
from rezbuild.util import words

# Lines to show for one file.
_MOST = 20
_WINDOW = 24  # bytes shown from the first that differs
_AR = b"!<arch>\n"  # ar(5)
_TEXT = re.compile(rb"[\x20-\x7e]{4,}")


@dataclass(frozen=True)
class Difference:
    """A path that differs between the trees.

    Attributes:
        path: The path, relative to both trees.
        what: The difference in a few words.
        detail: Lines that show the difference.
    """

    path: str
    what: str
    detail: tuple[str, ...] = ()


def compare(first: Path, second: Path, ignored: Iterable[str] = ()) -> Iterator[Difference]:
    """Compare names, kinds, modes, targets of links, and contents; ignore times.

    Args:
        first: A folder.
        second: The other folder.
        ignored: Relative paths to skip.

    Raises:
        OSError: A file cannot be read.
    """
    one, other = (_listing(root, set(ignored)) for root in (first, second))
    for path in sorted({*one, *other}):
        if path not in one or path not in other:
            yield Difference(path, f"only in the {'first' if path in one else 'second'}")
            continue
        a, b = one[path], other[path]
        if stat.S_IFMT(a) != stat.S_IFMT(b):
            yield Difference(path, f"{_kind(a)} in the first, {_kind(b)} in the second")
        elif stat.S_ISLNK(a):
            yield from _links(path, first, second)
        else:
            yield from _modes(path, a, b)
            if stat.S_ISREG(a):
                yield from _contents(path, first / path, second / path)


def _listing(root: Path, ignored: set[str]) -> Mapping[str, int]:
    """Return the mode (``st_mode``) of each path below a folder, and of the folder as "."."""
    found = {".": root.lstat().st_mode}
    for path in safe_files.walk(root):
        found[str(path.relative_to(root))] = path.lstat().st_mode
    return {path: mode for path, mode in found.items() if path not in ignored}


def _kind(mode: int) -> str:
    kinds = {stat.S_IFREG: "a file", stat.S_IFDIR: "a folder", stat.S_IFLNK: "a link"}
    return kinds.get(stat.S_IFMT(mode), "something else")


def _links(path: str, first: Path, second: Path) -> Iterator[Difference]:
    a, b = os.readlink(first / path), os.readlink(second / path)
    if a != b:
        yield Difference(path, "leads elsewhere", (f"- {a}", f"+ {b}"))


def _modes(path: str, a: int, b: int) -> Iterator[Difference]:
    if a != b:
        modes = [f"{stat.S_IMODE(mode):o}" for mode in (a, b)]
        yield Difference(path, f"mode {modes[0]} and {modes[1]}")


def _contents(path: str, first: Path, second: Path) -> Iterator[Difference]:
    a, b = first.read_bytes(), second.read_bytes()
    if a == b:
        return
    detail = _by_diffoscope(first, second) or list(explain(a, b))
    if len(detail) > _MOST:
        detail = [*detail[:_MOST], f"... and {words.count(len(detail) - _MOST, 'line')} more"]
    yield Difference(path, "its content", tuple(detail))


def _by_diffoscope(first: Path, second: Path) -> list[str]:
    """Return the output of diffoscope, if it is installed: it knows many more kinds of files."""
    program = shutil.which("diffoscope")
    if program is None:
        return []
    argv = [program, "--text", "-", "--no-progress", str(first), str(second)]
    done = subprocess.run(argv, capture_output=True, check=False)
    # 1: the files differ. Other codes are errors of diffoscope.
    text = done.stdout.decode("utf-8", "replace") if done.returncode == 1 else ""
    # The first two lines name the files.
    return text.splitlines()[2:]


def explain(a: bytes, b: bytes) -> Iterator[str]:
    """Yield lines that show where two contents differ."""
    if a[:4] == b[:4] == b"\x7fELF":
        known = _elf(a, b)
    elif a.startswith(_AR) and b.startswith(_AR):
        known = _archive(a, b)
    elif _is_text(a) and _is_text(b):
        known = _text(a, b)
    else:
        known = iter(())
    lines = list(known)
    yield from lines or _bytes(a, b)


def _is_text(data: bytes) -> bool:
    try:
        return "\0" not in data.decode("utf-8")
    except UnicodeDecodeError:
        return False


def _text(a: bytes, b: bytes) -> Iterator[str]:
    # Not splitlines(): a form feed is no end of a line here.
    one, other = (data.decode("utf-8").split("\n") for data in (a, b))
    yield from itertools.islice(difflib.unified_diff(one, other, lineterm="", n=1), 2, None)


def _bytes(a: bytes, b: bytes) -> Iterator[str]:
    """Yield the first difference, with the text around it if there is any."""
    at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
    sizes = f", {len(a)} and {len(b)} bytes long" if len(a) != len(b) else ""
    count = sum(x != y for x, y in zip(a, b)) + abs(len(a) - len(b))
    yield f"{words.count(count, 'byte')} differ{'s' * (count == 1)}, the first at {at:#x}{sizes}"
    for sign, data in (("-", a), ("+", b)):
        word = next((m for m in _TEXT.finditer(data, max(at - 64, 0)) if m.end() > at), None)
        near = word is not None and word.start() <= at + _WINDOW
        shown = word[0].decode() if word and near else data[at : at + _WINDOW].hex(" ")
        yield f"{sign} {shown}"


def _elf(a: bytes, b: bytes) -> Iterator[str]:
    """Compare two ELF files by sections."""
    one, other = _sections(a), _sections(b)
    if not one or not other:
        return
    for name in [*one, *(name for name in other if name not in one)]:
        x, y = one.get(name), other.get(name)
        if x is None or y is None:
            yield f"section {name}: only in the {'second' if x is None else 'first'}"
        elif x != y:
            for number, line in enumerate(_text_or_bytes(x, y)):
                yield f"section {name}: {line}" if not number else f"  {line}"


def _text_or_bytes(x: bytes, y: bytes) -> Iterator[str]:
    words = [[m[0].decode() for m in _TEXT.finditer(data)] for data in (x, y)]
    changed = [
        line
        for line in difflib.unified_diff(words[0][:5000], words[1][:5000], lineterm="", n=0)
        if line[:3] not in ("---", "+++") and line[:2] != "@@"
    ]
    first, *rest = _bytes(x, y)
    yield first
    # Code contains letters by chance. A few changed texts, such as names and times, show the cause.
    yield from changed[:6] if 0 < len(changed) <= 6 else rest


def _sections(data: bytes) -> dict[str, bytes]:
    try:
        return {s.name or "(none)": s.data() for s in ELFFile(io.BytesIO(data)).iter_sections()}
    except (ELFError, ValueError, KeyError, OSError):
        return {}


def _archive(a: bytes, b: bytes) -> Iterator[str]:
    """Compare two static libraries by members."""
    one, other = dict(_members(a)), dict(_members(b))
    if list(one) != list(other):
        yield from _text("\n".join(one).encode(), "\n".join(other).encode())
    for name, (head, body) in one.items():
        head2, body2 = other.get(name, (head, body))
        if head != head2:
            yield f"member {name}: time, owner, mode, size: {head} and {head2}"
        if body != body2:
            for number, line in enumerate(explain(body, body2)):
                yield f"member {name}: {line}" if not number else f"  {line}"


def _members(data: bytes) -> Iterator[tuple[str, tuple[str, bytes]]]:
    """Yield name, rest of the header, and content of each member."""
    at, seen = len(_AR), 0
    while at + 60 <= len(data):
        header = data[at : at + 60].decode("latin-1")
        size = int(header[48:58]) if header[48:58].strip().isdecimal() else 0
        # Names may repeat, as in libcrypto.a, and long names are numbers.
        seen += 1
        body = data[at + 60 : at + 60 + size]
        yield f"{seen} {header[:16].strip()}", (" ".join(header[16:58].split()), body)
        at += 60 + size + size % 2
