"""The scheduler: Dask's, without its dashboard and without functions that run code of others.

Dask's own (``dask scheduler``) works as well, if a studio has one. This one reads restricted
pickles (`rezbuild.farm.restricted_pickle`), opens one port only, and writes a log.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from distributed import Scheduler, Status

from rezbuild.farm.journal import Journal
from rezbuild.farm.log import foreign
from rezbuild.farm.messages import DRAIN, JOBS

# Handlers that run code, write files, or call workers on behalf of a client.
_REFUSED = (
    "run_function",
    "broadcast",
    "proxy",
    "register_scheduler_plugin",
    "unregister_scheduler_plugin",
    "register_worker_plugin",
    "unregister_worker_plugin",
    "register_nanny_plugin",
    "unregister_nanny_plugin",
    "dump_cluster_state_to_url",
    "benchmark_hardware",
    "dump_state",
)


class FarmScheduler(Scheduler):
    """Dask's scheduler without the refused handlers, and with three of rezbuild.

    Args:
        say: Prints a line of the log.
    """

    def __init__(self, say: Callable[[str], None] = lambda _: None, **options: Any) -> None:
        super().__init__(dashboard=False, **options)
        for name in _REFUSED:
            self.handlers.pop(name, None)
        self._say = say
        self._journal = Journal(self, say)
        self.add_plugin(self._journal)
        self.handlers["rezbuild_status"] = self.farm_status
        self.handlers["rezbuild_drain"] = self.drain
        self.handlers["rezbuild_queue"] = self._journal.set_queue

    def start_http_server(self, *_: Any, **__: Any) -> None:
        """Open no second port."""

    def log_worker_event(self, worker: str, topic: str | Collection[str], msg: Any) -> None:
        """Log the begin and the end of jobs; pass other events on."""
        if topic == JOBS:
            self._journal.on_event(worker, msg)
        else:
            super().log_worker_event(worker, topic, msg)

    def farm_status(self) -> str:
        """Return the state of the farm as JSON."""
        return self._journal.status().to_json()

    def drain(self, workers: Collection[str]) -> str:
        """Give workers no more jobs, and let them end when their jobs have ended.

        Args:
            workers: Their names; unknown ones are ignored.

        Returns:
            The state of the farm as JSON.
        """
        for address, worker in self.workers.items():
            if worker.name in workers and worker.status == Status.running:
                # At once, so that the worker gets no job meanwhile.
                self.handle_worker_status_change(Status.closing_gracefully, worker, "drain")
                self.stream_comms[address].send({"op": DRAIN})
                self._say(f"worker {foreign(worker.name)} is drained: it gets no more jobs")
        return self.farm_status()
