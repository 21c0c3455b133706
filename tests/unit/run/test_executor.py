"""The order of builds, and skipped builds after a failure."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from pathlib import Path

import pytest
from steps import CHAIN, ShellBuilds, step

from rezbuild.errors import (
    BuildError,
    MachineError,
    RezbuildError,
    SeveralFailedError,
)
from rezbuild.plan.resolve import Step, Target
from rezbuild.plan.schedule import Schedule
from rezbuild.run import progress
from rezbuild.run.executor import Executor
from rezbuild.util.jobserver import Budget


def names(steps) -> list[str]:
    return [step.release.name for step in steps]


def test_steps_with_most_remaining_work_start_first():
    schedule = Schedule(CHAIN)
    assert names(schedule.ready()) == ["bottom", "big", "small"]
    schedule.done(CHAIN[2])
    assert names(schedule.ready()) == ["big", "middle", "small"]
    for done in (CHAIN[0], CHAIN[1], CHAIN[3]):
        schedule.done(done)
    assert names(schedule.ready()) == ["top"]
    schedule.done(CHAIN[4])
    assert len(schedule) == 0


def test_dependents_of_a_failed_step_are_skipped():
    schedule = Schedule(CHAIN)
    assert names(schedule.failed(CHAIN[2])) == ["middle", "top"]
    assert names(schedule.ready()) == ["big", "small"]


def test_started_step_is_not_ready():
    schedule = Schedule(CHAIN)
    schedule.begin(CHAIN[1])
    assert names(schedule.ready()) == ["bottom", "small"]
    schedule.requeue(CHAIN[1])
    assert names(schedule.ready()) == ["bottom", "big", "small"]
    assert names(schedule.done(CHAIN[2])) == ["middle"]
    assert len(schedule) == 4


def test_finished_step_makes_dependents_ready_during_iteration():
    schedule, seen = Schedule(CHAIN), []
    for one in schedule.ready():
        seen.append(one)
        schedule.done(one)
    assert names(seen) == ["bottom", "big", "middle", "small", "top"]


def test_recorded_work_overrides_source_size():
    """The package with the longest recorded time does not have the largest source."""
    work = {"small": 500, "big": 1, "bottom": 2, "middle": 3, "top": 1}
    schedule = Schedule(CHAIN, lambda step: work[step.release.name])
    assert names(schedule.ready()) == ["small", "bottom", "big"]
    assert schedule.ahead(CHAIN[2]) == 6


def test_targets_are_independent():
    targets = [Target("a", "fast", "/a"), Target("a", "fast", "/b"), Target("b", "fast", "/a")]
    steps = [replace(one, target=target) for target in targets for one in CHAIN]
    schedule = Schedule(steps)
    assert len(schedule) == len(steps)
    assert names(schedule.failed(steps[2])) == ["middle", "top"]
    assert names(schedule.done(steps[7])) == ["middle"]
    # A repository has one build of a package for all profiles; the others wait for it.
    other = replace(steps[13], target=replace(targets[2], profile="optimized"))
    assert other.job == steps[13].job


def test_archives_of_unknown_size_have_an_order():
    assert names(Schedule([step("one"), step("two", size=3_000_000)]).ready()) == ["two", "one"]


@pytest.fixture
def budget(tmp_path):
    made = Budget(2, tmp_path)
    with contextlib.closing(made):
        yield made


def run(work, budget, steps=CHAIN, most=9):
    Executor(steps, work, budget, progress.LineProgress(), most).run()


def test_run_uses_at_most_the_budget(tmp_path, budget):
    work = ShellBuilds(tmp_path, dict.fromkeys(("small", "big", "bottom"), "sleep 0.3"))
    run(work, budget)
    assert work.events[:2] == ["+bottom", "+big"]
    assert work.events[-2:] == ["+top", "-top"]
    now = most = 0
    for event in work.events:
        now += 1 if event[0] == "+" else -1
        most = max(most, now)
    assert (now, most) == (0, 2)
    assert work.held == set()


class FullFarmBudget(Budget):
    """A farm's budget that never has room for one step, and ends with an error."""

    def __init__(self, folder: Path) -> None:
        super().__init__(2, folder)
        self.asked = 0

    def take(self, step: Step) -> bool:
        if step.release.name != "bottom":
            return super().take()
        self.asked += 1
        if self.asked > 20:
            raise MachineError("there is no room for it")
        return False


