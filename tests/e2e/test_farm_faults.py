"""Faults of a farm: the payloads equal a local build, and installed packages stay complete."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from farm import Farm, Process, farm, make_client, payloads, processes_with, start
from host_tools import needs_tool
from mounts import mounts
from network import HUB, network
from polling import wait_until
from sample_packages import LOW, RECIPE, Samples
from studio import Studio
from trees import tree

pytestmark = pytest.mark.e2e

# Kilobytes; one payload has 300.
DATA = {
    **LOW,
    "data": "0123456789abcdef" * 20_000,
    "Makefile": LOW["Makefile"] + "\tcp data $(DESTDIR)$(PREFIX)/lib/data.txt\n",
}

# Each release runs it, and writes its start and end.
CHECK = """\
import time


def quick(c):
    for mark in "+-":
        with open("{marks}/released", "a") as file:
            file.write(mark)
        time.sleep(0.3)
    yield c.result("marks", "left", [])
"""


class Packages(Samples):
    """Packages whose builds leave marks and wait on request.

    Attributes:
        marks: A folder; the file of a package has a line for each of its builds.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, empty=True)
        self.marks = folder / "marks"
        self.marks.mkdir()

    def build(self, name: str, *requires: str, first: str = "true", **files: str) -> None:
        """Add a package whose build starts with a command."""
        self.add(name, "1.0.0", {**LOW, **files}, requires=", ".join(f'"{r}-1"' for r in requires))
        command = f"echo $$ >>{self.marks}/{name}; {first}"
        code = f'    b.run("sh", "-c", {command!r})\n    b.make'
        (self.recipes / name / "recipe.py").write_text(RECIPE.replace("    b.make", code))

    def once(self, name: str, seconds: float) -> str:
        """Return a command that waits in the first build of a package only."""
        return f"if [ $(wc -l <{self.marks}/{name}) = 1 ]; then sleep {seconds}; fi"

    def wait_for_file(self, name: str) -> str:
        """Return a command that waits until a file exists."""
        return f"while [ ! -e {self.marks}/{name}.open ]; do sleep 0.1; done"

    def built(self, name: str) -> int:
        """Return how many builds of a package have started."""
        mark = self.marks / name
        return len(mark.read_text().split()) if mark.exists() else 0


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def samples(home: Path) -> Packages:
    made = Packages(home / "samples")
    made.build("low")
    made.build("middle", "low", first=made.once("middle", 3000.25))
    made.build("top", "middle")
    made.build("alone", first=made.once("alone", 3001.25))
    made.build("patient", first=made.wait_for_file("patient"))
    made.build("heir", "patient")
    made.build("bulky", **DATA)
    made.build("bad", "low", first="echo broken; exit 3")
    made.build("victim", "bad")
    made.build("hung", first=made.once("hung", 3002.25))
    for name in ("waits", "waits_too"):
        made.build(name, first=made.wait_for_file("waits"))
    for name in ("left", "right", "both"):
        made.build(name, *(("left", "right") if name == "both" else ()), first="sleep 0.3")
    (made.recipes / "left/check.py").write_text(CHECK.format(marks=made.marks))
    return made


@pytest.fixture(scope="module")
def env(home: Path, samples: Packages) -> dict[str, str]:
    """Return the environment of schedulers and workers."""
    return {**Studio(home / "studio").env, **samples.environ, "REZBUILD_HOST_LABEL": "plain"}


@pytest.fixture(scope="module")
def running(home: Path, env: dict[str, str]) -> Iterator[Farm]:
    """Start a scheduler; each test starts its own workers."""
    with farm(home / "run", env) as started:
        yield started


@pytest.fixture
def client(tmp_path: Path, running: Farm, env: dict[str, str]) -> Studio:
    return make_client(tmp_path, running, env)


def add_workers(running: Farm, label: str, *names: str) -> None:
    for name in names:
        running.worker(name, "--cores", "1", "--label", label)
    running.ready()


