"""Parts of the farm without a farm: messages, resources, pickles."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from farm_facts import FACTS

from rezbuild.errors import (
    AuditError,
    BuildError,
    ChecksumError,
    FetchError,
    MachineError,
    StoreError,
    UnpackError,
    UsageError,
    to_report,
)
from rezbuild.farm import connection, job_spec, restricted_pickle, retry_policy
from rezbuild.farm.client import Farm
from rezbuild.farm.job_runner import JobRunner
from rezbuild.farm.messages import Order, Result
from rezbuild.farm.remote_task import FAILED, RemoteTask
from rezbuild.farm.retry_policy import Attempt
from rezbuild.farm.worker_facts import Facts, rezbuild_version
from rezbuild.settings import STORE_ENTRY, Settings
from rezbuild.store import Entry
from rezbuild.util import extras

ORDER = Order(
    id="low-1.0.0-abc-2",
    name="low",
    version="1.0.0",
    profile="fast",
    revision="0123",
    dependencies=({"name": "zlib", "payload": "ff"},),
    attached=("ff",),
    cores=2,
    step_timeout=1.5,
)


def test_order_roundtrip():
    assert Order.from_json(ORDER.to_json()) == ORDER


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"id": "x"}', '{"dependencies": 3}'])
def test_invalid_order_is_refused(text):
    with pytest.raises(ValueError):
        Order.from_json(text)


def test_error_roundtrip_keeps_kind_and_advice():
    error = BuildError("the last lines of /w/job/logs/01.log", advice=["whole: /w/job/logs/01.log"])
    result = Result("one", "/w/job", error=to_report(error))
    found = Result.from_json(result.to_json()).failure('/here/bui"ld')
    assert type(found) is BuildError
    assert found.message == 'the last lines of /here/bui"ld/logs/01.log'
    assert found.advice == ('whole: /here/bui"ld/logs/01.log',)
    assert Result("one", "/w").failure("/here") is None


def test_facts_roundtrip():
    assert Facts.read(FACTS.as_data()) == FACTS
    assert Facts.read({"name": "of another version"}) is None
    assert Facts.read(None) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("cores", wrong) for wrong in ("8", 0, -1, 4097, 2.0, True, None)),
        *(("label", wrong) for wrong in ([], ["a"], None, 3)),
        *(("recipes", wrong) for wrong in ([], "x", {1: {}}, {"a": []}, {"a": {"1": None}})),
        *((name, 7) for name in ("name", "rezbuild", "platform", "arch", "glibc", "store")),
        *((name, {}) for name in ("compiler", "assembler", "linker", "machine")),
    ],
)
def test_facts_of_other_types_are_ignored(name, value):
    """A worker of another version may send anything; the client continues."""
    assert Facts.read({**FACTS.as_data(), name: value}) is None


def test_only_needed_recipes_are_compared():
    recipes = {"low": {"1.0.0": "0123"}, "top": {"2.0.0": "other"}}
    assert FACTS.differences("0.1.0-abc", recipes, ["low"]) == []
    assert FACTS.differences("0.1.0-abc", recipes, ["low", "top"]) == ["its recipe of top differs"]
    assert "0.1.0-abc, not 0.1.0-def" in FACTS.differences("0.1.0-def", recipes, [])[0]


def test_resources_are_shared_by_all_jobs():
    """A job takes one of each resource, and its cores."""
    found = FACTS.resources()
    assert found == dict.fromkeys(
        ("cores", "platform-linux", "arch-x86_64", "rezbuild-0.1.0-abc", "host-debian12"), 4.0
    )
    assert "host-" not in str(replace(FACTS, label="").resources())


def test_version_covers_all_files():
    assert rezbuild_version() == rezbuild_version()
    assert rezbuild_version().startswith("0.1.0-")


@pytest.mark.parametrize(
    ("free", "jobs", "wanted"),
    [
        ({"a": 8, "b": 4}, 1, [8]),
        ({"a": 8, "b": 4}, 2, [8, 4]),
        ({"a": 8, "b": 4}, 3, [4, 4, 4]),
        ({"a": 16, "b": 1}, 2, [8, 8]),
        ({"a": 5}, 2, [3, 2]),
        ({"a": 1, "b": 0, "c": -1}, 3, [1]),
        ({}, 2, []),
        ({"a": 2}, 0, []),
    ],
)
def test_cores_are_shared_by_remaining_work(free, jobs, wanted):
    assert retry_policy.share_cores(free, jobs) == wanted


@pytest.mark.parametrize(
    ("kind", "most"),
    [
        (MachineError, 3),
        (FetchError, 3),
        (StoreError, 3),
        (BuildError, 2),
        (AuditError, 1),
        (ChecksumError, 1),
        (UsageError, 1),
    ],
)
def test_number_of_tries_depends_on_the_failure(kind, most):
    attempts = [Attempt(f"w{n}", kind("x")) for n in range(most)]
    assert all(retry_policy.should_retry(attempts[:n]) for n in range(1, most))
    assert not retry_policy.should_retry(attempts)


def test_full_disk_is_a_failure_of_the_machine():
    """It does not matter which step failed."""
    error = UnpackError("cannot unpack x", tried=["free space in /tmp: 4.1 kB"])
    assert retry_policy.should_retry([Attempt("one", error), Attempt("two", error)])
    assert not retry_policy.should_retry([Attempt("one", UnpackError("cannot unpack x"))])


def test_final_error_names_the_workers():
    found = retry_policy.final_error(
        [Attempt("a", MachineError("full\n  ...")), Attempt("b", BuildError("x"))]
    )
    assert type(found) is BuildError
    assert found.tried == ("on a: full", "on b, a worker of the farm")


@pytest.mark.parametrize("address", ["host:8786", "tcp://host", "http://host:1", "tcp://:1", ""])
def test_invalid_address_is_refused(address):
    with pytest.raises(UsageError):
        connection.check_address(address, False, print)


def test_tls_address_needs_its_files():
    said: list[str] = []
    assert connection.check_address("tls://10.0.0.1:8786", True, said.append)
    assert not said
    assert connection.check_address("tcp://10.0.0.1:8786", False, said.append)
    assert "without TLS" in said[0]
    for address, safe in (("tls://10.0.0.1:8786", False), ("tcp://10.0.0.1:8786", True)):
        with pytest.raises(UsageError):
            connection.check_address(address, safe, print)


def test_loopback_addresses_are_recognized():
    assert connection.is_loopback("127.0.0.1")
    assert connection.is_loopback("[::1]")
    assert not connection.is_loopback("0.0.0.0")
    assert not connection.is_loopback("build-box")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_unreachable_worker_refuses_to_start(host):
    for near in ("tcp://127.0.0.1:8786", "tcp://localhost:8786", "tls://[::1]:8786"):
        connection.check_host(host, near)
    for far in ("tcp://build01:8786", "tls://10.0.0.1:8786"):
        with pytest.raises(UsageError, match="cannot be reached"):
            connection.check_host(host, far)
        connection.check_host("10.0.0.7", far)


def test_unreachable_worker_prints_advice(tmp_path):
    out = run(
        "import sys\n"
        "from rezbuild.cli.main import main\n"
        "sys.stderr = sys.stdout\n"
        "print(main(['worker', 'tcp://build01.invalid:8786']))"
    )
    assert "--host 10.0.0.7" in out
    assert out.endswith("\n2\n")


def test_tls_needs_all_three_files(tmp_path):
    assert connection.security(Settings(tmp_path), "10.0.0.5") is None
    with pytest.raises(UsageError, match="REZBUILD_FARM_KEY is not set"):
        connection.security(
            Settings(tmp_path, farm_ca=tmp_path / "ca", farm_cert=tmp_path / "cert"), "10.0.0.5"
        )
    files = dict.fromkeys(("farm_ca", "farm_cert", "farm_key"), tmp_path / "none")
    with pytest.raises(MachineError, match="REZBUILD_FARM_CA"):
        connection.security(Settings(tmp_path, **files), "10.0.0.5")


class MaliciousPickle:
    def __init__(self, call, *words):
        self.call, self.words = call, words

    def __reduce__(self):
        return self.call, self.words


def test_pickle_runs_no_code(tmp_path):
    mark = str(tmp_path / "mark")
    for evil in (
        MaliciousPickle(os.mkdir, mark),
        MaliciousPickle(eval, f"__import__('os').mkdir({mark!r})"),
        MaliciousPickle(getattr, "text", "upper"),
        [MaliciousPickle(subprocess.call, ["mkdir", mark])],
    ):
        found = restricted_pickle.loads(pickle.dumps(evil))
        assert isinstance(
            found[0] if isinstance(found, list) else found, restricted_pickle.RefusedError
        )
    assert not Path(mark).exists()
    assert restricted_pickle.loads(pickle.dumps(("text", b"bytes", {"a": [1, None]}))) == (
        *("text", b"bytes"),
        {"a": [1, None]},
    )


@pytest.fixture
def work(tmp_path):
    """Return a function that gives a worker an order, while it has another job."""
    from rezbuild.farm.worker import FarmWorker

    other = tmp_path / "place/jobs" / ORDER.id / "file"
    other.parent.mkdir(parents=True)
    other.touch()

    async def give(order: Order) -> Result:
        worker = FarmWorker(
            "tcp://127.0.0.1:9",
            place=tmp_path / "place",
            facts=FACTS,
            settings=Settings(tmp_path / "cache"),
            recipes=tmp_path,
            say=print,
            on_drain=print,
            host="127.0.0.1",
        )
        (text,) = await worker.work(order, ())
        return Result.from_json(text)

    yield lambda order: asyncio.run(give(order))
    assert other.exists()


@pytest.mark.parametrize("name", ["..", ".", ".hidden", "a/b", "", "a\0b", 7])
def test_order_with_a_path_as_id_removes_nothing(work, name):
    found = work(replace(ORDER, id=name))
    assert "invalid names" in found.failure("").message


def test_order_that_runs_already_is_refused(work):
    """The running job keeps its folder."""
    assert "File exists" in work(ORDER).failure("/here").message


def remote(folder: Path, publish=lambda: None) -> RemoteTask:
    """Return a step of a farm that a worker has finished."""
    found = RemoteTask("low-1.0.0", folder / "build/rez.log", folder / "build/variant", publish)
    logs = {"01-make.log": "ok", "..": "no", "a\0b": "no", "../c.log": "no", ".": "no"}
    found.on_done(Result("one", "/w", logs=logs), None)
    return found


def test_log_with_a_path_as_name_is_not_written(tmp_path):
    found = remote(tmp_path)
    assert found.poll() == (None, [], [])
    found.wait()
    assert sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file()) == [
        Path("build/rez.log"),
        Path("build/variant/logs/01-make.log"),
    ]


def test_unwritable_log_fails_one_step(tmp_path):
    found = remote(tmp_path)
    found.place.touch()
    assert found.poll() == (FAILED, [], [])
    assert isinstance(found.error, MachineError)
    assert str(found.place) in found.error.message
    assert found.wait() == FAILED


def test_failed_publication_fails_one_step(tmp_path):
    def publish() -> None:
        raise BlockingIOError(errno.EAGAIN, "no more processes")

    found = remote(tmp_path, publish)
    assert found.poll() == (FAILED, [], [])
    assert "no more processes" in found.error.message
    found.wait()


def test_two_targets_publish_the_same_version_in_turn(tmp_path):
    """Each publishes its own payload."""
    given = []
    for key, profile in (("aa", "fast"), ("bb", "optimized")):
        step = remote(tmp_path / key)
        step.made = Entry(key, "low", "1.0.0", profile, "ff", 1, "ee", {}), "/store"
        given.append(job_spec.publish_variables(step, tmp_path))
        step.wait()
    files = [Path(one[STORE_ENTRY]) for one in given]
    assert [json.loads(file.read_text())["profile"] for file in files] == ["fast", "optimized"]


@pytest.mark.parametrize("blind", [True, False])
def test_workers_stay_listed_while_the_scheduler_is_unreachable(tmp_path, blind):
    """The scheduler does not say who is connected."""

    async def ended() -> str:
        farm = Farm("tcp://127.0.0.1:9", Settings(tmp_path), print)
        farm.is_known = not blind
        try:
            job: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            return await asyncio.wait_for(
                JobRunner(farm, None, 1)._wait(job, ["tcp://127.0.0.1:1"]), 2
            )
        except asyncio.TimeoutError:
            return "waited for"
        finally:
            farm._loop.close()

    assert asyncio.run(ended()) == ("waited for" if blind else "deserted")


def run(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


def test_local_build_imports_no_dask():
    out = run(
        "import sys, rezbuild.cli.main, rezbuild.run.driver, rezbuild.rez_plugin.build_command, "
        "rezbuild.rez_plugin.build_process, "
        "rezbuild.farm.connection\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('dask', 'distributed', 'tornado')])"
    )
    assert out == "[]\n"


def test_missing_dask_is_reported(tmp_path):
    out = run(
        "import sys; sys.modules['distributed'] = None\n"
        "from rezbuild.cli.main import main\n"
        "sys.stderr = sys.stdout\n"
        "print(main(['scheduler', '--port', '0']))"
    )
    assert extras.install_command("farm") in out
    assert out.endswith("\n10\n")
