"""Medians, their intervals, and pairs."""

from __future__ import annotations

import os
import random

import pytest

from rezbuild.bench.numbers import Measurement, Spread, interleave, spread


@pytest.mark.parametrize(
    ("count", "ranks"),
    # As in any table of the sign test: 1-based ranks of the ends.
    [(1, (1, 1)), (2, (1, 2)), (5, (1, 5)), (6, (1, 6)), (8, (1, 8)), (9, (2, 8)), (10, (2, 9)),
     (20, (6, 15)), (100, (40, 61))],
)  # fmt: skip
def test_interval_is_that_of_the_sign_test(count, ranks):
    found = spread(random.Random(1).sample(range(1, count + 1), count))
    assert (found.low, found.high) == ranks
    assert found.median == (count + 1) / 2


def test_outlier_changes_little():
    assert spread([1.0] * 20 + [50.0]) == Spread(1.0, 1.0, 1.0)


def test_interval_contains_the_median_with_its_confidence():
    noise = random.Random(2)
    found = [spread([noise.expovariate(1) for _ in range(15)]) for _ in range(1000)]
    hits = sum(one.low <= 0.6931 <= one.high for one in found)
    assert 940 <= hits <= 995


def test_ratios_are_computed_by_pair():
    """Both were slower in the second round, so the ratio is equal."""
    found = Measurement("start", "pass", "s", (1.0, 3.0), (2.0, 6.0))
    assert found.ratio == Spread(0.5, 0.5, 0.5)


@pytest.mark.parametrize("second", [(), (0.0,)])
def test_zero_has_no_ratio(second):
    assert Measurement("calls", "failed", "calls", (3.0,), second).ratio is None


def test_rounds_alternate_the_first_interpreter():
    order = []
    found = interleave("ab", 3, lambda thing: order.append(thing) or len(order))
    assert "".join(order) == "abbaab"
    assert found == [[1, 4, 5], [2, 3, 6]]


def test_single_interpreter_is_measured():
    assert interleave("a", 2, str.upper) == [["A", "A"]]


def test_pair_runs_on_one_processor():
    """A slow processor affects both sides of a ratio."""
    before = os.sched_getaffinity(0)
    one, other = interleave("ab", 2 * len(before), lambda _: os.sched_getaffinity(0))
    assert one == other
    assert all(len(each) == 1 for each in one)
    assert set().union(*one) == before
    with pytest.raises(ZeroDivisionError):
        interleave("ab", 1, lambda _: 1 / 0)
    assert os.sched_getaffinity(0) == before
