"""The scheduler: Dask's, without its dashboard and without functions that run code of others.

Dask's own (``dask scheduler``) works as well, if a studio has one. This one reads restricted
pickles
(`rezbuild.farm.restricted_pickle`), and opens one port only.
"""

from __future__ import annotations

from typing import Any

from distributed import Scheduler

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
    """Dask's scheduler without the refused handlers."""

    def __init__(self, **options: Any) -> None:
        super().__init__(dashboard=False, **options)
        for name in _REFUSED:
            self.handlers.pop(name, None)

    def start_http_server(self, *_: Any, **__: Any) -> None:
        """Open no second port."""
