"""The estimated time until the end of a run."""

from __future__ import annotations

import pytest
from steps import CHAIN

from rezbuild.plan.forecast import Forecast
from rezbuild.plan.simulate import Worker

# bottom, middle and top are the longest chain.
SECONDS = {"small": 10, "big": 100, "bottom": 50, "middle": 60, "top": 5}
BY_NAME = {step.release.name: step for step in CHAIN}


def forecast(workers: int = 2) -> Forecast:
    return Forecast(lambda step: SECONDS[step.release.name], lambda: [Worker()] * workers)


def left(names: str, running: dict[str, float], workers: int = 2) -> float | None:
    elapsed = {BY_NAME[name].job: seconds for name, seconds in running.items()}
    return forecast(workers).seconds_left([BY_NAME[name] for name in names.split()], elapsed)


def test_time_left_is_that_of_the_longest_chain():
    assert left("small big bottom middle top", {}, 9) == pytest.approx(115, abs=0.1)
    assert left("big middle top", {}, 9) == pytest.approx(105, abs=0.1)


def test_one_builder_takes_the_sum():
    assert left("small big bottom middle top", {}, 1) == pytest.approx(225, abs=0.1)


def test_elapsed_time_counts():
    assert left("big middle top", {"big": 70.0, "middle": 20.0}) == pytest.approx(45, abs=0.1)


def test_step_that_takes_longer_than_expected_takes_another_tenth():
    assert left("top", {"top": 400.0}) == pytest.approx(40, abs=0.1)
    assert left("top", {"top": 5.0}) == pytest.approx(1, abs=0.1)


def test_time_is_unknown_without_a_worker():
    assert left("top", {}, 0) is None


def test_end_of_the_run_is_no_time():
    assert left("", {}) == 0


def test_simulation_is_not_repeated_for_each_picture():
    """A plan may have thousands of steps, and the table is drawn five times a second."""
    asked = []

    def workers() -> list[Worker]:
        asked.append(1)
        return [Worker()]

    found = Forecast(lambda _: 10.0, workers)
    times = [found.seconds_left([BY_NAME["top"]], {}) for _ in range(9)]  # in less than a second
    assert len(asked) == 1
    assert times == sorted(times, reverse=True)
    found.seconds_left([], {})
    assert len(asked) == 2
