"""Random damage of files, and the refusals of readers."""

from __future__ import annotations

import struct
from typing import Any

import fuzz
from hypothesis import settings
from hypothesis import strategies as st

from rezbuild.errors import RezbuildError

examples = settings(fuzz.examples, deadline=2000)
DAMAGE = st.lists(
    st.tuples(
        st.integers(0, 2048),
        st.one_of(
            st.binary(min_size=1, max_size=8),
            st.integers(0, 63).map(lambda bit: struct.pack("<Q", 1 << bit)),
            st.integers(0, 5000).map(lambda number: struct.pack("<Q", number)),
        ),
    ),
    min_size=1,
    max_size=6,
)


def apply_damage(data: bytes, damage: list[tuple[int, bytes]]) -> bytes:
    found = bytearray(data)
    for place, value in damage:
        start = place % (len(found) - len(value))
        found[start : start + len(value)] = value
    return bytes(found)


def refusal(call: Any, *arguments: Any) -> RezbuildError | None:
    try:
        call(*arguments)
    except RezbuildError as error:
        return error
    return None
