"""The sizes of files as a treemap (SVG): each rectangle is a file or a folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rezbuild.util import svg as parts

_WIDTH, _HEIGHT, _TOP = 960, 520, 34
_LETTER = 6.4
# Rectangles of a picture, at least: folders are divided until there are so many.
_CELLS = 24
# Rectangles of a folder's own entries; one more holds the others.
_ENTRIES, _REST = 8, "(others)"
# Dark text is readable on all of these.
_FILLS = ("#a7c7e7", "#f5c99b", "#b5d8a0", "#d9b8e8", "#f0a9a9", "#a8dcd5", "#e3d58a", "#c9c9dd")


@dataclass(frozen=True)
class Cell:
    """A file, or a folder with all that it contains.

    Attributes:
        path: Relative to the payload; a folder ends in ``/``, and the other entries of a folder
            are ``(others)`` in it.
        size: In bytes.
        files: The number of files.
    """

    path: str
    size: int
    files: int


def cells(sizes: Mapping[str, int]) -> list[Cell]:
    """Return the largest parts of a tree, largest first; together they are the whole tree."""
    found, files = _inside(sizes, ""), list[Cell]()
    while found and len(found) + len(files) < _CELLS:
        largest = found.pop(0)
        if largest.path.endswith("/"):
            found = _sorted([*found, *_inside(sizes, largest.path)])
        else:
            files.append(largest)
    return _sorted([*found, *files])


def _inside(sizes: Mapping[str, int], folder: str) -> list[Cell]:
    """Return the largest entries of a folder, and one cell for all others."""
    entries: dict[str, list[int]] = {}
    for path, size in sizes.items():
        if path.startswith(folder):
            name, slash, _ = path[len(folder) :].partition("/")
            entries.setdefault(f"{folder}{name}{slash}", []).append(size)
    found = _sorted(Cell(path, sum(own), len(own)) for path, own in entries.items() if sum(own))
    rest = found[_ENTRIES:]
    if len(rest) < 2:
        return found
    size, files = sum(cell.size for cell in rest), sum(cell.files for cell in rest)
    return [*found[:_ENTRIES], Cell(f"{folder}{_REST}", size, files)]


def _sorted(found: Iterable[Cell]) -> list[Cell]:
    return sorted(found, key=lambda cell: (-cell.size, cell.path))


def svg(found: Sequence[Cell], title: str) -> str:
    """Return the picture."""
    tops = sorted({cell.path.partition("/")[0] for cell in found})
    fills = {top: _FILLS[number % len(_FILLS)] for number, top in enumerate(tops)}
    lines = [*parts.head(_WIDTH, _HEIGHT, title), parts.text(8, 22, title, size=15)]
    for cell, box in _place(found, (4.0, float(_TOP), _WIDTH - 8.0, _HEIGHT - _TOP - 4.0)):
        lines += _cell(cell, box, fills[cell.path.partition("/")[0]])
    return "\n".join([*lines, "</svg>"]) + "\n"


_Box = tuple[float, float, float, float]


def _place(found: Sequence[Cell], box: _Box) -> Iterator[tuple[Cell, _Box]]:
    """Divide the longer side of a box between two halves of about the same size."""
    if len(found) < 2:
        yield from ((cell, box) for cell in found)
        return
    total, cut, first = sum(cell.size for cell in found), 1, found[0].size
    while cut < len(found) - 1 and first + found[cut].size / 2 < total / 2:
        first, cut = first + found[cut].size, cut + 1
    x, y, width, height = box
    share = first / total
    if width >= height:
        one, other = width * share, width * (1 - share)
        boxes = (x, y, one, height), (x + one, y, other, height)
    else:
        one, other = height * share, height * (1 - share)
        boxes = (x, y, width, one), (x, y + one, width, other)
    yield from _place(found[:cut], boxes[0])
    yield from _place(found[cut:], boxes[1])


def _cell(cell: Cell, box: _Box, fill: str) -> Iterator[str]:
    x, y, width, height = box
    size = f"{cell.size / 1e6:.1f} MB" if cell.size >= 1e5 else f"{cell.size / 1e3:.1f} kB"
    place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    yield f"<g><title>{parts.plain(f'{cell.path}: {size}')}</title>"
    yield f'<rect {place} fill="{fill}" stroke="{parts.BACKGROUND}" stroke-width="2"/>'
    room = int((width - 12) / _LETTER)
    last = cell.path.rstrip("/").rpartition("/")[2] + "/" * cell.path.endswith("/")
    name = next((text for text in (cell.path, last) if len(text) <= room), "")
    if name and height > 18:
        yield parts.text(x + 6, y + 15, name, size=11)
        if height > 34 and len(size) <= room:
            yield parts.text(x + 6, y + 29, size, size=11)
    yield "</g>"
