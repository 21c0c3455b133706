"""The logs of a farm, ``rezbuild farm status``, and ``rezbuild farm drain``."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import json_page
import psutil
import pytest
from farm import Farm, Process, farm, make_client, payloads, start
from polling import wait_until
from sample_packages import LOW, RECIPE, Samples
from studio import ROOT, Studio
from terminal import Terminal, at_terminal

from rezbuild.files import cache_lock

pytestmark = pytest.mark.e2e

WAIT = "echo $$ >>{marks}/{name}; while [ ! -e {marks}/{name}.open ]; do sleep 0.1; done"


class Packages(Samples):
    """Packages that wait in their build until a test opens them; they are built against ``low``."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.marks = folder / "marks"
        self.marks.mkdir()
        for name in ("held", "next"):
            self._add(name, WAIT.format(marks=self.marks, name=name))
        self._add("bad", "exit 3")

    def _add(self, name: str, command: str) -> None:
        self.add(name, "1.0.0", LOW, requires='"low-1"')
        code = f'    b.run("sh", "-c", {command!r})\n    b.make'
        (self.recipes / name / "recipe.py").write_text(RECIPE.replace("    b.make", code))

    def builds(self, name: str) -> int:
        """Return how many builds of a package have started."""
        mark = self.marks / name
        return len(mark.read_text().split()) if mark.exists() else 0

    def open(self, *names: str) -> None:
        for name in names:
            (self.marks / f"{name}.open").touch()


@pytest.fixture
def samples(tmp_path: Path) -> Packages:
    return Packages(tmp_path / "samples")


@pytest.fixture
def running(tmp_path: Path, samples: Packages) -> Iterator[Farm]:
    env = Studio(tmp_path / "studio").env | samples.environ
    with farm(tmp_path / "run", env) as started:
        yield started


@pytest.fixture
def client(tmp_path: Path, running: Farm, samples: Packages) -> Studio:
    """Return a client of the farm, with an empty repository."""
    return make_client(tmp_path, running, {**samples.environ, "REZBUILD_HOST_LABEL": "plain"})


def add_worker(running: Farm, name: str, cores: int = 1) -> Process:
    worker = running.worker(name, "--cores", str(cores), "--label", "plain")
    assert worker.address
    return worker


def state(client: Studio) -> dict[str, list[dict[str, object]]]:
    return json_page.read(client.rezbuild("farm", "status", "--json").stdout)


def state_of(client: Studio, worker: str) -> object:
    return {row["name"]: row["state"] for row in state(client)["workers"]}.get(worker)


def log_lines(process: Process) -> list[str]:
    """Return the lines of a log without their times, which must be ISO with a zone."""
    lines = []
    for line in process.log.read_text().splitlines():
        time, _, rest = line.partition(" ")
        assert datetime.fromisoformat(time).tzinfo is not None, line
        lines.append(rest)
    return lines


def has_line(process: Process, pattern: str) -> bool:
    return any(re.fullmatch(pattern, line) for line in log_lines(process))


def narrow_status(client: Studio) -> list[str]:
    """Return the lines of ``farm status`` on a terminal of 40 columns."""
    env = at_terminal(client.env)
    with Terminal([sys.executable, "-m", "rezbuild", "farm", "status"], env, 40) as terminal:
        terminal.until(lambda lines: "  worker: (waiting)" in lines, "the queue")
        return terminal.lines()


