"""Tables of foreign data, e.g. of a file or a message, as dataclasses with checked values."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeVar

_T = TypeVar("_T")
_SIMPLE: Mapping[str, tuple[tuple[type, ...], str]] = {
    "str": ((str,), "a text"),
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "bool": ((bool,), "true or false"),
}


def read(kind: type[_T], data: object, place: str = "") -> _T:
    """Return a table as a dataclass.

    Args:
        kind: The dataclass. The types of its fields are ``str``, ``int``, ``float``, ``bool``,
            ``Any``, ``X | None``, ``Mapping[str, X]``, ``Sequence[X]``, ``tuple[X, ...]``, or
            dataclasses of its module.
        data: The table.
        place: The name of the table for errors, e.g. ``package[0]``.

    Raises:
        ValueError: A key is missing or unknown, or its value has another type. The text names it.
    """
    if not isinstance(data, dict):
        raise ValueError(f"{place or 'the data'} is not a table")  # noqa: TRY004 (foreign data)
    above = f"{place}." if place else ""
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]  # a dataclass
    for name in data:
        if name not in known:
            raise ValueError(f"{above}{name} is unknown")
    for name, field in known.items():
        if name not in data and field.default is field.default_factory is MISSING:
            raise ValueError(f"{above}{name} is missing")
    module = vars(sys.modules[kind.__module__])
    return kind(
        **{
            name: _value(str(known[name].type), value, f"{above}{name}", module)
            for name, value in data.items()
        }
    )


def _value(kind: str, value: object, place: str, module: Mapping[str, Any]) -> Any:
    """Return a value of the type that an annotation names, e.g. ``tuple[str, ...]``."""
    # Not typing.get_type_hints: Python 3.9 cannot evaluate "str | None".
    outer, _, inner = kind.removesuffix("]").partition("[")
    if kind.endswith(" | None"):
        if value is None:
            return None
        return _value(kind.removesuffix(" | None"), value, place, module)
    if outer == "Mapping":
        if not (isinstance(value, dict) and all(isinstance(key, str) for key in value)):
            raise ValueError(f"{place} is not a table")
        part = inner.removeprefix("str, ")
        return {k: _value(part, one, f"{place}.{k}", module) for k, one in value.items()}
    if outer in {"Sequence", "tuple"}:
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"{place} is not a list")
        part = inner.removesuffix(", ...")
        found = [_value(part, one, f"{place}[{n}]", module) for n, one in enumerate(value)]
        return tuple(found) if outer == "tuple" else found
    if is_dataclass(module.get(kind)):
        return read(module[kind], value, place)
    if kind != "Any":
        types, words = _SIMPLE[kind]
        if type(value) not in types:
            raise ValueError(f"{place} is not {words}")
    return value
