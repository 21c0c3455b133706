"""Records of tests: when a version was built and tested, on which host, by which suites.

A record is a table in ``sources.toml``, and does not affect payloads:

    tested = { on = "2026-12-01", host = "debian12", compiler = "gcc-12.2", suites = ["check"] }

Every record says that the version was built, moved, and passed the audit.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rezbuild.settings import LABEL, PROFILES

# The suites that a record may name, and their meaning.
SUITES = {
    "check": "`rezbuild check` on a moved copy: the audit, each module, TLS, SQLite",
    "regrtest": "CPython's own tests: no failure that a stock build of the same archive lacks",
    "rez-test": "the tests that the payload carries, in `rez-env`",
    "e2e": "this project's end-to-end tests",
}
_KEYS = {"on", "host", "compiler", "profile", "suites"}
_COMPILER = re.compile(r"(gcc|clang)-[0-9]{1,3}(\.[0-9]{1,3}){0,2}")

# Returns the error for a key and a reason.
Wrong = Callable[[str, str], Exception]


@dataclass(frozen=True, order=True)
class Record:
    """One record.

    Attributes:
        on: The day, e.g. ``2026-12-01``.
        host: Label of the host kind, e.g. ``debian12``.
        compiler: e.g. ``gcc-12.2``, or "".
        profile: Build profiles; empty if the profile does not change the package.
        suites: Names from `SUITES`, in their order there.
    """

    on: str
    host: str
    compiler: str = ""
    profile: tuple[str, ...] = ()
    suites: tuple[str, ...] = ()


def read(value: object, wrong: Wrong) -> tuple[Record, ...]:
    """Return the records in a value of TOML: one table or a list of tables, oldest first."""
    tables = value if isinstance(value, list) else [value]
    return tuple(sorted(_record(table, wrong) for table in tables))


def _record(table: Any, wrong: Wrong) -> Record:
    if not isinstance(table, dict):
        raise wrong("", "is not a table such as { on = …, host = …, suites = […] }, or a list")
    for key in table:
        if key not in _KEYS:
            raise wrong(key, f"is unknown; known keys: {', '.join(sorted(_KEYS))}")
    host, compiler = table.get("host"), table.get("compiler", "gcc-1")
    if not isinstance(host, str) or not LABEL.fullmatch(host):
        raise wrong("host", f"is not a host's label such as debian12: {host!r}")
    if not isinstance(compiler, str) or not _COMPILER.fullmatch(compiler):
        raise wrong("compiler", f"is not a compiler such as gcc-12.2 or clang-14: {compiler!r}")
    return Record(
        _day(table.get("on"), wrong),
        host,
        compiler if "compiler" in table else "",
        _chosen(table, "profile", PROFILES, wrong),
        _chosen(table, "suites", tuple(SUITES), wrong),
    )


def _day(value: object, wrong: Wrong) -> str:
    try:
        if isinstance(value, str) and str(dt.date.fromisoformat(value)) == value:
            return value
    except ValueError:
        pass
    raise wrong("on", f'is not a day such as "2026-12-01": {value!r}')


def _chosen(
    table: Mapping[str, Any], key: str, known: tuple[str, ...], wrong: Wrong
) -> tuple[str, ...]:
    """Return the names in a list, in the order of ``known``."""
    values = table.get(key, [])
    if not isinstance(values, list) or any(value not in known for value in values):
        raise wrong(key, f"is not a list of names from {', '.join(known)}: {values!r}")
    return tuple(name for name in known if name in values)