def end_workers(running: Farm, *names: str) -> None:
    for name in names:
        running.workers.pop(name).end()


def build_locally(folder: Path, samples: Packages, *requests: str) -> dict[str, str]:
    """Build without a farm, and return the payloads."""
    studio = Studio(folder / "local studio")
    studio.env |= {**samples.environ, "REZBUILD_CACHE": str(folder / "local cache")}
    studio.rezbuild("build", *requests)
    return payloads(studio)


def test_killed_worker_loses_its_job_and_third_loss_fails(client, running, samples, tmp_path):
    """Finished jobs are kept; another worker does the rest."""
    add_workers(running, "killed", "k1", "k2")
    client.env["REZBUILD_HOST_LABEL"] = "killed"
    with start(client, "build", "top") as process:
        wait_until(lambda: processes_with("3000.25"), 60)
        (name,) = running.busy_workers()
        builds = running.workers[name].builds()
        # The client hears of the job's begin later than this process; before, it has no name.
        time.sleep(2)
        running.workers.pop(name).kill()
        wait_until(lambda: not any(build.is_running() for build in builds), 3)
        out = process.communicate(timeout=120)[0]
    assert process.returncode == 0, out
    assert re.search(rf"middle-1\.0\.0: farm: .*{name} was lost", out), out
    assert [samples.built(name) for name in ("low", "middle", "top")] == [1, 2, 1]
    assert payloads(client) == build_locally(tmp_path, samples, "top")
    end_workers(running, *running.workers)


def test_restarted_scheduler_keeps_finished_jobs(home, env, samples, tmp_path):
    """Workers and client wait for the scheduler."""
    with farm(home / "again", env) as running:
        add_workers(running, "plain", "a1", "a2")
        client = make_client(tmp_path, running, env)
        with start(client, "build", "low", "heir") as process:
            wait_until(lambda: "low" in payloads(client), 60)
            wait_until(lambda: samples.built("patient"), 60)
            before = samples.built("low")
            running.scheduler.kill()
            time.sleep(1)
            port = running.address.rpartition(":")[2]
            running.scheduler = Process(running.folder, env, "scheduler", "--port", port)
            wait_until(lambda: samples.built("patient") == 2, 60)
            (samples.marks / "patient.open").touch()
            out = process.communicate(timeout=120)[0]
    assert process.returncode == 0, out
    assert "farm: the scheduler " in out
    assert set(payloads(client)) == {"low", "patient", "heir"}
    assert [samples.built(name) - n for name, n in (("low", before), ("patient", 2))] == [0, 0]
    assert payloads(client) == build_locally(tmp_path, samples, "low", "heir")


def test_job_moves_from_a_worker_with_a_full_disk(client, running, samples, tmp_path):
    """The message names the worker without space."""
    client.env["REZBUILD_HOST_LABEL"] = "disks"
    with mounts() as space:
        disk = tmp_path / "disk"
        space.disk(disk)
        argv = ("--cores", "2", "--label", "disks")
        running.worker("full", *argv, before=space.command, TMPDIR=str(disk))
        add_workers(running, "disks", "roomy")
        space.fill(disk, 250)
        # It has more cores, so that it gets the job first.
        out = client.rezbuild("build", "bulky").stdout
        assert re.search(
            r"bulky-1\.0\.0: farm: failed on full; retrying on another worker: ", out
        ), out
        assert payloads(client) == build_locally(tmp_path, samples, "bulky")
        end_workers(running, "roomy")
        # Without another worker, the error names the full folder.
        done = client.rezbuild("build", "bulky", "--force", ok=False)
        assert done.returncode in {6, 7, 8, 10, 11}, done.stderr
        assert f"free space in {disk}" in done.stderr
        assert "on full, a worker of the farm" in done.stderr
        end_workers(running, "full")


