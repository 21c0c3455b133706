"""The scheduler: Dask's, without its dashboard and without what would run others' code in it.

Dask's own (``dask scheduler``) will do as well, where a studio has one; this one reads of pickles
what jobs are made of (`rezbuild.farm.restricted_pickle`), and opens one port.
"""

from __future__ import annotations

from typing import Any

from distributed import Scheduler

# What runs code, writes files or talks to workers in a client's name.
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
    """Dask's scheduler, less what others could do with it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(dashboard=False, **options)
        for name in _REFUSED:
            self.handlers.pop(name, None)

    def start_http_server(self, *_: Any, **__: Any) -> None:
        """Opens no second port."""
