"""The timeline of a run as SVG: a row for each worker, or each parallel build of this machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rezbuild.util import svg as parts
from rezbuild.util import words

# Taken: restored from the store, or ready from an earlier run. Lost: with its worker.
BUILT, TAKEN, PUBLISHED, FAILED, STOPPED, LOST = (
    *("built", "taken", "published", "failed", "stopped", "lost"),
)
# The name of this machine's rows.
HERE = "here"
_WIDTH, _MARGIN, _ROW, _HEAD, _FOOT = 1000, 20, 22, 88, 56
# The widths of letters in labels (size 11) and in other texts (size 12).
_SMALL, _LETTER = 6.2, 6.8
# Names are readable on all of these colours. The packages that take longest get different ones.
_FILLS = ("#a7c7e7", "#f5c99b", "#b5d8a0", "#d9b8e8", "#f0a9a9", "#a8dcd5", "#e3d58a", "#c9c9dd")
_STATES = {
    FAILED: "#ff7b72",
    STOPPED: "#9aa4ae",
    LOST: "#9aa4ae",
    TAKEN: "#dfe3e8",
    PUBLISHED: "#dfe3e8",
}
_MARK = "#24292f"
_TICKS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)


@dataclass(frozen=True)
class Bar:
    """A build, or the part of it on one worker.

    Attributes:
        job: The step, as the user saw it.
        package: Its package.
        worker: The worker; "" for this machine.
        began, ended: Seconds since the begin of the run.
        state: A state of this module.
        critical: Whether it is on the critical path.
    """

    job: str
    package: str
    worker: str
    began: float
    ended: float
    state: str
    critical: bool


@dataclass(frozen=True)
class Timeline:
    """A run.

    Attributes:
        title: The title of the picture.
        began: Seconds since 1970; 0 for a simulated run.
        jobs: The jobs of all builds.
        bars: All bars, in any order.
        critical: The jobs of the critical path, first to last.
    """

    title: str
    began: float
    jobs: int
    bars: tuple[Bar, ...]
    critical: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """The seconds from the begin to the end of the last bar."""
        return max((bar.ended for bar in self.bars), default=0.0)


def rows(bars: Sequence[Bar]) -> list[tuple[str, list[Bar]]]:
    """Return each row: its worker, and bars that do not overlap."""
    found: dict[str, list[list[Bar]]] = {}
    for bar in sorted(bars, key=lambda bar: (bar.began, bar.job)):
        own = found.setdefault(bar.worker or HERE, [])
        free = next((row for row in own if row[-1].ended <= bar.began + 1e-3), None)
        if free is None:
            own.append(free := [])
        free.append(bar)
    return [(worker, row) for worker in sorted(found, key=_order) for row in found[worker]]


def _order(worker: str) -> tuple[bool, list[tuple[int, str]]]:
    """Return a sort key that puts w2 before w10, and this machine last."""
    text = "".join(c if c.isdigit() else f" {c} " for c in worker)
    words = [(int(word), "") if word.isdecimal() else (-1, word) for word in text.split()]
    return (worker == HERE, words)


def svg(timeline: Timeline) -> str:
    """Return the picture."""
    shown = rows(timeline.bars)
    height = _HEAD + _ROW * max(1, len(shown)) + _FOOT
    names = [name for name, _ in shown]
    axis, fills, labels = _Axis(timeline, names), _fills(timeline.bars), _labels(names)
    lines = [
        *parts.head(_WIDTH, height, timeline.title),
        parts.text(_MARGIN, 26, timeline.title, size=15),
        parts.text(_MARGIN, 46, _summary(timeline, len(shown))),
        *_legend(timeline),
        *axis.lines(height),
        *(
            line
            for number, (_, bars) in enumerate(shown)
            for line in _row(number, labels[number], [(b, fills[b.package]) for b in bars], axis)
        ),
        *_critical(timeline, height),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def clock(seconds: float) -> str:
    """Return a time for people, e.g. 7 s, 3:05 or 1:02:03."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