def test_step_without_room_delays_no_other(tmp_path):
    """The step and its dependents fail; the others are built."""
    work = ShellBuilds(tmp_path, {})
    room = FullFarmBudget(tmp_path)
    with contextlib.closing(room), pytest.raises(MachineError, match="no room"):
        run(work, room)
    assert sorted(work.events) == ["+big", "+small", "-big", "-small"]
    assert work.held == set()


def test_limit_of_one_builds_in_order(tmp_path, budget):
    work = ShellBuilds(tmp_path, {})
    run(work, budget, most=1)
    assert [event[0] for event in work.events] == ["+", "-"] * 5


def test_finished_plan_starts_nothing(tmp_path, budget):
    work = ShellBuilds(tmp_path, {}, done=[s.release.name for s in CHAIN])
    began = time.monotonic()
    run(work, budget)
    assert work.events == []
    assert time.monotonic() - began < 0.04


def test_ten_thousand_finished_steps_take_a_second(tmp_path, budget):
    """In processor time; a loop over all steps for each would take a hundred times as long."""
    steps = [step("s0")]
    steps += [step(f"s{n}", f"s{n - 1}" if n % 2 else "s0") for n in range(1, 10_000)]
    began = time.process_time()
    run(ShellBuilds(tmp_path, {}, done=[s.release.name for s in steps]), budget, steps)
    assert time.process_time() - began < 2


def test_other_steps_are_built_after_a_failure(tmp_path, budget, capsys):
    work = ShellBuilds(tmp_path, {"bottom": "exit 3", "small": "sleep 0.2"})
    with pytest.raises(BuildError, match="bottom-1 failed by 3"):
        run(work, budget)
    assert {e[1:] for e in work.events} == {"bottom", "big", "small"}
    out = capsys.readouterr().out
    assert "middle-1: skipped, it needs bottom-1" in out
    assert "top-1: skipped, it needs bottom-1" in out
    assert work.held == set()


def test_several_failures_are_listed(tmp_path, budget):
    codes = {"bottom": "exit 3", "big": "exit 4"}
    with pytest.raises(SeveralFailedError) as caught:
        run(ShellBuilds(tmp_path, codes), budget)
    assert caught.value.exit_code == BuildError.exit_code
    for text in ("2 builds failed", "bottom-1 failed by 3", "big-1 failed by 4"):
        assert text in str(caught.value)
    with pytest.raises(SeveralFailedError) as caught:
        run(ShellBuilds(tmp_path, {**codes, "small": "unreadable"}), budget)
    assert caught.value.exit_code == RezbuildError.exit_code
    assert "cannot be read" in str(caught.value)


def test_system_error_fails_one_step(tmp_path, budget):
    with pytest.raises(RezbuildError, match="/some/file: not allowed"):
        run(ShellBuilds(tmp_path, {"top": "exit 9"}), budget)


def test_locked_step_is_waited_for_while_others_build(tmp_path, budget, capsys):
    """Otherwise two runs could wait for each other for ever."""
    work = ShellBuilds(
        tmp_path, {"big": "until test -e there; do sleep 0.02; done"}, locked=["bottom"]
    )
    (tmp_path / "there").touch()
    run(work, budget)
    assert "+bottom" not in work.events
    assert capsys.readouterr().out.count("bottom-1: waiting for another build of it") == 1
    assert work.events[-1] == "-top"


def test_interruption_stops_running_builds(tmp_path, budget, monkeypatch):
    work = ShellBuilds(tmp_path, dict.fromkeys(("bottom", "big"), "sleep 50"))

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rezbuild.run.executor.time.sleep", interrupt)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(work, budget)
    assert time.monotonic() - began < 10
