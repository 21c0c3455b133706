"""Facts of a worker."""

from __future__ import annotations

from rezbuild.farm.worker_facts import Facts

FACTS = Facts(
    name="one",
    rezbuild="0.1.0-abc",
    recipes={"low": {"1.0.0": "0123"}, "top": {"2.0.0": "4567"}},
    platform="linux",
    arch="x86_64",
    glibc="2.36",
    label="debian12",
    cores=4,
    compiler="gcc 12",
    assembler="as 2.40",
    linker="ld 2.40",
    machine="x86_64-linux-gnu",
    store=False,
)
