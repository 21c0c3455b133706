"""A report as text for people and as data for programs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rezbuild.bench import Report, machine
from rezbuild.bench.interpreters import Interpreter
from rezbuild.bench.numbers import CONFIDENCE, Measurement, spread, with_unit
from rezbuild.errors import UsageError
from rezbuild.files import safe_files
from rezbuild.util import words
from rezbuild.util.tables import TextTable

INTERVAL = f"interval of the median, with {CONFIDENCE:.0%} confidence from six rounds on"


def legend(report: Report) -> str:
    """Return the explanation of the numbers, and the machine."""
    lines = ["Medians."]
    if len(report.interpreters) > 1:
        lines[0] += (
            " The ratio compares the first with the second, pair by pair; below 1 the first is"
            " faster or smaller."
        )
    lines += [f"In brackets: {INTERVAL}."]
    lines += [machine.describe(report.machine)]
    lines += [f"Left out: {what}: {why}" for what, why in report.left_out]
    return "\n".join(lines)


def table(report: Report) -> TextTable:
    """Return the measurements as a table for a terminal."""
    head = ["part", "measurement"]
    head += [f"{one.label} ({one.version})" for one in report.interpreters]
    head += ["ratio"] * (len(report.interpreters) > 1)
    rows: list[list[str]] = []
    part = ""
    for measurement in report.measurements:
        is_new = measurement.part != part
        if is_new and rows:
            rows.append([""] * len(head))
        part = measurement.part
        values = cells(measurement, len(report.interpreters))
        rows.append([part if is_new else "", measurement.name, *values])
    return TextTable(head, rows, numbers=len(head) - 2)


def cells(measurement: Measurement, columns: int) -> list[str]:
    """Return the values and the ratio of a measurement of one or two interpreters."""
    if columns == 1:
        return [with_unit(spread(measurement.first), measurement.unit, interval=True)]
    values = [measurement.first, measurement.second]
    shown = [with_unit(spread(v), measurement.unit) if v else "-" for v in values]
    return [*shown, str(measurement.ratio or "-")]


def as_data(report: Report) -> dict[str, Any]:
    """Return all measurements with each single number, for JSON; times are in seconds."""
    return {
        "machine": dict(report.machine),
        "interpreters": [
            {"label": one.label, "python": str(one.python), "moved": one.root is not None}
            | one.facts
            for one in report.interpreters
        ],
        "measurements": [_as_data(measurement) for measurement in report.measurements],
        "left_out": [{"what": what, "why": why} for what, why in report.left_out],
    }


def read(file: Path) -> Report:
    """Return the report that ``rezbuild bench --json FILE`` has written.

    Raises:
        UsageError: The file cannot be read, or has another content.
    """
    try:
        found = _from_data(safe_files.parse_json(safe_files.read(file)))
        # Fail here for keys and numbers that are missing.
        table(found)
        legend(found)
    except OSError as error:
        reason = error.strerror or words.reason(error)
    except (ValueError, TypeError, KeyError, AttributeError):
        reason = "its content is not the output of rezbuild bench"
    else:
        return found
    raise UsageError(
        f"{file} cannot be read: {reason}", advice=["write it: rezbuild bench --json FILE"]
    )


def _from_data(data: Mapping[str, Any]) -> Report:
    """Return the report of `as_data`."""
    interpreters = [
        Interpreter(one["label"], Path(one["python"]), facts=dict(one))
        for one in data["interpreters"]
    ]
    measurements = [
        Measurement(one["part"], one["name"], one["unit"], *map(tuple, one["values"]))
        for one in data["measurements"]
    ]
    left_out = [(one["what"], one["why"]) for one in data["left_out"]]
    return Report(tuple(interpreters), data["machine"], tuple(measurements), tuple(left_out))


def _as_data(measurement: Measurement) -> dict[str, Any]:
    found = measurement.ratio
    return {
        "part": measurement.part,
        "name": measurement.name,
        "unit": measurement.unit,
        "values": [list(v) for v in (measurement.first, measurement.second) if v],
        "ratio": None
        if found is None
        else {"median": found.median, "low": found.low, "high": found.high},
    }