@pytest.mark.matrix
def test_failure_on_every_worker_is_like_a_local_one(client, running, samples, tmp_path):
    """The error names skipped steps, the other steps are built, and logs are in their place."""
    add_workers(running, "failing", "f1", "f2", "f3")
    client.env["REZBUILD_HOST_LABEL"] = "failing"
    before = samples.built("bad")
    there = client.rezbuild("build", "victim", "left", ok=False)
    logs = sorted((samples.recipes / "bad/build").rglob("*.log"))
    text = next((samples.recipes / "bad/build").rglob("01-sh.log")).read_text()
    # A defect fails everywhere, so one more worker is enough.
    assert samples.built("bad") - before == 2
    here = Studio(tmp_path / "here")
    here.env |= {**samples.environ, "REZBUILD_CACHE": str(tmp_path / "cache")}
    own = here.rezbuild("build", "victim", "left", ok=False)
    assert (there.returncode, own.returncode) == (7, 7)
    skipped = "victim-1.0.0: skipped, it needs bad-1.0.0"
    assert skipped in there.stdout
    assert skipped in own.stdout
    assert payloads(client) == payloads(here)
    assert set(payloads(client)) == {"low", "left"}
    assert logs == sorted((samples.recipes / "bad/build").rglob("*.log"))
    assert text == next((samples.recipes / "bad/build").rglob("01-sh.log")).read_text()
    end_workers(running, "f1", "f2", "f3")


# test_farm.py has tests of the other two.
@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        pytest.param(signal.SIGINT, marks=pytest.mark.matrix),
        pytest.param(signal.SIGKILL, marks=pytest.mark.matrix),
    ],
)
def test_interrupted_client_ends_its_builds(client, running, samples, number):
    """The builds end within seconds, and the repository is unchanged."""
    add_workers(running, "told", "t1", "t2")
    client.env["REZBUILD_HOST_LABEL"] = "told"
    client.rezbuild("build", "low")
    before = packages(client)
    (samples.marks / "alone").unlink(missing_ok=True)
    with start(client, "build", "--force", "alone") as process:
        wait_until(lambda: processes_with("3001.25"), 60)
        process.send_signal(number)
        process.communicate(timeout=10)
    wait_until(lambda: not processes_with("3001.25"), 5)
    wait_until(lambda: not running.busy_workers(), 5)
    assert packages(client) == before
    assert set(payloads(client)) == {"low"}
    end_workers(running, "t1", "t2")


def packages(client: Studio) -> dict[str, str]:
    """Return the packages that Rez finds in a repository."""
    return {name: sum_ for name, sum_ in tree(client.local).items() if name[0] != "."}


# Resolve in a loop, and print the results.
RESOLVE = """
import pathlib, sys
from rez.exceptions import RezError
from rez.package_repository import package_repository_manager
from rez.resolved_context import ResolvedContext
from rezbuild.files import pack as tree
local, names, stop = sys.argv[1], sys.argv[2].split(), pathlib.Path(sys.argv[3])
while not stop.exists():
    for name in names:
        package_repository_manager.clear_caches()
        if not list(pathlib.Path(local, name).glob("*/package.py")):
            continue
        found = ResolvedContext([name], package_paths=[local])
        assert found.success, found.failure_description
        print(name, tree.digest(pathlib.Path(found.get_resolved_package(name).root)), flush=True)
"""


