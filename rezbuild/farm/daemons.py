"""``rezbuild scheduler`` and ``rezbuild worker``: they run until they are told to end."""

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
from rezbuild.files import ownership, temp_folders
from rezbuild.reporter import Reporter
from rezbuild.settings import Settings
from rezbuild.util import processes

# Seconds between two tries to reach a scheduler that does not answer.
_AGAIN = 2.0
# Seconds until one must have answered.
_ANSWER = 10.0


def scheduler(settings: Settings, host: str, port: int, reporter: Reporter) -> None:
    """Runs a scheduler.

    Args:
        settings: For TLS.
        host: The address to listen on.
        port: Its port; 0: any that is free.
        reporter: Tells the user.

    Raises:
        MachineError: It cannot listen there, or Dask is not installed.
        KeyboardInterrupt: It was told to end.
    """
    connection.prepare()
    from rezbuild.farm.scheduler import FarmScheduler

    security = connection.security(settings, host)
    connection.tell_if_open(host, security is not None, reporter.notice)

    async def serve() -> None:
        options = {"protocol": "tls" if security else "tcp", "security": security}
        try:
            async with FarmScheduler(host=host, port=port, **options) as running:
                reporter.info(f"scheduler: {running.address}")
                await _until(running.finished)
        except RuntimeError as error:
            raise MachineError(
                f"a scheduler cannot listen on {host}:{port}: {error.__cause__ or error}",
                advice=["is another one running there? --port chooses another port"],
            ) from None

    asyncio.run(serve())


@dataclass(frozen=True)
class Post:
    """Where and as what a worker serves.

    Attributes:
        scheduler: Its address.
        host: The address that the worker listens on.
        cores: How many jobs of make it runs at once; 0: as many as there are cores.
        label: What the studio calls this kind of host, or "".
        name: The worker's; "": made of the host's.
        recipes: Its recipes folder.
    """

    scheduler: str
    host: str
    cores: int
    label: str
    name: str
    recipes: Path


def worker(settings: Settings, post: Post, reporter: Reporter) -> None:
    """Runs a worker; where its scheduler has gone, it waits for it to come back.

    Raises:
        UsageError: It would listen where its scheduler cannot reach it.
        MachineError: Dask is not installed, or there is no compiler.
        KeyboardInterrupt: It was told to end.
    """
    connection.prepare()
    address, security = connection.connection(post.scheduler, settings, reporter.notice)
    post = replace(post, scheduler=address)
    connection.check_host(post.host, post.scheduler)
    connection.tell_if_open(post.host, security is not None, reporter.notice)
    own = worker_facts.Facts.gather(
        toolchain.find(settings),
        post.recipes,
        name=post.name or f"{socket.gethostname()}-{os.getpid()}",
        label=post.label,
        cores=post.cores or worker_facts.cores(),
        store=bool(settings.store),
    )
    ownership.check_folder(settings, settings.cache)
    processes.become_subreaper()
    payload_cache.tidy_daily(settings, reporter.notice)
    with temp_folders.folder() as place:
        asyncio.run(_serve(settings, post, own, place, reporter))


async def _serve(
    settings: Settings, post: Post, own: worker_facts.Facts, place: Path, reporter: Reporter
) -> None:
    from rezbuild.farm.worker import FarmWorker

    told = False
    while True:
        running = FarmWorker(
            post.scheduler,
            place=place,
            facts=own,
            settings=settings,
            recipes=post.recipes,
            host=post.host,
            security=connection.connection(post.scheduler, settings, lambda _: None)[1],
        )
        try:
            await _reach(post.scheduler, settings)
            async with running:
                reporter.info(f"worker: {own.name} at {running.address}, {own.cores} cores")
                told = False
                await _until(running.finished)
            reporter.notice(f"worker: {own.name} has lost its scheduler, and waits for it")
        except (OSError, RuntimeError, ValueError) as error:
            if not told:
                told = True
                reporter.notice(
                    f"worker: {post.scheduler} cannot be had ({error.__cause__ or error}): waiting"
                )
        await _until(lambda: asyncio.sleep(_AGAIN))


async def _reach(scheduler: str, settings: Settings) -> None:
    """Sees that it answers, and takes this certificate: Dask's worker tries for ever, unheard.

    Raises:
        OSError: It does not.
    """
    from distributed.comm.core import connect

    _, secured = connection.connection(scheduler, settings, lambda _: None)
    arguments = secured.get_connection_args("worker") if secured else {}
    line = await connect(scheduler, timeout=_ANSWER, **arguments)
    await line.close()


async def _until(finished: Callable[[], Awaitable[object]]) -> None:
    """Waits for that, or for the signal to end.

    Raises:
        KeyboardInterrupt: The signal came.
    """
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    waits = [asyncio.ensure_future(finished()), asyncio.ensure_future(ended.wait())]
    _, rest = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for one in rest:
        one.cancel()
    if ended.is_set():
        raise KeyboardInterrupt
