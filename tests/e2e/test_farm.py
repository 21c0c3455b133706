"""``rezbuild build --scheduler`` gives the same packages as a local build."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import json_page
import pytest
from farm import Farm, farm, make_client, payloads, processes_with, start
from host_tools import require_newer_glibc
from polling import wait_until
from sample_packages import LOW, RECIPE, Samples
from studio import Studio

from rezbuild.files import pack

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("farm")


@pytest.fixture(scope="module")
def samples(home: Path) -> Samples:
    """Make all packages of this module before the workers start and read the recipes."""
    made = Samples(home / "samples")

    def add(name: str, first: str, *requires: str) -> None:
        made.add(name, "1.0.0", LOW, requires=", ".join(f'"{r}-1"' for r in requires))
        code = f'    b.run("sh", "-c", {first!r})\n    b.make'
        (made.recipes / name / "recipe.py").write_text(RECIPE.replace("    b.make", code))

    add("bad", "echo broken; exit 3")
    add("good", "true")
    add("victim", "true", "bad", "good")
    # Each run writes a mark; the first one waits for the kill.
    slow = "echo $$ >>{home}/{name}; if [ $(wc -l <{home}/{name}) = 1 ]; then sleep {time}; fi"
    for number, name in enumerate(("mortal", "stopped", "orphan")):
        add(name, slow.format(home=home, name=name, time=1000.25 + number))
    add("hangs", "setsid sleep 2000.5 & sleep 2000.25")
    return made


@pytest.fixture(scope="module")
def running(home: Path, samples: Samples) -> Iterator[Farm]:
    """Start two workers that share nothing with the client, and one that shares a store."""
    env = Studio(home / "studio").env | samples.environ
    (home / "store").mkdir()
    with farm(home / "run", env) as started:
        for name in ("one", "two"):
            started.worker(name, "--cores", "2", "--label", "plain")
        started.worker("three", "--label", "stored", REZBUILD_STORE=str(home / "store"))
        started.ready()
        yield started


@pytest.fixture
def client(running: Farm, samples: Samples, tmp_path: Path) -> Studio:
    """Return a client of the farm, with an empty repository."""
    return make_client(tmp_path, running, {**samples.environ, "REZBUILD_HOST_LABEL": "plain"})


@pytest.fixture(scope="module")
def local_payloads(home: Path, samples: Samples) -> dict[str, str]:
    """Build without a farm, and return the payloads."""
    studio = Studio(home / "local")
    studio.env |= samples.environ | {"REZBUILD_CACHE": str(home / "local cache")}
    studio.rezbuild("build", "top")
    return payloads(studio)


def test_farm_payloads_equal_a_local_build(client, running, samples, local_payloads):
    """The client has no compiler and shares nothing; bytes and logs are equal."""
    out = client.rezbuild("build", "top", REZBUILD_CC="no-compiler", REZBUILD_CXX="none").stdout
    assert payloads(client) == local_payloads
    assert re.search(r"(?m)^low-1\.0\.0: 02-make-install \.\.\. \d+ s$", out), out
    assert out.index("low-1.0.0: installed, ") < out.index("top-2.0.0: building, ")
    build = samples.recipes / "top/build/2.0.0-fast"
    (log,) = build.glob("platform-*/arch-*/logs/01-make.log")
    # The error has the text of this machine.
    assert f"-L{log.parents[1]}/work/needs/low/lib" in log.read_text()
    told = (build / "rez.log").read_text()
    assert f"top 2.0.0 (fast, 2 jobs): logs in {log.parent}" in told
    assert "Build Summary" in told
    assert "nothing to do" in client.rezbuild("build", "top").stdout
    # The workers have no leftovers.
    assert not list(running.folder.glob("**/jobs/*"))
    # The record names the machines that built and published it.
    assert timeline_parts(out, "top-2.0.0") in (
        [("one", "built"), ("", "published")],
        [("two", "built"), ("", "published")],
    )
    kept = json.loads((Path(client.env["REZBUILD_CACHE"]) / "durations.json").read_text())["builds"]
    assert {(build["name"], build["host"]) for build in kept} == {
        ("low", "plain"),
        ("top", "plain"),
    }


def test_farm_builds_for_an_older_glibc(client, running):
    require_newer_glibc("2.28")
    client.rezbuild("build", "top", "--glibc", "2.28")
    for record in client.local.glob("*/*/*/*/rezbuild.json"):
        assert json.loads(record.read_text())["glibc_floor"].startswith("2.28 (ziglang ")
    assert "nothing to do" in client.rezbuild("build", "top", "--glibc", "2.28").stdout


def test_farm_listens_on_loopback_only(client, running):
    for process in (running.scheduler, *running.workers.values()):
        assert process.listens() == {"127.0.0.1"}
        assert process.ports() == 1


def test_shared_store_carries_the_payloads(client, home, samples, local_payloads):
    env = {"REZBUILD_HOST_LABEL": "stored", "REZBUILD_STORE": str(home / "store")}
    client.rezbuild("build", "top", **env)
    assert payloads(client) == local_payloads
    assert len(list((home / "store").glob("top/2.0.0/*.json"))) == 1
    # A payload in the store is not built again for another repository.
    other = Studio(client.folder / "other")
    out = other.rezbuild("build", "top", **{**client.env, **env, **repositories(other)}).stdout
    assert payloads(other) == local_payloads
    assert "01-make ... " not in out


def timeline_parts(out: str, job: str) -> list[tuple[str, str]]:
    """Return worker and state of each part of a job in the timeline."""
    (picture,) = re.findall(r"(?m)^timeline: (.*)$", out)
    bars = json.loads(Path(picture).with_suffix(".json").read_text())["bars"]
    return [(bar["worker"], bar["state"]) for bar in bars if bar["job"] == job]


def repositories(studio: Studio) -> dict[str, str]:
    return {k: v for k, v in studio.env.items() if k.startswith("REZ_")}


def test_failed_step_is_tried_on_one_other_worker(client, running, samples):
    done = client.rezbuild("build", "victim", ok=False)
    assert done.returncode == 7
    assert set(payloads(client)) == {"good"}
    assert "victim-1.0.0: skipped, it needs bad-1.0.0" in done.stdout
    assert "    broken" in done.stderr
    (first,) = re.findall(r"failed on (one|two); retrying on another worker", done.stdout)
    (other,) = {"one", "two"} - {first}
    assert f"  tried: on {first}: bad 1.0.0: sh -c " in done.stderr
    assert f"  tried: on {other}, a worker of the farm" in done.stderr
    (log,) = re.findall(r"whole output: (\S+)", done.stderr)
    assert "broken" in Path(log).read_text()
    assert log.startswith(str(samples.recipes / "bad/build/1.0.0-fast/"))


def test_job_of_a_killed_worker_starts_again(client, running, home):
    """Another worker does the job."""
    env = {"REZBUILD_HOST_LABEL": "mortal"}
    for name in ("m1", "m2"):
        running.worker(name, "--cores", "1", "--label", "mortal")
    running.ready()
    client.env |= env
    with start(client, "build", "mortal") as process:
        wait_until((home / "mortal").exists)
        (victim,) = running.busy_workers()
        # The client hears of the job's begin later than this process; else it has lost nothing.
        time.sleep(2)
        running.workers[victim].kill()
        wait_until(lambda: not processes_with("1000.25"), 3)
        out = process.communicate(timeout=60)[0]
    assert process.returncode == 0, out
    assert re.search(r"mortal-1\.0\.0: farm: m[12] was lost; restarted on m[12]", out), out
    assert [state for _, state in timeline_parts(out, "mortal-1.0.0")] == [
        "lost",
        "built",
        "published",
    ]
    assert set(payloads(client)) == {"mortal"}
    assert len((home / "mortal").read_text().split()) == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_builds_of_a_killed_client_end(client, running, home, number):
    """After a signal or a kill, its builds on workers end a moment later."""
    name, time = {signal.SIGINT: ("stopped", "1001.25"), signal.SIGKILL: ("orphan", "1002.25")}[
        number
    ]
    with start(client, "build", name) as process:
        wait_until(lambda: processes_with(time))
        process.send_signal(number)
        out = process.communicate(timeout=10)[0]
        wait_until(lambda: not processes_with(time), 3)
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert "rezbuild: interrupted" in out
        assert "Traceback" not in out
    assert payloads(client) == {}
    # The workers accept the next client.
    client.rezbuild("build", name)
    assert set(payloads(client)) == {name}


def test_hanging_step_ends_at_the_timeout(client, running):
    done = client.rezbuild("build", "hangs", ok=False, REZBUILD_STEP_TIMEOUT="1")
    assert done.returncode == 7
    assert "longer than REZBUILD_STEP_TIMEOUT, 1 s" in done.stderr
    assert processes_with("2000.25") == []
    wait_until(lambda: not processes_with("2000.5"), 5)


def test_worker_with_other_recipes_gets_no_job(client, running, samples, home):
    other = Samples(home / "other")
    other.edit("low/recipe.py", "b.make", "b.search_dependencies()\n    b.make")
    running.worker("odd", "--label", "odd", REZBUILD_RECIPES=str(other.recipes))
    running.ready()
    done = client.rezbuild("build", "top", ok=False, REZBUILD_HOST_LABEL="odd")
    assert done.returncode == 2
    assert "the worker odd differs from this machine: its recipe of low differs" in done.stderr
    running.workers.pop("odd").end()


def test_unknown_host_kind_is_refused_with_several_kinds(client, running):
    done = client.rezbuild("build", "low", ok=False, REZBUILD_HOST_LABEL="strange")
    assert done.returncode == 2
    assert "the farm's workers are of several kinds" in done.stderr
    assert "REZBUILD_HOST_LABEL" in done.stderr


def test_missing_scheduler_exits_with_10(client):
    done = client.rezbuild("build", "low", "--scheduler", "tcp://127.0.0.1:9", ok=False)
    assert done.returncode == 10
    assert "no scheduler answers at tls://127.0.0.1:9" in done.stderr


def test_second_client_waits_for_the_first(client, running, local_payloads):
    one, two = (start(client, "build", "top") for _ in range(2))
    outs = [process.communicate(timeout=60)[0] for process in (one, two)]
    assert (one.returncode, two.returncode) == (0, 0), outs
    assert payloads(client) == local_payloads
    # Each package was built once.
    assert sum(out.count("low-1.0.0: installed, ") for out in outs) == 1
    assert sum(out.count("top-2.0.0: installed, ") for out in outs) == 1


def test_rez_build_uses_the_farm(client, samples, local_payloads):
    for name in ("platform", "arch"):
        client.rez("bind", name)
    for name in ("low", "top"):
        out = client.rez("build", "-i", "--process", "farm", cwd=samples.recipes / name).stdout
        # The workers may have built it before.
        assert re.search(r"01-make ... 0 s|taken from the store", out)
    assert payloads(client) == local_payloads
    done = client.rez(
        "build",
        "-i",
        "--process",
        "farm",
        cwd=samples.recipes / "low",
        ok=False,
        REZBUILD_SCHEDULER="",
    )
    assert done.returncode != 0
    assert "REZBUILD_SCHEDULER is not set" in done.stdout + done.stderr
    assert payloads(client) == local_payloads


def test_workers_run_only_build_jobs(running, tmp_path):
    """Workers refuse functions that a client submits, and Dask's other ways to run code."""
    code = f"""
import asyncio, os, pathlib
from distributed import Client
from rezbuild.farm import connection as link
from rezbuild.settings import Settings
mark = {str(tmp_path / "mark")!r}
async def main():
    address, security = link.resolve_address({running.address!r}, Settings.read(), print)
    options = dict(asynchronous=True, set_as_default=False, security=security)
    async with Client(address, **options) as client:
        tries = [
            client.submit(os.mkdir, mark),
            client.submit(eval, "__import__('os').mkdir(" + repr(mark) + ")", actor=True),
            client.run(os.mkdir, mark),
            client.run_on_scheduler(os.mkdir, mark),
        ]
        for one in tries:
            try:
                print(await asyncio.wait_for(one, 5))
            except BaseException as error:
                print("refused", type(error).__name__)
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={k: v for k, v in os.environ.items() if not k.startswith("REZ")},
    )
    assert done.stdout.count("refused") == 4, done.stdout + done.stderr
    assert not (tmp_path / "mark").exists()
    assert all(
        worker.process.poll() is None
        for worker in running.workers.values()
        if worker.pid in {running.workers[n].pid for n in ("one", "two", "three")}
    )


def test_matrix_builds_for_two_host_kinds(client, running, home, local_payloads, tmp_path):
    """Workers of the same kind build each target into its own repository."""
    table = tmp_path / "matrix.toml"
    table.write_text(
        f'repository = "{tmp_path}/{{host}}"\n'
        '[sets.all]\nrequests = ["top"]\nhosts = ["plain", "stored"]\n'
    )
    plan = json_page.read(client.rezbuild("plan", "--json", "--matrix", table).stdout)
    assert {row["job"]: row["built"] for row in plan["jobs"]} == {
        f"{package}@{host}": False
        for package in ("low-1.0.0", "top-2.0.0")
        for host in ("plain", "stored")
    }
    assert plan["workers"] >= 3
    out = client.rezbuild("build", "--matrix", table).stdout
    plan = json_page.read(client.rezbuild("plan", "--json", "--matrix", table).stdout)
    assert all(row["built"] for row in plan["jobs"])
    for host in ("plain", "stored"):
        found = (tmp_path / host).glob("*/*/platform-*/arch-*/rezbuild.json")
        assert {path.parts[-5]: pack.digest(path.parent) for path in found} == local_payloads, out


def test_targets_share_workers_by_remaining_work(client, running, tmp_path):
    """With one core and two targets, a build with waiting dependents starts first."""
    running.worker("narrow", "--cores", "1", "--label", "narrow")
    running.ready()
    table = tmp_path / "matrix.toml"
    table.write_text(
        f'repository = "{tmp_path}/{{profile}}"\n'
        '[sets.one]\nrequests = ["low"]\nhosts = ["narrow"]\nprofiles = ["fast"]\n'
        '[sets.two]\nrequests = ["top"]\nhosts = ["narrow"]\nprofiles = ["optimized"]\n'
    )
    out = client.rezbuild("build", "--matrix", table, REZBUILD_HOST_LABEL="narrow").stdout
    (picture,) = re.findall(r"(?m)^timeline: (.*)$", out)
    bars = json.loads(Path(picture).with_suffix(".json").read_text())["bars"]
    built = [bar["job"] for bar in bars if bar["state"] == "built"]
    assert built == ["low-1.0.0@optimized", "low-1.0.0@fast", "top-2.0.0@optimized"]
    running.workers.pop("narrow").end()
