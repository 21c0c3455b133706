"""Numbers of examples for fuzz tests: some in make test, 10,000 in make test-all."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

# Multiplies the number of random examples of the unit tests; above 1, each run has new ones.
FACTOR = int(os.environ.get("REZBUILD_TEST_EXAMPLES", "1"))
examples = settings(
    max_examples=50 * FACTOR,
    derandomize=FACTOR == 1,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
EXAMPLES = int(os.environ.get("REZBUILD_TEST_FUZZ", "60"))
fuzzed = settings(
    max_examples=EXAMPLES,
    deadline=None,
    # All examples of a test use the same folder, one after another.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["", "..", "/", "\ud800", "\0", "2.36", "0" * 64, "A" * 500]),
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)


def nested_values(levels: int) -> Any:
    """Return nested lists and tables."""
    found: Any = "x"
    for level in range(levels):
        found = [found] if level % 2 else {"a": found}
    return found


DEEP = st.integers(1, 400).map(nested_values)


def vary(good: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return variants of a good table, with some values of any type, depth and size."""
    changes = st.dictionaries(st.sampled_from([*good, "other"]), VALUES | DEEP, max_size=3)
    missing = st.sets(st.sampled_from(sorted(good)), max_size=2)
    return st.builds(
        lambda change, gone: {k: v for k, v in {**good, **change}.items() if k not in gone},
        changes,
        missing,
    )
