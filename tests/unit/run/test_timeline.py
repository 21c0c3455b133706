"""The timeline of a run, and its picture."""

from __future__ import annotations

import contextlib
import json
import re
import time
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from steps import CHAIN, ShellBuilds, run_recorded

from rezbuild.errors import BuildError, MachineError, UsageError
from rezbuild.reporter import Event
from rezbuild.run import gantt, timeline
from rezbuild.run.gantt import Bar, Timeline
from rezbuild.run.timeline import Recorder
from rezbuild.util.jobserver import Budget

SVG = "{http://www.w3.org/2000/svg}"
BEGUN = Event("build")
SAY_BEGUN = """echo '{"kind": "build"}' >>"$REZBUILD_EVENTS\""""


@pytest.fixture
def budget(tmp_path):
    made = Budget(2, tmp_path)
    with contextlib.closing(made):
        yield made


class TaskOnWorker:
    """A task whose worker changes."""

    def __init__(self, worker: str = "") -> None:
        self.worker = worker
        self.began = time.monotonic()


def states(watch: Recorder, steps=CHAIN) -> list[tuple[str, str, str]]:
    bars = watch.timeline("title", steps, 2).bars
    return [(bar.package, bar.worker, bar.state) for bar in bars]


@pytest.fixture
def recorded_seconds() -> dict[str, float]:
    return {}


@pytest.fixture
def watch(recorded_seconds) -> Recorder:
    return Recorder(
        note=lambda step, seconds: recorded_seconds.__setitem__(step.release.name, seconds)
    )


# Recorded events


def test_run_has_a_bar_per_step(tmp_path, budget, watch, recorded_seconds):
    codes = {
        "small": f"{SAY_BEGUN}; sleep 0.2",
        "big": "sleep 0.3; exit 3",
        "bottom": f"{SAY_BEGUN}; sleep 0.1",
        "middle": "true",
    }
    with pytest.raises(BuildError):
        run_recorded(ShellBuilds(tmp_path, codes), budget, watch)
    shown = watch.timeline("title", CHAIN, 2)
    found = {bar.package: bar for bar in shown.bars}
    assert {name: bar.state for name, bar in found.items()} == {
        **dict.fromkeys(("small", "bottom"), "built"),
        "middle": "taken",
        "big": "failed",
    }
    assert found["bottom"].ended <= found["middle"].began
    assert found["big"].began < found["bottom"].ended
    assert shown.critical == ("big-1",)
    # The duration of a mere installation is not recorded.
    assert set(recorded_seconds) == {"small", "bottom"}
    assert 0.2 <= recorded_seconds["small"] < 5


def test_running_step_is_stopped_at_the_end(watch):
    watch.update(CHAIN[0], TaskOnWorker(), [])
    watch.stop()
    assert states(watch) == [("small", "", "stopped")]


def test_farm_step_has_a_bar_per_machine(watch, recorded_seconds):
    task = TaskOnWorker()
    watch.update(CHAIN[0], task, [])
    time.sleep(0.1)
    task.worker = "w1"
    watch.update(CHAIN[0], task, [BEGUN])
    time.sleep(0.05)
    task.worker = ""
    watch.update(CHAIN[0], task, [])
    watch.end(CHAIN[0], well=True)
    assert states(watch) == [("small", "w1", "built"), ("small", "", "published")]
    first, second = watch.timeline("title", CHAIN, 2).bars
    # The step had waited before.
    assert first.began >= 0.1
    assert first.ended == second.began
    assert recorded_seconds["small"] == pytest.approx(first.ended - first.began)


def test_lost_worker_has_a_lost_bar(watch, recorded_seconds):
    task = TaskOnWorker("w1")
    watch.update(CHAIN[0], task, [BEGUN])
    task.worker = "w2"
    watch.update(CHAIN[0], task, [BEGUN])
    watch.end(CHAIN[0], well=True)
    assert states(watch) == [("small", "w1", "lost"), ("small", "w2", "built")]
    assert recorded_seconds["small"] < 1


def test_restored_payload_records_no_duration(watch, recorded_seconds):
    watch.update(CHAIN[0], TaskOnWorker("w1"), [Event("taken", "small 1: taken from the store")])
    watch.end(CHAIN[0], well=True)
    assert recorded_seconds == {}
    assert states(watch) == [("small", "w1", "taken")]


def test_step_that_fails_before_its_start_has_no_bar(watch):
    watch.end(CHAIN[0], well=False)
    assert states(watch) == []


# The picture


def bar(job: str, began: float, ended: float, worker: str = "", **more) -> Bar:
    facts = {"state": gantt.BUILT, "critical": False, **more}
    return Bar(job, job.partition("-")[0], worker, began, ended, **facts)


BARS = (
    bar("one-1@rocky8", 0, 100, "w2", critical=True),
    bar("two-1", 0, 30, "w10", state=gantt.LOST),
    bar("two-1", 30.5, 90, "w2"),
    bar("three-1", 100, 160),
    bar("four-1", 120, 121, state=gantt.FAILED),
)
SHOWN = Timeline("build <this> & that", 1.7e9, 4, BARS, ("one-1@rocky8",))


def test_bars_of_a_row_do_not_overlap():
    rows = gantt.rows(BARS)
    assert [(name, [b.job for b in row]) for name, row in rows] == [
        ("w2", ["one-1@rocky8"]),
        ("w2", ["two-1"]),
        ("w10", ["two-1"]),
        ("here", ["three-1"]),
        ("here", ["four-1"]),
    ]


