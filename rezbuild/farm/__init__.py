"""Builds on other machines, with Dask's distributed scheduler.

Workers build payloads. The client publishes them with the usual ``rez-build -i``, which takes the
payload from a store. docs/explanation/farm.md describes the design.

- `messages`, `worker_facts`: JSON messages: a job, its result, the description of a worker.
- `job_process`: the process on a worker that builds one payload.
- `worker`, `scheduler`: Dask's, without the functions that would let others run code in them;
  `restricted_pickle` reads their messages.
- `client`, `job_runner`, `remote_task`, `driver`: the side of the client.
- `build_process`: the client for ``rez-build --process farm``.

Dask is imported only if a scheduler is set.
"""