class _Axis:
    def __init__(self, timeline: Timeline, names: Sequence[str]) -> None:
        self.left = _MARGIN + 10 + _LETTER * max([4, *(min(len(name), 28) for name in names)])
        self.seconds = max(timeline.seconds, 1.0)

    def __call__(self, seconds: float) -> float:
        return self.left + seconds / self.seconds * (_WIDTH - _MARGIN - self.left)

    def lines(self, height: int) -> Iterator[str]:
        tick = next((t for t in _TICKS if self(t) - self.left >= 70), _TICKS[-1])
        for number in range(int(self.seconds / tick) + 1):
            x = self(number * tick)
            yield parts.line(x, _HEAD - 6, x, height - _FOOT + 4, parts.LIGHT)
            yield parts.text(x, _HEAD - 10, clock(number * tick), anchor="middle", size=11)


def _labels(names: Sequence[str]) -> list[str]:
    """Return the labels of the rows: only the first row of a worker has its name."""
    return ["" if before == name else name for before, name in zip(["", *names], names)]


def _summary(timeline: Timeline, count: int) -> str:
    work = sum(bar.ended - bar.began for bar in timeline.bars)
    busy = work / (timeline.seconds * count) if timeline.seconds and count else 0.0
    builds = words.count(len({bar.job for bar in timeline.bars}), "build")
    return (
        f"{clock(timeline.seconds)} in all; {builds} of "
        f"{clock(work)} together; {count} row{'s' * (count != 1)}, busy for {busy:.0%} of the time"
    )


def _legend(timeline: Timeline) -> Iterator[str]:
    """Yield the colours of the states that occur."""
    there = {bar.state for bar in timeline.bars}
    x = float(_WIDTH - _MARGIN)
    kinds = [(_STATES[state], state) for state in _STATES if state in there]
    for fill, name in [*kinds, (_MARK, "critical path")]:
        x -= 12 + _SMALL * len(name)
        yield parts.text(x, 46, name, size=11)
        x -= 16
        yield f'<rect x="{x:.1f}" y="37" width="11" height="11" rx="2" fill="{fill}"/>'


def _fills(bars: Sequence[Bar]) -> dict[str, str]:
    """Return a colour for each package; those that took longest get the first ones."""
    took: dict[str, float] = {}
    for bar in bars:
        took[bar.package] = took.get(bar.package, 0.0) + bar.ended - bar.began
    names = sorted(took, key=lambda name: (-took[name], name))
    return {name: _FILLS[number % len(_FILLS)] for number, name in enumerate(names)}


def _row(number: int, label: str, bars: Sequence[tuple[Bar, str]], axis: _Axis) -> Iterator[str]:
    top = _HEAD + _ROW * number
    if label:
        yield parts.text(axis.left - 10, top + 15, _shorten(label, 28), anchor="end")
    for bar, fill in bars:
        yield from _bar(bar, _STATES.get(bar.state, fill), top, axis)


def _bar(bar: Bar, fill: str, top: float, axis: _Axis) -> Iterator[str]:
    x, width = axis(bar.began), max(1.5, axis(bar.ended) - axis(bar.began))
    kinds = f"bar {bar.state}{' critical' if bar.critical else ''}"
    worker = f" on {bar.worker}" if bar.worker else ""
    took = f"{bar.state}{worker}, {bar.ended - bar.began:.1f} s from {clock(bar.began)} on"
    yield f'<g class="{kinds}"><title>{parts.plain(f"{bar.job}: {took}")}</title>'
    box = f'x="{x:.1f}" y="{top + 2}" width="{width:.1f}" height="{_ROW - 4}"'
    yield f'<rect {box} rx="2" fill="{fill}" stroke="{parts.BACKGROUND}" stroke-width="0.7"/>'
    if bar.critical:
        box = f'x="{x:.1f}" y="{top + _ROW - 5}" width="{width:.1f}" height="3"'
        yield f'<rect {box} fill="{_MARK}"/>'
    names = (bar.job, bar.job.partition("@")[0], bar.package)
    name = next((name for name in names if len(name) * _SMALL <= width - 6), "")
    if name:
        yield parts.text(x + 4, top + 14, name, size=11)
    yield "</g>"


def _critical(timeline: Timeline, height: int) -> Iterator[str]:
    if timeline.critical:
        chain = " → ".join(timeline.critical)
        room = int((_WIDTH - 2 * _MARGIN) / _LETTER)
        took = sum(bar.ended - bar.began for bar in timeline.bars if bar.critical)
        text = f"critical path, {clock(took)}: {chain}"
        yield parts.text(_MARGIN, height - 20, _shorten(text, room))


def _shorten(text: str, letters: int) -> str:
    return text if len(text) <= letters else text[: letters - 1] + "…"
