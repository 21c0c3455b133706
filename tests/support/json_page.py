"""Compare outputs of ``--json`` with the tables of docs/reference/json.md."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs/reference/json.md"
_SECTION = re.compile(r"(?m)^## (.*)$")
_SCHEMA = re.compile(r"(?m)^Schema `([a-z-]+)`, version (\d+)\.")
_ROW = re.compile(r"(?m)^\| `([^`]+)` \| ([^|]+) \| [^|]+ \|$")
_SCALARS: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "null": lambda value: value is None,
}


def sections() -> dict[str, tuple[str, int, dict[str, str]]]:
    """Return the sections by schema: the commands, the version, and the types of the keys."""
    parts = _SECTION.split(PAGE.read_text(encoding="utf-8"))[1:]
    found = {}
    for title, text in zip(parts[::2], parts[1::2]):
        schema = _SCHEMA.search(text)
        assert schema, f"{PAGE.name}: '## {title}' names no schema and version"
        found[schema[1]] = (title, int(schema[2]), dict(_ROW.findall(text)))
    return found


def read(text: str) -> dict[str, Any]:
    """Return the object in an output; fail if it is not as the page says."""
    data = json.loads(text)
    schema = data.pop("schema")
    _, version, types = sections()[schema["name"]]
    assert schema == {"name": schema["name"], "version": version}
    assert not list(_compare(data, "", types)), schema["name"]
    return data


def _compare(found: Mapping[str, Any], place: str, types: Mapping[str, str]) -> Iterator[str]:
    """Yield the differences of an object from the rows of the page below ``place``."""
    rows = {
        path[len(place) :]: kind
        for path, kind in types.items()
        if path.startswith(place) and re.fullmatch(r"[^.\[]+", path[len(place) :])
    }
    yield from (f"{place}{key} is not on the page" for key in found if key not in rows)
    for key, kind in rows.items():
        if key in found:
            yield from _compare_value(found[key], place + key, kind.split(",")[0], types)
        elif not kind.endswith(", optional"):
            yield f"{place}{key} is missing"


def _compare_value(value: Any, path: str, kind: str, types: Mapping[str, str]) -> Iterator[str]:
    if value is None and kind.endswith(" or null"):
        return
    name, _, items = re.sub(" or null$", "", kind).partition(" of ")
    if name in _SCALARS:
        fits = _SCALARS[name](value)
    else:
        fits = isinstance(value, {"list": list, "object": dict}[name])
    if not fits:
        yield f"{path} is {value!r}, not {kind}"
    elif items:
        parts, mark = (value, "[]") if name == "list" else (value.values(), ".*")
        for one in parts:
            yield from _compare_value(one, path + mark, items, types)
    elif name == "object" and any(other.startswith(f"{path}.") for other in types):
        yield from _compare(value, f"{path}.", types)
