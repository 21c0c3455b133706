"""``rezbuild scheduler`` and ``rezbuild worker``, which run until they get a signal."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

from rezbuild.build import toolchain
from rezbuild.errors import MachineError
from rezbuild.farm import connection, payload_cache, worker_facts
from rezbuild.files import cache_lock, ownership, temp_folders
from rezbuild.reporter import Reporter
from rezbuild.settings import Settings
from rezbuild.util import processes, words

# Seconds between two attempts to reach a scheduler.
_AGAIN = 2.0
# Seconds until a scheduler must have answered.
_ANSWER = 10.0
# A part of Dask's answer to a worker whose name another worker has.
_NAME_TAKEN = "'name taken, "


def run_scheduler(settings: Settings, host: str, port: int, reporter: Reporter) -> None:
    """Run a scheduler.

    Args:
        settings: The files of TLS.
        host: The address to listen on.
        port: The port; 0 for any free one.
        reporter: Prints the log.

    Raises:
        MachineError: It cannot listen there, or Dask is not installed.
        KeyboardInterrupt: A signal came.
    """
    connection.configure_dask()
    from rezbuild.farm.scheduler import FarmScheduler

    security = connection.security(settings, host)
    connection.warn_if_open(host, security is not None, reporter.notice)

    def say(text: str) -> None:
        reporter.info(f"scheduler: {text}")

    async def serve() -> None:
        options = {"protocol": "tls" if security else "tcp", "security": security}
        try:
            async with FarmScheduler(say, host=host, port=port, **options) as running:
                reporter.info(f"scheduler: {running.address}")
                await _wait_or_stop(running.finished)
        except RuntimeError as error:
            raise MachineError(
                f"a scheduler cannot listen on {host}:{port}: {error.__cause__ or error}",
                advice=["stop the program that uses the port, or choose another port: --port"],
            ) from None

    asyncio.run(serve())


@dataclass(frozen=True)
class WorkerOptions:
    """The options of a worker.

    Attributes:
        scheduler: The address of its scheduler.
        host: The address that the worker listens on.
        cores: The parallel jobs of make; 0 for the number of cores.
        label: The studio's name for this kind of host, or "".
        name: The worker's name; "" for a name made of the host's.
        recipes: The recipes folder.
    """

    scheduler: str
    host: str
    cores: int
    label: str
    name: str
    recipes: Path


def run_worker(settings: Settings, options: WorkerOptions, reporter: Reporter) -> None:
    """Run a worker until it is drained. If its scheduler is lost, it waits for the scheduler.

    SIGUSR1 drains it, as the scheduler can: it takes no more jobs, and ends when its jobs have
    ended. Slurm can send this signal some time before a job's time limit (sbatch, --signal).

    Raises:
        UsageError: Its scheduler could not reach it.
        MachineError: Dask is not installed, or there is no compiler.
        KeyboardInterrupt: A signal came.
    """
    connection.configure_dask()
    address, security = connection.resolve_address(options.scheduler, settings, reporter.notice)
    options = replace(options, scheduler=address)
    connection.check_host(options.host, options.scheduler)
    connection.warn_if_open(options.host, security is not None, reporter.notice)
    facts = worker_facts.Facts.gather(
        toolchain.find(settings),
        options.recipes,
        name=options.name or f"{socket.gethostname()}-{os.getpid()}",
        label=options.label,
        cores=options.cores or worker_facts.usable_cores(),
        store=bool(settings.store),
    )
    ownership.check_folder(settings, settings.cache)
    processes.become_subreaper()
    cache_lock.create(settings.cache)
    payload_cache.start_daily_cleanup(settings, reporter.notice)
    with temp_folders.folder() as place:
        asyncio.run(_serve(settings, options, facts, place, reporter))


async def _serve(
    settings: Settings,
    options: WorkerOptions,
    facts: worker_facts.Facts,
    place: Path,
    reporter: Reporter,
) -> None:
    from rezbuild.farm.worker import FarmWorker

    drained = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, drained.set)
    reported: set[str] = set()
    while not drained.is_set():
        running = FarmWorker(
            options.scheduler,
            place=place,
            facts=facts,
            settings=settings,
            recipes=options.recipes,
            say=lambda text: reporter.info(f"worker: {text}"),
            on_drain=drained.set,
            host=options.host,
            security=connection.resolve_address(options.scheduler, settings, lambda _: None)[1],
        )
        try:
            await _check_scheduler(options.scheduler, settings)
            async with running:
                reporter.info(
                    f"worker: {facts.name} at {running.address}, {words.count(facts.cores, 'core')}"
                )
                reported.clear()
                await _wait_or_stop(running.finished, drained.wait)
                if drained.is_set():
                    reporter.info(f"worker: {facts.name} is drained: it gets no more jobs")
                    await _wait_or_stop(running.drain, running.finished)
            if not drained.is_set():
                reporter.notice(f"worker: {facts.name} has lost its scheduler; waiting for it")
        except (OSError, RuntimeError, ValueError) as error:
            said = _join_failure(options.scheduler, facts.name, words.reason_of_cause(error))
            if said not in reported:
                reported.add(said)
                reporter.notice(f"worker: {said}")
        await _wait_or_stop(lambda: asyncio.sleep(_AGAIN), drained.wait)
    reporter.info(f"worker: {facts.name} has ended, as it was drained")


def _join_failure(scheduler: str, name: str, why: str) -> str:
    """Return a notice of a worker that cannot join its farm and tries again."""
    if _NAME_TAKEN not in why:
        return f"{scheduler} cannot be reached ({why}): waiting"
    taken = MachineError(
        f"the name {name} is taken by another worker of {scheduler}: waiting",
        tried=["join the farm; the name of a lost worker is free after a minute"],
        advice=[
            f"end the other worker: rezbuild farm drain {name}",
            "or give this worker another name: --name",
        ],
    )
    return str(taken)


async def _check_scheduler(scheduler: str, settings: Settings) -> None:
    """Check that the scheduler answers and accepts the certificate; Dask's worker retries silently.

    Raises:
        OSError: It does not.
    """
    from distributed.comm.core import connect

    _, secured = connection.resolve_address(scheduler, settings, lambda _: None)
    arguments = secured.get_connection_args("worker") if secured else {}
    comm = await connect(scheduler, timeout=_ANSWER, **arguments)
    await comm.close()


async def _wait_or_stop(*events: Callable[[], Awaitable[object]]) -> None:
    """Wait for the first of several events, or for a signal.

    Raises:
        KeyboardInterrupt: A signal came.
    """
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    waits = [asyncio.ensure_future(wait()) for wait in (*events, ended.wait)]
    _, rest = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for one in rest:
        one.cancel()
    if ended.is_set():
        raise KeyboardInterrupt