def test_free_row_is_reused():
    bars = [bar("a", 0, 10), bar("b", 0, 20), bar("c", 10, 15), bar("d", 15.0004, 30)]
    assert [[b.job for b in row] for _, row in gantt.rows(bars)] == [["a", "c", "d"], ["b"]]


def test_picture_has_each_bar():
    root = ET.fromstring(gantt.svg(SHOWN))
    groups = list(root.iter(f"{SVG}g"))
    assert len(groups) == len(BARS)
    kinds = sorted(group.attrib["class"] for group in groups)
    assert kinds == sorted(
        ["bar built critical", "bar lost", "bar built", "bar built", "bar failed"]
    )
    boxes = {}
    for group in groups:
        name = group.find(f"{SVG}title").text
        boxes[name] = group.find(f"{SVG}rect").attrib
    first = boxes["one-1@rocky8: built on w2, 100.0 s from 0 s on"]
    last = boxes["three-1: built, 60.0 s from 1:40 on"]
    # 60 of 160 seconds, at the right end.
    width = float(first["width"]) / 100 * 160
    assert float(last["width"]) == pytest.approx(width * 60 / 160, abs=0.2)
    assert float(last["x"]) + float(last["width"]) == pytest.approx(980, abs=0.2)
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert "build <this> & that" in texts
    assert "critical path, 1:40: one-1@rocky8" in texts
    assert {"lost", "failed", "critical path"} <= set(texts)
    assert {"w2", "w10", "here"} <= set(texts)
    assert texts.count("here") == 1
    assert "2:40 in all; 4 builds of 4:10 together; 5 rows, busy for 31% of the time" in texts
    # A bar contains its name if there is space.
    assert "one-1@rocky8" in texts
    assert "four" not in texts


def test_longest_builds_have_different_colors():
    bars = tuple(bar(f"p{n}-1", n, n + 1) for n in range(8))
    svg = gantt.svg(replace(SHOWN, bars=bars))
    assert len(set(re.findall(r'rx="2" fill="(#\w+)" stroke', svg))) == 8


@pytest.mark.parametrize("bars", [(), (bar("a\x00\ud800<&>", 0, 0, "w\x1b"),)])
def test_unusual_bars_are_drawn(bars):
    root = ET.fromstring(gantt.svg(replace(SHOWN, bars=bars)))
    assert len(list(root.iter(f"{SVG}g"))) == len(bars)


def test_long_run_with_many_rows_is_drawn():
    bars = tuple(bar(f"p{n}-1", n * 10, 400_000, f"w{n}") for n in range(64))
    root = ET.fromstring(gantt.svg(replace(SHOWN, bars=bars)))
    assert int(root.attrib["height"]) > 64 * 20
    ticks = [t.text for t in root.iter(f"{SVG}text") if t.text.endswith(":00:00")]
    assert 3 < len(ticks) < 15


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0 s"), (59.4, "59 s"), (60, "1:00"), (3599.7, "1:00:00")]
)
def test_seconds_are_formatted(seconds, said):
    assert gantt.clock(seconds) == said


# Files


def test_picture_is_saved_with_its_data(tmp_path):
    file = timeline.write_to_cache(SHOWN, tmp_path)
    assert file.parent == tmp_path / "timelines"
    assert re.fullmatch(r"2023-11-1\d-\d{6}\.svg", file.name)
    ET.parse(file)
    data = json.loads(file.with_suffix(".json").read_text())
    assert data["began"] == "2023-11-14T22:13:20Z"
    assert (data["seconds"], data["jobs"]) == (160, 4)
    assert data["critical_path"] == ["one-1@rocky8"]
    assert data["rows"] == ["w2", "w2", "w10", "here", "here"]
    assert data["bars"][0] == {
        "job": "one-1@rocky8",
        "package": "one",
        "worker": "w2",
        "row": 0,
        "began": 0,
        "ended": 100,
        "state": "built",
        "critical": True,
    }
    # In the same second.
    assert timeline.write_to_cache(SHOWN, tmp_path).name == f"{file.stem}-2.svg"


def test_last_timelines_are_kept(tmp_path):
    (tmp_path / "timelines").mkdir()
    own = tmp_path / "timelines/mine.svg"
    own.write_text("a user's")
    files = [timeline.write_to_cache(replace(SHOWN, began=1e9 + n), tmp_path) for n in range(25)]
    there = set((tmp_path / "timelines").iterdir())
    assert own in there
    assert {f for f in there if f.suffix == ".svg"} - {own} == set(files[-20:])
    assert {f for f in there if f.suffix == ".json"} == {
        f.with_suffix(".json") for f in files[-20:]
    }


def test_unwritable_timeline_gives_a_notice(tmp_path):
    (tmp_path / "timelines").write_text("")
    with pytest.raises(MachineError):
        timeline.write_to_cache(SHOWN, tmp_path)
    with pytest.raises(UsageError, match=r"does not end in \.svg"):
        timeline.check_writable(tmp_path / "a.png")
    with pytest.raises(MachineError):
        timeline.check_writable(Path("/no/such/folder/a.svg"))
    timeline.check_writable(tmp_path / "a.svg")
