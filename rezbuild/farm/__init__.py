"""Builds on other machines, by Dask's distributed scheduler.

Workers bake payloads; whoever asked publishes them, by the same ``rez-build -i`` as ever, which
takes the payload as it came. docs/explanation/farm.md has the whole of it.

- `order`, `facts`: what travels, as JSON: one job, and what a worker is.
- `job`: the process on a worker that bakes one payload.
- `worker`, `scheduler`: Dask's, less what would let others run code in them (`pickles`).
- `client`, `remote`, `driver`: the side of whoever asked.
- `process`: the same for ``rez-build --process farm``.

Nothing of Dask is imported unless a scheduler is asked for.
"""
