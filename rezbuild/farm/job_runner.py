"""A job on a farm, from its first attempt to a result: where it runs, and when it is repeated."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rezbuild.errors import MachineError, RezbuildError
from rezbuild.farm import job_keys, retry_policy
from rezbuild.farm.messages import Order, Result
from rezbuild.farm.retry_policy import Attempt
from rezbuild.farm.worker_facts import CORES, Facts
from rezbuild.util import words

if TYPE_CHECKING:
    from rezbuild.farm.client import Farm

# Seconds between two polls of a job.
_PAUSE = 0.1
# Seconds until a job whose workers have all disappeared is given to others.
_DESERTED = 1.0


@dataclass(frozen=True)
class FarmJob:
    """A job for a farm.

    Attributes:
        order: What to build. Its id, cores and topic are set for each attempt.
        attached: A function for each payload that travels with the job, by digest. It returns the
            packed payload, and the packed debug data or b"".
        place: The folder of a local build; messages name it instead of the worker's folder.
        accepts: Whether a worker may have the job.
        on_event: Receives the events of a worker.
        on_note: Receives lines for the user.
        on_done: Receives the result or the error, and packed payload and debug data if the result
            brings them.
    """

    order: Order
    attached: Mapping[str, Callable[[], Sequence[bytes]]]
    place: Path
    accepts: Callable[[Facts], bool]
    on_event: Callable[[Mapping[str, Any]], None]
    on_note: Callable[[str], None]
    on_done: Callable[[Result | None, RezbuildError | None, Sequence[bytes]], None]


class JobRunner:
    """Runs one job, in the farm's thread.

    Args:
        farm: The connection.
        job: The job.
        cores: The cores of the first attempt.
    """

    def __init__(self, farm: Farm, job: FarmJob, cores: int) -> None:
        self._farm = farm
        self._job = job
        self._cores = cores
        self._attempts: list[Attempt] = []
        self._worker = ""

    def on_event(self, event: Mapping[str, Any]) -> None:
        """Take an event of a worker."""
        worker = str(event.get("name"))
        if self._worker and self._worker != worker:
            self._job.on_note(f"{self._worker} was lost; restarted on {worker}")
        self._worker = worker
        self._job.on_event(event)

    async def run(self) -> None:
        """Run the job until it succeeds, or fails for good."""
        job = self._job
        try:
            while True:
                result, blobs = await self._attempt()
                error = result.failure(str(job.place))
                if error is None:
                    job.on_done(result, None, blobs)
                    return
                self._attempts.append(Attempt(result.worker, error))
                others = any(map(self._accepts, self._farm.workers().values()))
                if not retry_policy.should_retry(self._attempts) or not others:
                    job.on_done(result, retry_policy.final_error(self._attempts), ())
                    return
                first = error.message.splitlines()[0]
                job.on_note(f"failed on {result.worker}; retrying on another worker: {first}")
        except RezbuildError as error:
            job.on_done(None, error, ())
        except asyncio.CancelledError:
            lost = MachineError(
                f"{job.order} was cancelled: the farm at {self._farm.address} was lost",
                advice=["start its scheduler again, and run the command again"],
            )
            job.on_done(None, lost, ())
            raise
        except Exception as error:  # noqa: BLE001 (a defect, of Dask or of rezbuild)
            job.on_done(None, MachineError(f"the farm failed: {error!r}"), ())

    def _accepts(self, facts: Facts) -> bool:
        failed = {attempt.worker for attempt in self._attempts}
        return self._job.accepts(facts) and facts.name not in failed

    async def _attempt(self) -> tuple[Result, Sequence[bytes]]:
        """Run the job on a worker. Repeat it if the scheduler or all of its workers are lost.

        Raises:
            MachineError: No worker came, or the job has killed several workers.
        """
        job, farm, losses = self._job, self._farm, 0
        while True:
            places = await self._find_places()
            workers = farm.workers()
            cores = min(self._cores, *(workers[place].cores for place in places))
            try:
                future = await self._submit(places, cores)
            except (OSError, ValueError):
                # The farm's thread reconnects.
                farm.forget()
                continue
            try:
                status = await self._wait(future, places)
                if status == "finished" and (came := await self._fetch(future)):
                    return read_result(came)
                if status == "error":
                    raise self._failure(await future.exception())
            finally:
                farm.unregister(str(future.key))
                future.release()
            if status == "cancelled" and not await self._was_worker_lost():
                continue
            losses += 1
            lost = "was lost" if status != "finished" else "did not hand over its result"
            if losses >= retry_policy.MAX_WORKERS:
                raise MachineError(
                    f"{losses} workers were lost during {job.order}; the last one {lost}",
                    advice=["check their machines: memory, time limits of a queue, --host"],
                )
            job.on_note(f"{self._worker or 'its worker'} {lost}; restarting")

    async def _was_worker_lost(self) -> bool:
        """Return whether a job was cancelled because its worker was lost."""
        farm, note = self._farm, self._job.on_note
        if farm.client.status == "running":
            with contextlib.suppress(OSError, ValueError):
                await farm.update()
                if self._worker not in {facts.name for facts in farm.all_workers().values()}:
                    return True
                note("a worker with data of the job was lost; restarting")
                return False
        farm.forget()
        note("the scheduler was lost; restarting")
        return False

    async def _find_places(self) -> list[str]:
        """Return the workers that may have the job, if possible with enough free cores.

        Raises:
            MachineError: No worker came in time.
        """
        farm = self._farm
        deadline = time.monotonic() + farm.timeout
        while True:
            able = [a for a, facts in farm.workers().items() if self._accepts(facts)]
            free = farm.known_free_cores()
            roomy = [address for address in able if free.get(address, 0) >= self._cores]
            if roomy or able:
                return roomy or able
            if time.monotonic() > deadline:
                raise MachineError(
                    f"no worker came for {self._job.order} in {farm.timeout:.0f} s",
                    tried=[facts.name for facts in farm.workers().values()],
                    advice=["start one: rezbuild worker " + farm.address],
                )
            await asyncio.sleep(_PAUSE)

    async def _submit(self, places: Sequence[str], cores: int) -> Any:
        from rezbuild.farm.worker import build

        job, farm = self._job, self._farm
        facts = farm.workers()[places[0]]
        key = job_keys.make(job.order, cores)
        order = replace(
            job.order,
            id=key,
            cores=cores,
            topic=farm.topic,
            attached=tuple(job.attached),
            client=farm.user,
        )
        self._worker = ""
        farm.register(key, self)
        packed = [b for read in job.attached.values() for b in await asyncio.to_thread(read)]
        blobs = await farm.client.scatter(packed, hash=True) if packed else []
        return farm.client.submit(
            build,
            order.to_json(),
            *blobs,
            key=key,
            workers=list(places),
            resources={**dict.fromkeys(facts.resources(), 1), CORES: cores},
            # Earlier jobs are more urgent: more steps wait for them.
            priority=-farm.next_number(),
            pure=False,
            retries=0,
        )

    async def _wait(self, future: Any, places: Sequence[str]) -> str:
        """Wait for a job; return its state.

        The state is ``finished``, ``error``, ``cancelled`` if the connection was lost, or
        ``deserted`` if all of its workers were lost.
        """
        seen = time.monotonic()
        while not future.done():
            await asyncio.sleep(_PAUSE)
            if not self._farm.is_known or set(places) & set(self._farm.all_workers()):
                seen = time.monotonic()
            # Dask would wait for these workers to come back.
            elif time.monotonic() - seen > _DESERTED:
                return "deserted"
        return str(future.status)

    async def _fetch(self, future: Any) -> Sequence[Any]:
        """Return the result of a finished job; () if its worker does not hand it over."""
        try:
            # Dask itself would try forever.
            came: Sequence[Any] = await asyncio.wait_for(future, self._farm.timeout)
        except asyncio.TimeoutError:
            return ()
        return came

    def _failure(self, error: BaseException) -> RezbuildError:
        order = self._job.order
        if type(error).__name__ == "KilledWorker":
            return MachineError(
                f"several workers have ended during {order}, the last one {self._worker}",
                advice=["check their machines: memory, time limits of a queue"],
            )
        return MachineError(f"the farm could not run the job of {order}: {words.reason(error)}")


def read_result(came: Sequence[Any]) -> tuple[Result, Sequence[bytes]]:
    """Read the message of a worker, which may be anything.

    Raises:
        MachineError: It is not a result.
    """
    try:
        result, *blobs = came
        if not all(isinstance(blob, (bytes, bytearray, memoryview)) for blob in blobs):
            raise ValueError("a payload is not bytes")  # noqa: TRY301 (a check of foreign data)
        return Result.from_json(result), blobs
    except (ValueError, TypeError) as error:
        raise MachineError(
            f"a worker has sent an invalid result: {words.reason(error)}",
            advice=["check whether the worker runs the same rezbuild, or stop it"],
        ) from None
