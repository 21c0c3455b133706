"""The connection to a farm: its workers, their free cores, and the jobs of this run.

All of Dask is in one thread with its own event loop. The thread that runs the plan reads its state,
and never waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import itertools
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from rezbuild.errors import MachineError, RezbuildError
from rezbuild.farm import connection, job_keys
from rezbuild.farm.job_runner import FarmJob, JobRunner
from rezbuild.farm.worker_facts import FACTS, Facts
from rezbuild.settings import Settings
from rezbuild.util import words

# Seconds until a scheduler must have answered; between two updates; until all jobs are released.
ANSWER = 5.0
_UPDATE = 0.25
_END = 3.0
# Seconds until a submitted job must be visible at its worker.
_VISIBLE = 2.0

Say = Callable[[str], None]

if TYPE_CHECKING:
    from typing_extensions import Self


class Farm:
    """A connection to a scheduler, for one run.

    Args:
        address: The address of the scheduler.
        settings: TLS, and the timeout.
        say: Prints messages, from any thread.

    Attributes:
        address: The scheduler's address for Dask.
        timeout: Seconds to wait for a lost scheduler, worker or result.
        topic: The topic of the workers' events.
        client: Dask's client.
        user: The user and the machine, for the log of the farm.
        is_known: Whether the workers are known: the scheduler has answered.
    """

    def __init__(self, address: str, settings: Settings, say: Say) -> None:
        connection.configure_dask()
        self.address, self._security = connection.resolve_address(address, settings, say)
        self.timeout = settings.farm_timeout
        self.topic = f"rezbuild-{uuid.uuid4().hex}"
        self.client: Any = None
        self.user = user()
        self.is_known = False
        self._say = say
        self._workers: dict[str, Facts] = {}
        self._draining: set[str] = set()
        self._free: dict[str, int] = {}
        # Jobs at the scheduler, by Dask's key; the times of jobs that no update has seen yet.
        self._jobs: dict[str, JobRunner] = {}
        self._unseen: dict[str, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._numbers = itertools.count()
        self._scheduler = ""
        # The steps that wait for cores, and those that the scheduler knows.
        self._queue: Sequence[str] = ()
        self._sent: Sequence[str] = ()
        self._stopping = False
        self._loop = asyncio.new_event_loop()
        self._ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, daemon=True, name="farm")

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._ready.result()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect; the scheduler ends the running jobs."""
        self._stopping = True
        self._thread.join(_END)

    def workers(self) -> dict[str, Facts]:
        """Return the rezbuild workers of the farm that take jobs, by address."""
        return {a: facts for a, facts in self.all_workers().items() if a not in self._draining}

    def all_workers(self) -> dict[str, Facts]:
        """Return all rezbuild workers of the farm, also those that are drained."""
        return dict(self._workers)

    def set_queue(self, steps: Sequence[str]) -> None:
        """Set the steps that wait for cores, for ``rezbuild farm status``."""
        self._queue = steps

    def free_cores(self) -> dict[str, int]:
        """Return the free cores of each worker; {} until all submitted jobs are visible."""
        return dict(self._free) if not self._unseen else {}

    def submit(self, job: FarmJob, cores: int) -> Callable[[], None]:
        """Run a job, at first on ``cores`` cores; return a function that cancels it."""
        # Before other threads can see the job.
        self._unseen[f"{id(job)}"] = time.monotonic()
        running = asyncio.run_coroutine_threadsafe(self._run_job(job, cores), self._loop)

        def cancel() -> None:
            running.cancel()

        return cancel

    def known_free_cores(self) -> dict[str, int]:
        """Return the free cores of each worker at the last update."""
        return dict(self._free)

    def register(self, key: str, runner: JobRunner) -> None:
        """Note that the scheduler gets a job under a key."""
        self._jobs[key] = runner
        self._unseen[key] = time.monotonic()

    def unregister(self, key: str) -> None:
        """Note that the scheduler has a job no more."""
        self._jobs.pop(key, None)
        self._unseen.pop(key, None)

    def next_number(self) -> int:
        """Return 0, 1, 2 and so on."""
        return next(self._numbers)

    def forget(self) -> None:
        """Forget the workers until the next update; they may still run."""
        self._workers, self._free, self.is_known = {}, {}, False

    async def update(self) -> None:
        """Read the workers and their tasks, of all clients, from the scheduler."""
        known = await self.client.scheduler.identity()
        busy = await self.client.scheduler.processing()
        if self._scheduler != known["id"]:
            # A new scheduler has no subscriptions.
            self._scheduler, self._sent = known["id"], ()
            self.client.subscribe_topic(self.topic, self._on_event)
        found = {a: Facts.read(w.get(FACTS)) for a, w in known["workers"].items()}
        self._draining = {a for a, w in known["workers"].items() if w.get("status") != "running"}
        self._workers = {address: facts for address, facts in found.items() if facts}
        self.is_known = True
        keys = {address: [str(key) for key in busy.get(address, ())] for address in self._workers}
        self._free = {
            address: facts.cores - sum(map(job_keys.cores, keys[address]))
            for address, facts in self._workers.items()
        }
        seen = {key for some in keys.values() for key in some}
        late = time.monotonic() - _VISIBLE
        # Two threads change the dictionary.
        for key, since in list(self._unseen.items()):
            if key in seen or since < late:
                self._unseen.pop(key, None)
        await self._send_queue(str(known["type"]))

    async def _send_queue(self, kind: str) -> None:
        """Tell rezbuild's scheduler which steps wait; Dask's own does not know the message."""
        queue = self._queue
        if queue != self._sent and kind == "FarmScheduler":
            text = json.dumps([self.user, *queue])
            await self.client.scheduler.rezbuild_queue(client=self.client.id, text=text)
            self._sent = queue

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except RezbuildError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 (raised in the thread that waits)
            self._fail(MachineError(f"the farm at {self.address} failed: {error!r}"))
        finally:
            self._loop.close()

    def _fail(self, error: RezbuildError) -> None:
        if not self._ready.done():
            self._ready.set_exception(error)
        elif not self._stopping:
            self._say(f"farm: {error.message}")

    async def _serve(self) -> None:
        """Stay connected, and update the state until the run ends."""
        try:
            await self._connect(ANSWER)
            await self.update()
            self._ready.set_result(None)
            while not self._stopping:
                await asyncio.sleep(_UPDATE)
                await self._update_or_reconnect()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._disconnect()

    async def _update_or_reconnect(self) -> None:
        try:
            await self.update()
        # A closed client raises these errors, and so does an answer that is not a scheduler's.
        except (OSError, ValueError, AttributeError, TypeError, KeyError):
            self.forget()
            if self.client.status in {"closed", "closing"}:
                self._say(f"farm: the scheduler {self.address} was lost; waiting for it")
                await self._disconnect()
                await self._connect(self.timeout)
                self._say(f"farm: the scheduler {self.address} is back")

    async def _connect(self, seconds: float) -> None:
        """Connect; the first connection is tried once only.

        Raises:
            MachineError: The scheduler has not answered in time.
        """
        deadline = time.monotonic() + seconds
        while (error := await self._open()) is not None:
            why = words.reason_of_cause(error)
            if self._stopping or time.monotonic() > deadline or not self._ready.done():
                here = "or leave out --scheduler and REZBUILD_SCHEDULER to build here"
                raise connection.no_answer(self.address, why, here)
            await asyncio.sleep(1)
        self._scheduler = ""

    async def _open(self) -> Exception | None:
        """Open a connection; return the error if there is one."""
        from distributed import Client

        try:
            self.client = await Client(
                self.address,
                asynchronous=True,
                security=self._security,
                set_as_default=False,
                timeout=f"{ANSWER}s",
                name="rezbuild",
            )
        except (OSError, TimeoutError, RuntimeError, ValueError) as error:
            return error
        return None

    async def _disconnect(self) -> None:
        if self.client is not None:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self.client.close(timeout=2), 3)

    def _on_event(self, event: tuple[float, Mapping[str, Any]]) -> None:
        data = event[1]
        runner = self._jobs.get(str(data.get("id"))) if isinstance(data, dict) else None
        if runner is not None:
            runner.on_event(data)

    async def _run_job(self, job: FarmJob, cores: int) -> None:
        self._unseen.pop(f"{id(job)}", None)
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        await JobRunner(self, job, cores).run()


def user() -> str:
    """Return the user and the machine, e.g. ``ann@ws12``, for the log of the farm."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a container without an entry of the user in /etc/passwd
        name = str(os.getuid())
    return f"{name}@{socket.gethostname()}"
