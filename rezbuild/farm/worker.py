"""The worker: Dask's, which runs rezbuild's jobs and nothing else.

A scheduler, or a process that reaches the worker's port, can make the worker do this: build a
version
of a recipe in the worker's recipes folder against payloads that the job names, return the result
and
the logs, read and drop results, and end. The worker refuses everything else that Dask's worker does
(functions, plugins, files and actors), and reads restricted pickles only
(`rezbuild.farm.restricted_pickle`).

A build runs programs of the payloads that its job names. So a user who can send jobs can run code
as
the worker's user. Therefore the worker listens on loopback by default, and TLS decides who may
connect (docs/explanation/farm.md, What is trusted).
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dask._task_spec import Task
from distributed import Worker, get_worker

from rezbuild.errors import REPORT, MachineError, to_report
from rezbuild.farm import job_process, payload_cache
from rezbuild.farm.log import foreign
from rezbuild.farm.messages import BEGAN, DRAIN, ENDED, JOBS, Order, Result, is_file_name
from rezbuild.farm.worker_facts import FACTS, Facts
from rezbuild.files import safe_files
from rezbuild.reporter import ABSENT
from rezbuild.settings import Settings
from rezbuild.util import processes, words

# Seconds between two polls of a build.
_PAUSE = 0.1
_REFUSED = (
    "run",
    "run_coroutine",
    "upload_file",
    "actor_execute",
    "actor_attribute",
    "plugin-add",
    "plugin-remove",
    "benchmark_disk",
    "benchmark_memory",
    "benchmark_network",
    "dump_state",
)
# Characters of a log that are returned: the end of a longer log.
_MOST = 5_000_000


async def build(text: str, *blobs: bytes) -> tuple[Any, ...]:
    """Run a job: the only function that a worker runs for others.

    Args:
        text: The `Order`.
        blobs: The packed payload, and the packed debug data or b"", of each attached payload.

    Returns:
        The `Result`, and packed payload and debug data if they are to be returned.
    """
    worker = get_worker()
    if not isinstance(worker, FarmWorker):
        raise MachineError("the worker is not rezbuild's", advice=["start one: rezbuild worker"])
    return await worker.work(Order.from_json(text), blobs)


class FarmWorker(Worker):
    """Dask's worker without the refused handlers.

    Args:
        scheduler: The address of its scheduler.
        place: A folder of this worker, removed when it ends.
        facts: The description of the worker.
        settings: The worker's settings.
        recipes: The recipes folder.
        say: Prints a line of the log.
        on_drain: Called when the scheduler drains this worker.
    """

    def __init__(  # noqa: PLR0913 (Dask adds its own)
        self,
        scheduler: str,
        *,
        place: Path,
        facts: Facts,
        settings: Settings,
        recipes: Path,
        say: Callable[[str], None],
        on_drain: Callable[[], None],
        **options: Any,
    ) -> None:
        self._say = say
        self._place = place
        self._recipes = recipes
        # Without a common store, a private one keeps finished builds.
        self._store = settings.store or str(payload_cache.private_store(settings.cache))
        self._private = not settings.store
        self._facts = facts
        self._builds: dict[str, int] = {}

        async def describe(_: Worker) -> dict[str, Any]:
            return facts.as_data()

        super().__init__(
            scheduler,
            name=facts.name,
            nthreads=facts.cores,
            resources=facts.resources(),
            startup_information={FACTS: describe},
            local_directory=str(place),
            # It holds packed payloads for a moment; its builds are other processes.
            memory_limit=0,
            **options,
        )
        for name in _REFUSED:
            self.handlers.pop(name, None)
        self.stream_handlers[DRAIN] = on_drain

    def start_http_server(self, *_: Any, **__: Any) -> None:
        """Open no second port."""

    async def plugin_add(self, *_: Any, **__: Any) -> Any:
        """Ignore plugins: the scheduler offers some of Dask's to new workers."""
        return {"status": "OK"}

    async def execute(self, key: Any, *, stimulus_id: str) -> Any:
        """Run a task if it is a job of rezbuild."""
        known = self.state.tasks[key]
        if getattr(known.run_spec, "func", None) is not build:
            known.run_spec = Task(key, _refuse)
        return await super().execute(key, stimulus_id=stimulus_id)

    async def drain(self) -> None:
        """Take no more jobs, and end when the clients have the results of all jobs."""
        message = {"op": "worker-status-change", "status": "closing_gracefully"}
        self.batched_send({**message, "stimulus_id": "drain"})
        while self.state.tasks:  # noqa: ASYNC110 (Dask has no event for it)
            await asyncio.sleep(_PAUSE)
        await self.close(reason="drained")

    async def work(self, order: Order, blobs: Sequence[bytes]) -> tuple[Any, ...]:
        """Build a payload, and log the begin and the end of the job."""
        began, name, client = time.monotonic(), foreign(order), foreign(order.client)
        self._say(f"{name} began, {words.count(order.cores, 'core')}, for {client}")
        self.log_event(JOBS, {"id": order.id, "kind": BEGAN, "client": client})
        outcome = "stopped"
        try:
            result, *packed = await self._make(order, blobs)
            outcome = "cancelled" if self._is_cancelled(order.id) else _outcome(result)
            return (result.to_json(), *packed)
        finally:
            self._say(f"{name} ended after {time.monotonic() - began:.0f} s: {outcome}")
            self.log_event(JOBS, {"id": order.id, "kind": ENDED, "text": outcome})

    async def _make(self, order: Order, blobs: Sequence[bytes]) -> tuple[Any, ...]:
        """Build a payload in a new process; return errors as a result that clients can read."""
        place = self._place / "jobs" / str(order.id)
        try:
            _check_names(order)
            # Fail if the folder exists: it belongs to another job.
            await asyncio.to_thread(place.mkdir, parents=True)
            try:
                await asyncio.to_thread(self._write_files, order, blobs, place)
                status = await self._build(order, place)
                return await asyncio.to_thread(self._read_result, order, place, status)
            finally:
                await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)
        except (OSError, ValueError) as error:
            text = (
                MachineError.from_os_error(error).message
                if isinstance(error, OSError)
                else words.reason(error)
            )
            ours = to_report(MachineError(f"the job cannot run: {text}"))
            return (Result(self._facts.name, str(place), error=ours),)

    def _write_files(self, order: Order, blobs: Sequence[bytes], place: Path) -> None:
        for payload, data, debug in zip(order.attached, blobs[::2], blobs[1::2]):
            job_process.blob(place, payload).write_bytes(data)
            job_process.debug_blob(place, payload).write_bytes(debug)
        order = replace(order, return_payload=order.return_payload or self._private)
        (place / job_process.ORDER).write_text(order.to_json(), encoding="utf-8")

    async def _build(self, order: Order, place: Path) -> int:
        """Run the build, send its events, and end it when the job is cancelled."""
        argv = [sys.executable, "-I", "-u", "-m", "rezbuild.farm.job_process", str(place)]
        argv.append(str(self._recipes))
        env = {
            **os.environ,
            REPORT: str(place / "report.json"),
            processes.REZ: str(os.getpid()),
            "REZBUILD_STORE": self._store,
            "TMPDIR": str(place),
        }
        build = processes.Task(str(order), argv, place, env, place / "output")
        self._builds[order.id] = build.pid
        try:
            while True:
                news = build.poll()
                if news.lines or news.events:
                    self._send_events(order, place, news)
                if news.status is not None:
                    return news.status
                if self._is_cancelled(order.id):
                    return 1
                await asyncio.sleep(_PAUSE)
        finally:
            # Also when the worker ends, which cancels this coroutine.
            if build.poll().status is None:
                processes.end(build.pid)
            build.wait()
            del self._builds[order.id]
            if not self._builds:
                # End child processes of killed builds.
                processes.stop([])
                processes.reap_orphans()

    def _send_events(self, order: Order, place: Path, news: processes.TaskUpdate) -> None:
        # Dask adds the key "worker" with the address.
        origin = {"id": order.id, "name": self._facts.name, "place": str(place / job_process.BUILD)}
        # A miss in the private store is of no interest.
        events = [e.as_data() for e in news.events if not (self._private and e.kind == ABSENT)]
        self.log_event(order.topic, {**origin, "lines": news.lines, "events": events})

    def _is_cancelled(self, key: str) -> bool:
        known = self.state.tasks.get(key)
        return known is None or known.state == "cancelled"

    def _read_result(self, order: Order, place: Path, status: int) -> tuple[Any, ...]:
        error, entry = None, {}
        packed = [place / name for name in (job_process.BLOB, job_process.DEBUG)]
        output = _text(place / "output")
        if status != 0:
            error = _read(place / "report.json") or to_report(_ended(order, status, output))
        else:
            entry = _read(place / job_process.ENTRY)
        logs = {
            path.relative_to(place / job_process.BUILD / "logs").as_posix(): _text(path)
            for path in sorted((place / job_process.BUILD / "logs").rglob("*.log"))
        }
        blobs = [file.read_bytes() for file in packed] if not error and packed[0].is_file() else []
        result = Result(
            worker=self._facts.name,
            place=str(place / job_process.BUILD),
            error=error,
            entry=entry,
            carried=bool(blobs),
            output=output,
            logs=logs,
        )
        return (result, *blobs)


def _outcome(result: Result) -> str:
    """Return how a job ended, with the first line of its error."""
    if result.error is None:
        return "succeeded"
    return f"failed: {str(result.error.get('message')).partition(chr(10))[0]}"


def _check_names(order: Order) -> None:
    """Check that the names that become part of a path are no paths."""
    if not all(map(is_file_name, (order.id, order.name, order.version, *order.attached))):
        raise ValueError("invalid names")


def _refuse() -> None:
    raise MachineError(
        "a worker of a farm runs rezbuild's jobs only",
        advice=["use one of Dask's own workers for other tasks"],
    )


def _ended(order: Order, status: int, output: str) -> MachineError:
    how = f"was killed by signal {-status}" if status < 0 else f"ended with exit code {status}"
    lines = "\n".join(f"    {line}" for line in output.splitlines()[-30:])
    return MachineError(f"the build of {order} {how}. Its last lines:\n{lines}")


def _read(path: Path) -> dict[str, Any]:
    try:
        data = safe_files.parse_json(safe_files.read(path))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")[-_MOST:] if path.is_file() else ""