def test_status_shows_workers_jobs_and_queue(client, running, samples):
    assert "the farm has no workers" in client.rezbuild("farm", "status").stdout
    worker = add_worker(running, "one")
    with start(client, "build", "held", "next") as process:
        wait_until(lambda: samples.builds("held") + samples.builds("next") == 1, 60)
        wait_until(lambda: state(client)["queue"])
        found = state(client)
        shown = client.rezbuild("farm", "status").stdout
        narrow = narrow_status(client)
        samples.open("held", "next")
        out = process.communicate(timeout=60)[0]
    assert process.returncode == 0, out
    assert found["scheduler"] == running.address
    (one,) = found["workers"]
    assert {**one, "joined": ""} == {
        "name": "one",
        "address": worker.address,
        "label": "plain",
        "cores": 1,
        "free": 0,
        "state": "running",
        "joined": "",
    }
    (job,), (waiting,) = found["jobs"], found["queue"]
    assert {job["job"], waiting["job"]} == {"held-1.0.0", "next-1.0.0"}
    assert job["worker"] == "one"
    assert job["cores"] == 1
    assert re.fullmatch(r"\S+@\S+", job["client"])
    assert job["client"] == waiting["client"]
    for time in (one["joined"], job["began"]):
        assert datetime.fromisoformat(time).tzinfo is not None
    assert re.search(r"(?m)^ *one +plain +1 +0 +running +tls://127\.0\.0\.1:\d+$", shown), shown
    assert re.search(rf"(?m)^ *{job['job']} +one +1 +\d+ s +{job['client']}$", shown), shown
    assert re.search(rf"(?m)^ *{waiting['job']} +\(waiting\) +{job['client']}$", shown), shown
    assert {"  state: running", "  worker: one", "  worker: (waiting)"} <= set(narrow)
    wait_until(lambda: not state(client)["jobs"])
    assert state(client)["queue"] == []


def test_table_of_a_build_names_the_worker(client, running, samples):
    add_worker(running, "one")
    env = at_terminal(client.env)
    with Terminal([sys.executable, "-m", "rezbuild", "build", "held"], env) as terminal:
        row = re.compile(r"held-1\.0\.0  one  \d+ s  01-sh \.\.\. \d+ s")
        terminal.until(lambda lines: any(map(row.fullmatch, lines)), "the worker")
        samples.open("held")
        terminal.until(lambda lines: lines[-1].startswith("ready: "), "ready")


def test_logs_name_workers_and_jobs_with_times(client, running, samples):
    worker = add_worker(running, "one", 2)
    done = client.rezbuild("build", "bad", ok=False)
    assert done.returncode == 7
    worker.end()
    wait_until(lambda: has_line(running.scheduler, "scheduler: worker one left"))
    for pattern in (
        r"worker one joined: tls://127\.0\.0\.1:\d+, 2 cores, plain",
        r"low-1\.0\.0 began on one, 2 cores, for \S+@\S+",
        r"low-1\.0\.0 ended on one after \d+ s: succeeded",
        r"bad-1\.0\.0 ended on one after \d+ s: failed: bad 1\.0\.0: .*",
    ):
        assert has_line(running.scheduler, f"scheduler: {pattern}"), pattern
    for pattern in (
        r"low-1\.0\.0 began, 2 cores, for \S+@\S+",
        r"low-1\.0\.0 ended after \d+ s: succeeded",
        r"bad-1\.0\.0 ended after \d+ s: failed: bad 1\.0\.0: .*",
    ):
        text = worker.log.read_text().partition("\nrezbuild: interrupted")[0]
        assert re.search(rf"(?m)^\S+T\S+ worker: {pattern}$", text), text


def test_job_of_a_killed_worker_is_logged_as_lost(client, running, samples):
    worker = add_worker(running, "one")
    with start(client, "build", "held") as process:
        wait_until(lambda: samples.builds("held") == 1, 60)
        worker.kill()
        lost = r"scheduler: held-1\.0\.0 ended on one after \d+ s: lost, its worker has left"
        wait_until(lambda: has_line(running.scheduler, lost))
        samples.open("held")
        add_worker(running, "two")
        out = process.communicate(timeout=60)[0]
    assert process.returncode == 0, out


@pytest.mark.parametrize("way", ["command", "signal"])
def test_drained_worker_finishes_its_job_and_ends_with_0(client, running, samples, way):
    """The job has a payload of another package with it; the next job goes to another worker."""
    first = add_worker(running, "one")
    with start(client, "build", "held", "next") as process:
        wait_until(lambda: samples.builds("held") + samples.builds("next") == 1, 60)
        (here,) = [name for name in ("held", "next") if samples.builds(name)]
        (other,) = {"held", "next"} - {here}
        if way == "command":
            said = client.rezbuild("farm", "drain", "one").stdout
            assert said == f"one: draining, it ends after {here}-1.0.0\n"
        else:
            first.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: state_of(client, "one") == "draining")
        add_worker(running, "two")
        wait_until(lambda: samples.builds(other) == 1, 60)
        jobs = {job["job"]: job["worker"] for job in state(client)["jobs"]}
        assert jobs == {f"{here}-1.0.0": "one", f"{other}-1.0.0": "two"}
        assert first.process.poll() is None
        samples.open(here)
        assert first.process.wait(30) == 0
        # The client has the payload; the worker took it from nowhere else.
        wait_until(lambda: here in payloads(client))
        samples.open(other)
        out = process.communicate(timeout=60)[0]
    assert process.returncode == 0, out
    assert "was lost" not in out
    assert (samples.builds("held"), samples.builds("next")) == (1, 1)
    assert set(payloads(client)) == {"low", "held", "next"}
    assert log_lines(first)[-1] == "worker: one has ended, as it was drained"
    assert has_line(running.scheduler, "scheduler: worker one left")
    assert state_of(client, "one") is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a namespace")
