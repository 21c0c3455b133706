"""Foreign tables become dataclasses, or the error names the key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from rezbuild.util import typed_table


@dataclass(frozen=True)
class Part:
    name: str
    seconds: float = 0.0


@dataclass(frozen=True)
class Whole:
    count: int
    parts: tuple[Part, ...]
    names: Sequence[str] = ()
    found: Mapping[str, Mapping[str, str]] | None = None
    other: Any = None
    ready: bool = False


def test_table_becomes_a_dataclass():
    data = {
        "count": 2,
        "parts": [{"name": "a", "seconds": 3}],
        "names": ["x"],
        "found": {"a": {"b": "c"}},
        "other": [{}],
        "ready": True,
    }
    expected = Whole(2, (Part("a", 3),), ["x"], {"a": {"b": "c"}}, [{}], ready=True)
    assert typed_table.read(Whole, data) == expected
    assert typed_table.read(Whole, {"count": 2, "parts": [], "found": None}) == Whole(2, ())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"count": "2"}, "count is not a whole number"),
        ({"count": True}, "count is not a whole number"),
        ({"parts": {}}, "parts is not a list"),
        ({"parts": "ab"}, "parts is not a list"),
        ({"parts": [{}]}, r"parts\[0\]\.name is missing"),
        ({"parts": [{"name": "a"}, []]}, r"parts\[1\] is not a table"),
        ({"parts": [{"name": "a", "seconds": "1"}]}, r"parts\[0\]\.seconds is not a number"),
        ({"names": ["x", None]}, r"names\[1\] is not a text"),
        ({"found": []}, "found is not a table"),
        ({"found": {1: {}}}, "found is not a table"),
        ({"found": {"a": {"b": 1}}}, r"found\.a\.b is not a text"),
        ({"ready": 1}, "ready is not true or false"),
        ({"more": 1}, "more is unknown"),
    ],
)
def test_error_names_the_key(changes, said):
    with pytest.raises(ValueError, match=f"^{said}$"):
        typed_table.read(Whole, {"count": 2, "parts": [], **changes})


@pytest.mark.parametrize("data", [None, [], "x", 3])
def test_other_data_is_not_a_table(data):
    with pytest.raises(ValueError, match=r"^place is not a table$"):
        typed_table.read(Whole, data, "place")