@pytest.mark.parametrize(
    "requests",
    [("left", "right"), pytest.param(("right", "left"), marks=pytest.mark.matrix)],
)
def test_two_farms_publish_each_package_once(home, running, env, samples, tmp_path, requests):
    """At each moment, Rez resolves complete packages."""
    with farm(home / f"second-{requests[0]}", env) as second:
        add_workers(running, "plain", "p1")
        add_workers(second, "plain", "p2")
        client, other = (
            make_client(tmp_path, running, env),
            make_client(tmp_path / "2", second, env),
        )
        other.env |= {k: v for k, v in client.env.items() if k.startswith("REZ_")}
        for name in ("platform", "arch"):
            client.rez("bind", "-i", client.local, name)
        stop = tmp_path / "stop"
        argv = (sys.executable, "-c", RESOLVE, client.local, "left right both", stop)
        seen: list[subprocess.CompletedProcess[str]] = []
        watcher = threading.Thread(target=lambda: seen.append(client.run(*argv, ok=False)))
        watcher.start()
        try:
            runs = [
                start(client, "build", *requests, "both"),
                start(other, "build", *reversed(requests), "both"),
            ]
            outs = [run.communicate(timeout=120)[0] for run in runs]
        finally:
            stop.touch()
            watcher.join()
        end_workers(running, "p1")
    assert [run.returncode for run in runs] == [0, 0], outs
    made = build_locally(tmp_path, samples, "both")
    assert payloads(client) == made
    assert seen[0].returncode == 0, seen[0].stderr
    resolved = {tuple(line.split()) for line in seen[0].stdout.splitlines()}
    assert resolved <= set(made.items())
    assert resolved
    for name in made:
        assert sum(out.count(f"{name}-1.0.0: installed, ") for out in outs) == 1, outs


def test_lost_machine_gives_its_job_to_another(home, env, samples, tmp_path):
    """Two workers are on other machines; one is killed during a build."""
    with network(2) as net, farm(home / "net", env, HUB, before=net.on(0)) as running:
        for number, name in ((1, "n1"), (2, "n2")):
            argv = ("--cores", "1", "--host", net.address(number))
            running.worker(name, *argv, before=net.on(number))
        running.ready()
        assert running.workers["n2"].address.startswith(f"tcp://{net.address(2)}:")
        client = make_client(tmp_path, running, env)
        (samples.marks / "alone").unlink(missing_ok=True)
        with start(client, "build", "alone", before=net.on(0)) as process:
            wait_until(lambda: processes_with("3001.25"), 60)
            (name,) = running.busy_workers()
            running.workers[name].kill()
            out = process.communicate(timeout=120)[0]
        assert process.returncode == 0, out
        assert "without TLS" in out
        assert f"{name} was lost" in out
        assert payloads(client) == build_locally(tmp_path, samples, "alone")


def test_unreachable_worker_fails_after_three_tries(home, env, tmp_path):
    """The worker reaches the scheduler, but the scheduler cannot reach the worker."""
    with network(1) as net, farm(home / "one way", env, HUB, before=net.on(0)) as running:
        address = "10.99.0.1"
        command = [*net.on(1), "ip", "addr", "add", f"{address}/32", "dev", "lo"]
        subprocess.run(command, check=True)
        running.worker("w1", "--cores", "1", "--host", address, before=net.on(1))
        running.ready()
        client = make_client(tmp_path, running, env)
        client.env["REZBUILD_FARM_TIMEOUT"] = "2"
        with start(client, "build", "low", before=net.on(0)) as process:
            out = process.communicate(timeout=60)[0]
        assert process.returncode == 10, out
        assert "w1 did not hand over its result; restarting" in out
        assert "3 workers were lost during low-1.0.0" in out


def test_missing_host_kind_fails_after_the_timeout(client, running, samples, tmp_path):
    """Steps for the other host kinds are built."""
    for label in ("stays", "leaves"):
        running.worker(label, "--cores", "2" if label == "stays" else "1", "--label", label)
    running.ready()
    table = tmp_path / "matrix.toml"
    table.write_text(
        f'repository = "{tmp_path}/{{host}}"\n'
        '[sets.all]\nrequests = ["waits", "waits_too"]\nhosts = ["stays", "leaves"]\n'
    )
    client.env["REZBUILD_FARM_TIMEOUT"] = "6"
    with start(client, "build", "--matrix", str(table)) as process:
        wait_until(lambda: samples.built("waits") + samples.built("waits_too") == 3, 60)
        running.workers.pop("leaves").kill()
        time.sleep(8)
        (samples.marks / "waits.open").touch()
        out = process.communicate(timeout=60)[0]
    assert process.returncode == 10, out
    assert out.count("farm: no worker of the kind leaves; waiting for one") == 1
    assert out.count("the farm has had no worker of the kind leaves for 6 s") == 2  # failed, error
    names = {path.parts[-5] for path in (tmp_path / "stays").glob("*/*/*/*/rezbuild.json")}
    assert names == {"waits", "waits_too"}
    end_workers(running, "stays")


