"""The farm as a client sees it: who is there, how much room there is, and jobs that are under way.

All of Dask is in one thread with a loop of its own; the thread that builds a plan looks at what it
says, and never waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future as Outcome
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rezbuild.errors import MachineError, RezbuildError
from rezbuild.farm import connection, retry_policy
from rezbuild.farm.messages import Order, Result
from rezbuild.farm.retry_policy import Attempt
from rezbuild.farm.worker_facts import CORES, FACTS, Facts
from rezbuild.settings import Settings

# Seconds: until a scheduler must have answered first; between two looks at the farm, and at a job;
# until all is let go of.
ANSWER = 5.0
_LOOK = 0.25
_PAUSE = 0.1
_END = 3.0

Say = Callable[[str], None]

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass
class Job:
    """One that is to be done.

    Attributes:
        order: What is to be built; its id, its cores and its topic are filled in for each attempt.
        blobs: What gives the payloads that are to travel with it, by digest: packed, and the packed
            debug data or nothing.
        place: The folder of a build here, for which messages name the worker's.
        suits: Whether a worker may have it.
        heard: Takes what a worker says meanwhile.
        note: Takes a line for the user.
        done: Takes what came of it, with the same two where it was carried.
    """

    order: Order
    blobs: Mapping[str, Callable[[], Sequence[bytes]]]
    place: Path
    suits: Callable[[Facts], bool]
    heard: Callable[[Mapping[str, Any]], None]
    note: Callable[[str], None]
    done: Callable[[Result | None, RezbuildError | None, Sequence[bytes]], None]
    attempts: list[Attempt] = field(default_factory=list)
    worker: str = ""


class Farm:
    """A connection to a scheduler, for one run.

    Args:
        address: Of the scheduler.
        settings: For TLS, and how long what has gone is waited for.
        say: Tells the user, of this thread or another.

    Attributes:
        patience: How long, in seconds.
    """

    def __init__(self, address: str, settings: Settings, say: Say) -> None:
        connection.prepare()
        self.address, self._security = connection.connection(address, settings, say)
        self.patience = settings.farm_timeout
        self._say = say
        self._topic = f"rezbuild-{uuid.uuid4().hex}"
        self._workers: dict[str, Facts] = {}
        self._free: dict[str, int] = {}
        # Jobs that the scheduler has, by Dask's key; those among them that no look has seen yet.
        self._out: dict[str, Job] = {}
        self._unseen: dict[str, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._numbers = itertools.count()
        self._scheduler = ""
        self._stopping = False
        # Nobody knows who is there.
        self._blind = True
        self._client: Any = None
        self._loop = asyncio.new_event_loop()
        self._ready: Outcome[None] = Outcome()
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
        """Lets go of everything; the scheduler has the workers end what is still under way."""
        self._stopping = True
        self._thread.join(_END)

    def workers(self) -> dict[str, Facts]:
        """The workers of ours that are there, by address."""
        return dict(self._workers)

    def free(self) -> dict[str, int]:
        """The cores of each that no job of anybody has, as far as is known."""
        return dict(self._free) if not self._unseen else {}

    def begin(self, job: Job, cores: int) -> Callable[[], None]:
        """Has a job done, on ``cores`` cores at first; gives what gives it up."""
        # Before anything of it is there to be seen.
        self._unseen[f"{id(job)}"] = time.monotonic()
        running = asyncio.run_coroutine_threadsafe(self._carry_out(job, cores), self._loop)

        def cancel() -> None:
            running.cancel()

        return cancel

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._live())
        except RezbuildError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 (it belongs to whoever waits)
            self._fail(MachineError(f"the farm at {self.address} failed: {error!r}"))
        finally:
            self._loop.close()

    def _fail(self, error: RezbuildError) -> None:
        if not self._ready.done():
            self._ready.set_exception(error)
        elif not self._stopping:
            self._say(f"farm: {error.message}")

    async def _live(self) -> None:
        """Keeps a connection, and looks at the farm again and again, until that is not wanted."""
        try:
            await self._connect(ANSWER)
            await self._look()
            self._ready.set_result(None)
            while not self._stopping:
                await asyncio.sleep(_LOOK)
                await self._keep()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._disconnect()

    async def _keep(self) -> None:
        try:
            await self._look()
        # As a client that is closed has it; or what answers is no scheduler as we know it.
        except (OSError, ValueError, AttributeError, TypeError, KeyError):
            self._forget()
            if self._client.status in {"closed", "closing"}:
                self._say(f"farm: the scheduler {self.address} has gone; waiting for it")
                await self._disconnect()
                await self._connect(self.patience)
                self._say(f"farm: the scheduler {self.address} is back")

    async def _connect(self, seconds: float) -> None:
        """Gets a connection; the first one at once or not at all.

        Raises:
            MachineError: Nobody has answered for so long.
        """
        deadline = time.monotonic() + seconds
        while (error := await self._open()) is not None:
            if self._stopping or time.monotonic() > deadline or not self._ready.done():
                raise MachineError(
                    f"no scheduler answers at {self.address}: {error.__cause__ or error}",
                    advice=[
                        "start one there: rezbuild scheduler",
                        "or leave out --scheduler and REZBUILD_SCHEDULER to build here",
                    ],
                )
            await asyncio.sleep(1)
        self._scheduler = ""

    async def _open(self) -> Exception | None:
        """Why there is no connection; None where there is one."""
        from distributed import Client

        try:
            self._client = await Client(
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
        if self._client is not None:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self._client.close(timeout=2), 3)

    async def _look(self) -> None:
        """Sees who is there, and what they are doing; of all clients."""
        known = await self._client.scheduler.identity()
        busy = await self._client.scheduler.processing()
        if self._scheduler != known["id"]:
            # Another one knows nothing of what the last one was told.
            self._scheduler = known["id"]
            self._client.subscribe_topic(self._topic, self._heard)
        found = {a: Facts.read(w.get(FACTS)) for a, w in known["workers"].items()}
        self._workers = {address: facts for address, facts in found.items() if facts}
        self._blind = False
        keys = {address: [str(key) for key in busy.get(address, ())] for address in self._workers}
        self._free = {
            address: facts.cores - sum(map(_cores_of, keys[address]))
            for address, facts in self._workers.items()
        }
        seen = {key for some in keys.values() for key in some}
        late = time.monotonic() - 2
        # Two threads write it.
        for key, since in list(self._unseen.items()):
            if key in seen or since < late:
                self._unseen.pop(key, None)

    def _forget(self) -> None:
        """Nothing is known until the next look; workers may well be there."""
        self._workers, self._free, self._blind = {}, {}, True

    def _heard(self, event: tuple[float, Mapping[str, Any]]) -> None:
        told = event[1]
        if not isinstance(told, dict):
            return
        job = self._out.get(str(told.get("id")))
        if job is None:
            return
        worker = str(told.get("name"))
        if job.worker and job.worker != worker:
            job.note(f"{job.worker} has gone; begun again on {worker}")
        job.worker = worker
        job.heard(told)

    async def _carry_out(self, job: Job, cores: int) -> None:
        self._unseen.pop(f"{id(job)}", None)
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            while True:
                result, blobs = await self._attempt(job, cores)
                error = result.failure(str(job.place))
                if error is None:
                    job.done(result, None, blobs)
                    return
                job.attempts.append(Attempt(result.worker, error))
                others = [f for f in self._workers.values() if self._may(job, f)]
                if not retry_policy.again(job.attempts) or not others:
                    job.done(result, retry_policy.verdict(job.attempts), ())
                    return
                first = error.message.splitlines()[0]
                job.note(f"failed on {result.worker}, and is tried on another: {first}")
        except RezbuildError as error:
            job.done(None, error, ())
        except asyncio.CancelledError:
            gone = MachineError(
                f"{job.order} was given up: the farm at {self.address} is not there any more",
                advice=["start its scheduler again, and run it again"],
            )
            job.done(None, gone, ())
            raise
        except Exception as error:  # noqa: BLE001 (a defect, of Dask's or ours)
            job.done(None, MachineError(f"the farm failed: {error!r}"), ())

    def _may(self, job: Job, facts: Facts) -> bool:
        return job.suits(facts) and facts.name not in {a.worker for a in job.attempts}

    async def _attempt(self, job: Job, cores: int) -> tuple[Result, Sequence[bytes]]:
        """Has a job run on a worker; where the scheduler or all of its workers go, on another one.

        Raises:
            MachineError: Nobody is there to do it, or workers die of it.
        """
        deaths = 0
        while True:
            places = await self._room(job, cores)
            asked = min(cores, *(self._workers[place].cores for place in places))
            try:
                future = await self._submit(job, places, asked)
            except (OSError, ValueError):
                # No connection; it is looked for in `_keep`.
                self._forget()
                continue
            try:
                status = await self._ended(future, places)
                if status == "finished" and (came := await self._fetched(future)):
                    return _result(came)
                if status == "error":
                    raise self._of(job, await future.exception())
            finally:
                self._out.pop(str(future.key), None)
                self._unseen.pop(str(future.key), None)
                future.release()
            if status == "cancelled" and not await self._died(job):
                continue
            deaths += 1
            lost = "has gone" if status != "finished" else "does not hand over what it has built"
            if deaths >= retry_policy.MOST:
                raise MachineError(
                    f"{deaths} workers were lost to {job.order}; the last one {lost}",
                    advice=["look at their machines: memory, time limits of a queue, --host"],
                )
            job.note(f"{job.worker or 'its worker'} {lost}; it is begun again")

    async def _died(self, job: Job) -> bool:
        """Whether a job was cancelled because its worker, which had what it needs, has gone."""
        if self._client.status == "running":
            with contextlib.suppress(OSError, ValueError):
                await self._look()
                if job.worker not in {facts.name for facts in self._workers.values()}:
                    return True
                job.note("a worker has gone that had what it needs; it is begun again")
                return False
        self._forget()
        job.note("the scheduler has gone; it is begun again")
        return False

    async def _room(self, job: Job, cores: int) -> list[str]:
        """The workers that may have a job, with room if any has; waits for one to come.

        Raises:
            MachineError: None came.
        """
        deadline = time.monotonic() + self.patience
        while True:
            able = [a for a, facts in self._workers.items() if self._may(job, facts)]
            free = [address for address in able if self._free.get(address, 0) >= cores]
            if free or able:
                return free or able
            if time.monotonic() > deadline:
                raise MachineError(
                    f"no worker came for {job.order} in {self.patience:.0f} s",
                    tried=[str(facts.name) for facts in self._workers.values()],
                    advice=["start one: rezbuild worker " + self.address],
                )
            await asyncio.sleep(_PAUSE)

    async def _submit(self, job: Job, places: Sequence[str], cores: int) -> Any:
        from rezbuild.farm.worker import build

        facts = self._workers[places[0]]
        key = f"{job.order}-{uuid.uuid4().hex[:8]}-{cores}"
        order = replace(
            job.order, id=key, cores=cores, topic=self._topic, travelling=tuple(job.blobs)
        )
        job.worker = ""
        self._out[key] = job
        self._unseen[key] = time.monotonic()
        packed = [b for read in job.blobs.values() for b in await asyncio.to_thread(read)]
        blobs = await self._client.scatter(packed, hash=True) if packed else []
        return self._client.submit(
            build,
            order.to_json(),
            *blobs,
            key=key,
            workers=list(places),
            resources={**dict.fromkeys(facts.resources(), 1), CORES: cores},
            # What began first is what most work waits for.
            priority=-next(self._numbers),
            pure=False,
            retries=0,
        )

    async def _ended(self, future: Any, places: Sequence[str]) -> str:
        """``finished`` or ``error``; ``cancelled`` with the connection, ``deserted`` by workers."""
        missing = time.monotonic()
        while not future.done():
            await asyncio.sleep(_PAUSE)
            if self._blind or set(places) & set(self._workers):
                missing = time.monotonic()
            # Dask would wait for these very workers to come back.
            elif time.monotonic() - missing > 4 * _LOOK:
                return "deserted"
        return str(future.status)

    async def _fetched(self, future: Any) -> Sequence[Any]:
        """What a job that has finished gives; () where its worker does not hand it over."""
        try:
            # Dask itself would try for ever.
            came: Sequence[Any] = await asyncio.wait_for(future, self.patience)
        except asyncio.TimeoutError:
            return ()
        return came

    def _of(self, job: Job, error: object) -> RezbuildError:
        if type(error).__name__ == "KilledWorker":
            return MachineError(
                f"several workers have ended while they built {job.order}, the last one "
                f"{job.worker}",
                advice=["look at their machines: memory, time limits of a queue"],
            )
        return MachineError(f"the farm could not run the job of {job.order}: {error}")


def _result(came: Sequence[Any]) -> tuple[Result, Sequence[bytes]]:
    """Read what a worker has sent, which may be anything.

    Raises:
        MachineError: It is no result.
    """
    try:
        result, *blobs = came
        if not all(isinstance(blob, (bytes, bytearray, memoryview)) for blob in blobs):
            raise ValueError("a payload is no bytes")  # noqa: TRY301 (of foreign data)
        return Result.from_json(result), blobs
    except (ValueError, TypeError) as error:
        raise MachineError(
            f"a worker has sent something else than a result: {error}",
            advice=["is its rezbuild another one? end that worker"],
        ) from None


def _cores_of(key: str) -> int:
    """The cores that a job has: its key says it. Any other task counts as one."""
    number = key.rpartition("-")[2]
    return int(number) if number.isdecimal() and len(number) < 6 else 1
