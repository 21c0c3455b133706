"""Recorded and estimated durations of builds, and damaged records."""

from __future__ import annotations

import json
import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rezbuild.catalogue.model import Archive, Recipe, Release
from rezbuild.plan.durations import FILE, Durations, Estimate
from rezbuild.plan.resolve import Step


def step(name="thing", version="1.0", size=1_000_000, source="") -> Step:
    """Return a step of a package whose version 0.9 has no known size."""
    releases = {}
    for number, known in (("1.0", size), ("0.9", None), (version, size)):
        if number not in releases:
            archive = Archive("a", "0" * 64, size=known)
            releases[number] = Release(name, number, (archive,), (), (), "MIT", source=source)
    recipe = Recipe(name, Path("/nowhere", name), "1.0", True, releases)
    return Step(recipe, releases[version], {}, requested=False)


@pytest.fixture
def messages() -> list[str]:
    return []


@pytest.fixture
def kept(tmp_path, messages) -> Durations:
    return Durations(tmp_path, messages.append)


def seconds(kept: Durations, one: Step, profile="fast", host="here") -> float:
    return kept.estimate(one, profile, host).seconds


def test_recorded_duration_is_expected(kept, tmp_path):
    kept.record(step(), "fast", "here", 12.5, 2)
    for known in (kept, Durations(tmp_path, print)):
        assert known.estimate(step(), "fast", "here") == Estimate(12.5, known=True)
    kept.record(step(), "fast", "here", 10.0, 4)
    (record,) = json.loads((tmp_path / FILE).read_text())["builds"]
    assert record.pop("at") > 1.7e9
    assert record == {
        "name": "thing",
        "version": "1.0",
        "profile": "fast",
        "host": "here",
        "seconds": 10.0,
        "jobs": 4,
        "size": 1_000_000,
    }


def test_profile_counts_if_the_recipe_uses_it(kept):
    one = step()
    plain = replace(one, recipe=replace(one.recipe, profiled=False))
    kept.record(plain, "fast", "here", 10.0, 2)
    assert kept.estimate(plain, "optimized", "here") == Estimate(10.0, known=True)
    kept.record(one, "fast", "here", 11.0, 2)
    assert kept.estimate(one, "optimized", "here") == Estimate(44.0, known=False)


def test_nearest_record_is_used(kept):
    kept.record(step(), "fast", "there", 10.0, 2)
    assert kept.estimate(step(), "fast", "here") == Estimate(10.0, known=False)
    # The estimate for another version depends on its size, with a limit.
    assert seconds(kept, step(version="1.1", size=1_500_000)) == 15.0
    assert seconds(kept, step(version="1.1", size=9_000_000)) == 20.0
    kept.record(step(version="1.2"), "fast", "here", 30.0, 2)
    assert seconds(kept, step(version="1.1")) == 30.0


def test_duration_is_estimated_by_source_size(kept):
    assert kept.estimate(step(size=10_000_000), "fast", "here") == Estimate(70.0, known=False)
    assert seconds(kept, step(size=10_000_000), "optimized") == 280.0
    assert seconds(kept, step(size=1)) == 2.0
    # Sizes of other versions replace an unknown size.
    assert seconds(kept, step(version="0.9", size=10_000_000)) == 70.0
    # The median of seconds per byte of the other builds.
    for number, took in enumerate((10.0, 20.0, 900.0)):
        kept.record(step(f"other{number}"), "fast", "here", took, 2)
    kept.record(step("far"), "fast", "there", 1.0, 2)
    assert seconds(kept, step(size=10_000_000)) == pytest.approx(200.0)
    assert seconds(kept, step(size=10_000_000), host="there") == pytest.approx(10.0)


def test_package_from_the_source_of_another_has_a_short_estimate(kept):
    assert seconds(kept, step(size=100_000_000, source="big")) == 70.0


def test_oldest_records_are_removed(kept, tmp_path):
    entry = {"profile": "", "host": "h", "seconds": 1.0, "jobs": 1, "size": 1, "at": 1.0}
    builds = [{"name": f"n{n}", "version": "1", **entry} for n in range(2100)]
    (tmp_path / FILE).write_text(json.dumps({"builds": builds}))
    kept.record(step(), "fast", "here", 3.0, 2)
    names = [record.name for record in Durations(tmp_path, print).records.values()]
    assert len(names) == 2000
    assert names[0] == "n101"
    assert names[-1] == "thing"


GOOD = {
    "name": "thing",
    "version": "1.0",
    "profile": "fast",
    "host": "here",
    "seconds": 5.0,
    "jobs": 2,
    "size": 10,
    "at": 1.0,
}
DAMAGE = {
    "nothing": b"",
    "no JSON": b'{"builds": [',
    "no text": b"\xff\xfe\x00",
    "another shape": b"[1, 2]",
    "no list": b'{"builds": 7}',
    "too deep": b"[" * 100_000,
    "too long": b" " * 5_000_000,
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_file_counts_as_missing(tmp_path, messages, case):
    (tmp_path / FILE).write_bytes(DAMAGE[case])
    kept = Durations(tmp_path, messages.append)
    assert kept.records == {}
    kept.record(step(), "fast", "here", 3.0, 2)
    assert messages == []
    assert len(Durations(tmp_path, print).records) == 1


@pytest.mark.parametrize(
    "change",
    [
        *(
            {"seconds": value}
            for value in ("5", None, -1.0, 10**400, float("nan"), float("inf"), 1e300)
        ),
        *({key: 7} for key in ("name", "version", "profile", "host")),
        *({"jobs": 1.5}, {"size": "10"}, {"more": 1}),
    ],
)
def test_invalid_entry_is_ignored(tmp_path, change):
    other = {**GOOD, "version": "2.0"}
    text = json.dumps({"builds": [{**GOOD, **change}, 7, None, [], other]})
    (tmp_path / FILE).write_text(text)
    assert [record.version for record in Durations(tmp_path, print).records.values()] == ["2.0"]


@settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.floats(), st.integers(), st.text(max_size=5)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(st.sampled_from([*GOOD, "builds", "x"]), inner, max_size=9),
        ),
    )
)
def test_any_json_is_read(tmp_path, data):
    (tmp_path / FILE).write_text(json.dumps({"builds": data}))
    kept = Durations(tmp_path, print)
    assert seconds(kept, step()) > 0


def test_unwritable_folder_gives_a_notice(tmp_path, messages):
    (tmp_path / "file").write_text("")
    kept = Durations(tmp_path / "file", messages.append)
    kept.record(step(), "fast", "here", 3.0, 2)
    assert seconds(kept, step()) == 3.0
    (line,) = messages
    assert line.startswith("notice: the duration of thing-1.0 is not recorded in ")


def _note(folder: Path, number: int) -> None:
    kept = Durations(folder, print)
    for count in range(10):
        kept.record(step(f"n{number}", f"{count}.0"), "fast", "here", 1.0, 2)


def test_parallel_runs_lose_no_record(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    runs = [spawn.Process(target=_note, args=(tmp_path, number)) for number in range(3)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert len(Durations(tmp_path, print).records) == 30