def test_hook_of_kubernetes_drains_the_worker_of_a_container(client, running, samples):
    """The worker is process 1, as in a container."""
    page = (ROOT / "docs/how-to/farm-kubernetes.md").read_text(encoding="utf-8")
    (script,) = re.findall(r'preStop: .*\[sh, -c, "(.*)"\]', page)
    apart = ("unshare", "--fork", "--pid", "--mount-proc")
    worker = running.worker("one", "--label", "plain", before=apart)
    running.ready()
    (inside,) = psutil.Process(worker.pid).children()
    with start(client, "build", "held") as process:
        wait_until(lambda: samples.builds("held") == 1, 60)
        enter = ["nsenter", "--pid", "--mount", "--target", str(inside.pid)]
        with subprocess.Popen([*enter, "sh", "-c", script]) as hook:
            wait_until(lambda: state_of(client, "one") == "draining")
            assert hook.poll() is None
            samples.open("held")
            out = process.communicate(timeout=60)[0]
    assert process.returncode == 0, out
    assert worker.process.wait(30) == 0
    assert log_lines(worker)[-1] == "worker: one has ended, as it was drained"
    assert "was lost" not in out


def test_drained_worker_without_a_job_ends_at_once(client, running):
    worker = add_worker(running, "one")
    said = client.rezbuild("farm", "drain", "one").stdout
    assert said == "one: draining, it has no job, and ends now\n"
    assert worker.process.wait(15) == 0
    # `rezbuild cache clean` may remove files there.
    assert (running.folder / "cache-one" / cache_lock.MARKER).exists()


def test_drained_worker_that_waits_for_its_scheduler_ends(running):
    worker = running.worker("one")
    running.scheduler.kill()
    wait_until(lambda: "waiting" in worker.log.read_text(), 60)
    worker.process.send_signal(signal.SIGUSR1)
    assert worker.process.wait(15) == 0


def test_worker_with_a_taken_name_says_so_and_joins_when_the_name_is_free(client, running):
    first = add_worker(running, "one")
    second = Process(running.folder, running.env, "worker", running.address, "--name", "one")
    running.workers["second"] = second
    wait_until(lambda: "is taken" in second.log.read_text(), 60)
    assert log_lines(second)[-4:] == [
        f"worker: the name one is taken by another worker of {running.address}: waiting",
        "  tried: join the farm; the name of a lost worker is free after a minute",
        "  next:  end the other worker: rezbuild farm drain one",
        "  next:  or give this worker another name: --name",
    ]
    client.rezbuild("farm", "drain", "one")
    assert first.process.wait(15) == 0
    wait_until(lambda: has_line(second, r"worker: one at tls://\S+, \d+ cores?"))
    assert state_of(client, "one") == "running"
    assert second.log.read_text().count("is taken") == 1


def test_unknown_worker_cannot_be_drained(client, running):
    worker = add_worker(running, "one")
    done = client.rezbuild("farm", "drain", "one", "other", ok=False)
    assert done.returncode == 2
    assert "unknown worker 'other'" in done.stderr
    assert "tried: the farm has one" in done.stderr
    assert worker.process.poll() is None
    assert state_of(client, "one") == "running"


def test_status_needs_a_scheduler(client):
    done = client.rezbuild("farm", "status", ok=False, REZBUILD_SCHEDULER="tcp://127.0.0.1:9")
    assert done.returncode == 10
    assert "no scheduler answers at tls://127.0.0.1:9" in done.stderr
    done = client.rezbuild("farm", "status", ok=False, REZBUILD_SCHEDULER="")
    assert done.returncode == 2
    assert "set REZBUILD_SCHEDULER" in done.stderr