@needs_tool("git")
def test_packages_build_at_once_and_release_one_by_one(client, running, samples, tmp_path):
    """The releases share one git repository."""
    add_workers(running, "release", "r1", "r2")
    folder = samples.recipes.parent
    for who in ("AUTHOR", "COMMITTER"):
        client.env |= {f"GIT_{who}_NAME": "t", f"GIT_{who}_EMAIL": "t@example.invalid"}
    (folder / ".gitignore").write_text("build/\n/remote.git/\n/cache/\n/marks/\n__pycache__/\n")
    for line in (
        "init -q -b main",
        "init -q --bare remote.git",
        "remote add origin ./remote.git",
        "add .",
        "commit -qm Recipes",
        "push -qu origin main",
    ):
        client.run("git", *line.split(), cwd=folder)
    table = tmp_path / "matrix.toml"
    table.write_text(
        f'repository = "{tmp_path}/{{profile}}"\n[sets.all]\n'
        'requests = ["left"]\nprofiles = ["fast", "optimized"]\n'
    )
    argv = ("build", "--matrix", table, "--release", "--message", "first")
    out = client.rezbuild(*argv, REZBUILD_HOST_LABEL="release").stdout
    begun = [out.index(f"left-1.0.0@{name}: building, ") for name in ("fast", "optimized")]
    assert max(begun) < out.index(": released, "), out
    marks = (samples.marks / "released").read_text()
    assert marks == "+-" * (len(marks) // 2), marks
    assert len(marks) >= 4
    tags = client.run("git", "tag", cwd=folder).stdout.split()
    assert tags == ["left-1.0.0"]
    found = tmp_path.glob("*/*/*/platform-*/arch-*/rezbuild.json")
    assert len({path for path in found if path.parts[-6] in {"fast", "optimized"}}) == 2
    assert payloads(client) == {}
    end_workers(running, "r1", "r2")


@pytest.mark.matrix
@pytest.mark.parametrize("fault", ["stopped", "cut off"])
def test_silent_worker_is_lost_after_a_minute(home, env, samples, tmp_path, fault):
    """The worker hangs, or its network cable is pulled."""
    (samples.marks / "hung").unlink(missing_ok=True)
    with network(2) as net, farm(home / fault, env, HUB, before=net.on(0)) as running:
        for number, name in ((1, "h1"), (2, "h2")):
            argv = ("--cores", "1", "--host", net.address(number))
            running.worker(name, *argv, before=net.on(number))
        running.ready()
        client = make_client(tmp_path, running, env)
        with start(client, "build", "hung", before=net.on(0)) as process:
            wait_until(lambda: processes_with("3002.25"), 60)
            (name,) = running.busy_workers()
            if fault == "stopped":
                psutil.Process(running.workers[name].pid).suspend()
            else:
                net.disconnect(int(name[1:]))
            began = time.monotonic()
            out = process.communicate(timeout=240)[0]
        assert process.returncode == 0, out
        assert f"{name} was lost" in out
        assert time.monotonic() - began < 150
        assert payloads(client) == build_locally(tmp_path, samples, "hung")
        if fault == "stopped":
            # After it wakes up, it ends its build.
            psutil.Process(running.workers[name].pid).resume()
            wait_until(lambda: not processes_with("3002.25"), 30)
