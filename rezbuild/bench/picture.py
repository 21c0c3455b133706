"""The ratios as a picture: one bar each from 1 on, with the interval of its median, as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape, quoteattr

from rezbuild.bench import Report, machine, show
from rezbuild.bench.numbers import Measurement, Spread

# It has a ground of its own, so that it can be read on any page, and uses no font by name.
_GROUND, _INK, _PALE = "#ffffff", "#24292f", "#d0d7de"
_LESS, _MORE = "#1a7f5a", "#c4622d"
_WIDTH, _LABELS, _NUMBERS, _MARGIN = 860, 240, 170, 20
_ROW, _HEAD, _FOOT = 22, 76, 52
_TICKS = (0.1, 0.2, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 5.0, 10.0)


def svg(report: Report) -> str:
    """The picture; of what has a ratio."""
    rows = [(m, m.ratio) for m in report.measurements if m.ratio is not None]
    axis = _Axis([found for _, found in rows])
    height = _HEAD + _ROW * len(rows) + _FOOT
    first, second = (f"{one.label} ({one.version})" for one in report.interpreters)
    title = f"{first} relative to {second}"
    lines = [
        _head(height, title),
        f"<title>{escape(title)}</title>",
        f'<rect width="{_WIDTH}" height="{height}" rx="6" fill="{_GROUND}"/>',
        _text(_MARGIN, 26, title, size=15),
        _text(_MARGIN, 44, f"left of 1: faster or less; lines: {show.INTERVAL}"),
        *axis.lines(height),
        *(line for index, row in enumerate(rows) for line in _row(index, row, axis)),
        _text(_MARGIN, height - 14, machine.line(report.machine), size=10),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _head(height: int, title: str) -> str:
    size = f'viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
    said = f'role="img" aria-label={quoteattr(title)}'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {said} font-family="sans-serif">'


class _Axis:
    """Where a ratio stands: on a logarithmic scale, where half and double are as far from 1."""

    def __init__(self, found: Sequence[Spread]) -> None:
        values = [value for one in found for value in (one.low, one.high)]
        self.low = min([0.9, *values]) * 0.97
        self.high = max([1.1, *values]) * 1.03

    def __call__(self, ratio: float) -> float:
        width = _WIDTH - _LABELS - _NUMBERS - _MARGIN
        share = math.log(ratio / self.low) / math.log(self.high / self.low)
        return _LABELS + share * width

    def lines(self, height: int) -> Iterator[str]:
        last = -math.inf
        ticks = [tick for tick in _TICKS if self.low <= tick <= self.high]
        for tick in ticks:
            x = self(tick)
            color = _INK if tick == 1 else _PALE
            yield _line(x, _HEAD - 6, x, height - _FOOT + 6, color)
            if x - last > 30 and (tick == 1 or abs(x - self(1)) > 30):
                yield _text(x, _HEAD - 12, f"{tick:g}", anchor="middle")
                last = x


def _row(index: int, row: tuple[Measurement, Spread], axis: _Axis) -> Iterator[str]:
    measurement, found = row
    middle = _HEAD + _ROW * index + _ROW / 2
    left, right = sorted((axis(1), axis(found.median)))
    color = _LESS if found.median < 1 else _MORE
    yield _text(_LABELS - 10, middle + 4, f"{measurement.part}: {measurement.name}", anchor="end")
    yield (
        f'<rect x="{left:.1f}" y="{middle - 7:.1f}" width="{max(right - left, 1):.1f}"'
        f' height="14" fill="{color}"/>'
    )
    if found.low != found.high:
        low, high = axis(found.low), axis(found.high)
        yield _line(low, middle, high, middle, _INK)
        yield from (_line(x, middle - 4, x, middle + 4, _INK) for x in (low, high))
    yield _text(_WIDTH - _MARGIN, middle + 4, show.ratio(found), anchor="end")


def _line(x1: float, y1: float, x2: float, y2: float, color: str) -> str:
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{color}"/>'


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{_INK}"'
    return f"<text {place}>{escape(text)}</text>"
