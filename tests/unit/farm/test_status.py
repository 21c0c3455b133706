"""The state of a farm as a message, and the log of a real scheduler without workers."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import datetime

import pytest

from rezbuild.farm import connection, job_keys, log
from rezbuild.farm.messages import BEGAN, ENDED
from rezbuild.farm.status import FarmStatus, JobStatus, WaitingStatus, WorkerStatus

STATUS = FarmStatus(
    [WorkerStatus("one", "tls://127.0.0.1:1", "debian12", 4, 2, "running", "2026-03-01T09:30:00Z")],
    [JobStatus("low-1.0.0", "one", 2, "ann@ws12", "2026-03-01T09:31:00Z", 3.5)],
    [WaitingStatus("top-2.0.0", "ann@ws12")],
)


def test_status_roundtrip():
    assert FarmStatus.from_json(STATUS.to_json()) == STATUS


def test_status_of_other_types_is_refused():
    """A scheduler of another version, or of somebody else, may send anything."""
    sound = STATUS.as_data()
    wrong: list[object] = [None, 3, "", "[]", "{}", "{", json.dumps({**sound, "jobs": {}})]
    for rows, name, value in (
        ("workers", "cores", "4"),
        ("workers", "cores", True),
        ("workers", "name", ["one"]),
        ("jobs", "seconds", None),
        ("queue", "client", 7),
        ("queue", "more", "x"),
    ):
        data = json.loads(json.dumps(sound))
        data[rows][0][name] = value
        wrong.append(json.dumps(data))
    for text in wrong:
        with pytest.raises(ValueError):
            FarmStatus.from_json(text)


@pytest.mark.parametrize("package", ["zlib-1.3.1", "vfx-platform-2026.1-rc2"])
def test_key_has_package_and_cores(package):
    key = job_keys.make(package, 12)
    assert (job_keys.package(key), job_keys.cores(key)) == (package, 12)
    assert key != job_keys.make(package, 12)


@pytest.mark.parametrize("key", ["x", "", "a-b", "task-12345678-12345678", "sum-ab12-x"])
def test_key_of_another_task_is_its_own_name_with_one_core(key):
    assert job_keys.cores(key) == 1
    assert job_keys.package(key) in {key, "task"}


def test_line_of_the_log_has_time_and_zone(capsys):
    log.LogReporter().info("worker: one began")
    time, _, rest = capsys.readouterr().out.partition(" ")
    assert rest == "worker: one began\n"
    assert datetime.fromisoformat(time).tzinfo is not None


@pytest.fixture
def scheduler():
    """Return a class for schedulers that keep the lines of their log."""
    connection.configure_dask()
    from rezbuild.farm.scheduler import FarmScheduler

    return FarmScheduler


def test_foreign_text_cannot_forge_a_line_of_the_log(scheduler):
    lines: list[str] = []

    async def serve() -> None:
        async with scheduler(lines.append, host="127.0.0.1", port=0) as running:
            journal = running._journal
            journal._joined["tcp://w"] = ("one", log.now())
            client = "ann\n2026-03-01T09:30:00+01:00 scheduler: worker evil joined\x1b[2J"
            client += "x" * 999
            for kind in (BEGAN, ENDED):
                event = {"id": "low-1.0.0-0123abcd-2", "kind": kind, "client": client}
                journal.on_event("tcp://w", {**event, "text": f"failed: {client}"})

    asyncio.run(serve())
    assert [re.sub(r"\d+ s", "0 s", line)[:50] for line in lines] == [
        r"low-1.0.0 began on one, 2 cores, for ann\n2026-03-"[:50],
        r"low-1.0.0 ended on one after 0 s: failed: ann\n2026"[:50],
    ]
    for line in lines:
        assert "\n" not in line
        assert "\x1b" not in line
        assert len(line) < 300


def test_events_of_other_types_change_nothing(scheduler):
    lines: list[str] = []

    async def serve() -> FarmStatus:
        async with scheduler(lines.append, host="127.0.0.1", port=0) as running:
            journal = running._journal
            journal._joined |= {"tcp://a": ("a", ""), "tcp://b": ("b", "")}
            key = "low-1.0.0-0123abcd-2"
            # Not a table; of an unknown worker; the end of a job that has not begun.
            journal.on_event("tcp://a", ["id"])
            journal.on_event("tcp://c", {"id": key, "kind": BEGAN})
            journal.on_event("tcp://a", {"id": key, "kind": ENDED})
            journal.on_event("tcp://a", {"id": key, "kind": 7})
            assert lines == []
            journal.on_event("tcp://a", {"id": key, "kind": BEGAN, "client": None})
            # Another worker cannot end the job, nor does an unknown client get a queue.
            journal.on_event("tcp://b", {"id": key, "kind": ENDED})
            journal.set_queue("unknown", '["ann", "low-1.0.0"]')
            return FarmStatus.from_json(running.drain(["nobody"]))

    found = asyncio.run(serve())
    assert len(lines) == 1
    assert found == FarmStatus([], [], [])
