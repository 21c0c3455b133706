"""The ratios as an SVG picture: one bar for each, from 1 on, with the interval of its median."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rezbuild.bench import Report, machine, report_format
from rezbuild.bench.numbers import Measurement, Spread
from rezbuild.util import svg as parts

_LESS, _MORE = "#1a7f5a", "#c4622d"
_WIDTH, _LABELS, _NUMBERS, _MARGIN = 860, 240, 170, 20
_ROW, _HEAD, _FOOT = 22, 76, 52
_TICKS = (0.1, 0.2, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 5.0, 10.0)


def svg(report: Report) -> str:
    """Return the picture of all measurements that have a ratio."""
    rows = [(m, m.ratio) for m in report.measurements if m.ratio is not None]
    axis = _Axis([found for _, found in rows])
    height = _HEAD + _ROW * len(rows) + _FOOT
    first, second = (f"{one.label} ({one.version})" for one in report.interpreters)
    title = f"{first} relative to {second}"
    lines = [
        *parts.head(_WIDTH, height, title),
        parts.text(_MARGIN, 26, title, size=15),
        parts.text(_MARGIN, 44, f"left of 1: faster or less; lines: {report_format.INTERVAL}"),
        *axis.lines(height),
        *(line for index, row in enumerate(rows) for line in _row(index, row, axis)),
        parts.text(_MARGIN, height - 14, machine.describe(report.machine), size=10),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


class _Axis:
    """A logarithmic scale: half and double have the same distance from 1."""

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
            color = parts.TEXT_COLOR if tick == 1 else parts.LIGHT
            yield parts.line(x, _HEAD - 6, x, height - _FOOT + 6, color)
            if x - last > 30 and (tick == 1 or abs(x - self(1)) > 30):
                yield parts.text(x, _HEAD - 12, f"{tick:g}", anchor="middle")
                last = x


def _row(index: int, row: tuple[Measurement, Spread], axis: _Axis) -> Iterator[str]:
    measurement, found = row
    middle = _HEAD + _ROW * index + _ROW / 2
    left, right = sorted((axis(1), axis(found.median)))
    color = _LESS if found.median < 1 else _MORE
    yield parts.text(
        _LABELS - 10, middle + 4, f"{measurement.part}: {measurement.name}", anchor="end"
    )
    yield (
        f'<rect x="{left:.1f}" y="{middle - 7:.1f}" width="{max(right - left, 1):.1f}"'
        f' height="14" fill="{color}"/>'
    )
    if found.low != found.high:
        low, high = axis(found.low), axis(found.high)
        yield parts.line(low, middle, high, middle, parts.TEXT_COLOR)
        yield from (parts.line(x, middle - 4, x, middle + 4, parts.TEXT_COLOR) for x in (low, high))
    yield parts.text(_WIDTH - _MARGIN, middle + 4, str(found), anchor="end")
