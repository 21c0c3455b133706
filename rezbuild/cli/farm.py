"""The command ``rezbuild farm``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from rezbuild.cli.arguments import add_command
from rezbuild.errors import UsageError
from rezbuild.farm.control import Control
from rezbuild.farm.status import DRAINING, FarmStatus
from rezbuild.reporter import Reporter, add_options
from rezbuild.run.gantt import clock
from rezbuild.settings import Settings
from rezbuild.util import json_output
from rezbuild.util.tables import TextTable, console
from rezbuild.util.terminal import printable_line

EPILOG = """\
examples:
  rezbuild farm status                    workers, jobs and queue; REZBUILD_SCHEDULER is set
  rezbuild farm status --scheduler tls://10.0.0.5:8786
  rezbuild farm drain build02 build03     let these workers finish their jobs, and end
See docs/how-to/farm.md.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the commands below ``farm``, and their arguments."""
    parsers = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, summary: str) -> argparse.ArgumentParser:
        found = add_command(parsers, name, summary)
        add_options(found)
        found.add_argument("--scheduler", metavar="ADDRESS", help="overrides REZBUILD_SCHEDULER")
        return found

    found = command("status", "show the workers, their jobs, and the steps that wait for cores")
    json_output.add_option(found)
    found.set_defaults(farm_command=_status)

    found = command("drain", "let workers finish their jobs and end; they get no more jobs")
    found.add_argument("workers", nargs="+", metavar="WORKER", help="name of a worker")
    found.set_defaults(farm_command=_drain)


def run(arguments: argparse.Namespace) -> int:
    """Run the command below ``farm``."""
    return int(arguments.farm_command(arguments))


def _status(arguments: argparse.Namespace) -> int:
    control = _connect(arguments)
    found = control.status()
    if arguments.json:
        data = {"scheduler": control.address, **found.as_data()}
        arguments.reporter.result(json_output.text("rezbuild-farm-status", data))
        return 0
    _print(found, arguments.reporter)
    return 0


def _drain(arguments: argparse.Namespace) -> int:
    control = _connect(arguments)
    known = {worker.name for worker in control.status().workers}
    for name in arguments.workers:
        if name not in known:
            raise UsageError(
                f"unknown worker {name!r}",
                tried=[f"the farm has {', '.join(sorted(known)) or 'no worker'}"],
                advice=["name a worker of this list: rezbuild farm status"],
            )
    jobs = control.drain(arguments.workers).jobs
    for name in arguments.workers:
        left = [job.job for job in jobs if job.worker == name]
        rest = f"it ends after {', '.join(left)}" if left else "it has no job, and ends now"
        arguments.reporter.result(printable_line(f"{name}: {DRAINING}, {rest}"))
    return 0


def _connect(arguments: argparse.Namespace) -> Control:
    settings = Settings.read()
    address = arguments.scheduler or settings.scheduler
    if not address:
        raise UsageError(
            "rezbuild farm requires the address of a scheduler",
            advice=["set REZBUILD_SCHEDULER, or give --scheduler tcp://host:8786"],
        )
    return Control(address, settings, arguments.reporter.on_stderr().notice)


def _print(found: FarmStatus, reporter: Reporter) -> None:
    if not found.workers:
        reporter.result("the farm has no workers")
    else:
        workers = [
            (one.name, one.label, str(one.cores), str(one.free), one.state, one.address)
            for one in found.workers
        ]
        _print_table(("worker", "host", "cores", "free", "state", "address"), workers)
    jobs = [
        (job.job, job.worker, str(job.cores), clock(job.seconds), job.client) for job in found.jobs
    ]
    jobs += [(step.job, "(waiting)", "", "", step.client) for step in found.queue]
    reporter.result("")
    if jobs:
        _print_table(("job", "worker", "cores", "time", "client"), jobs)
    else:
        reporter.result("no jobs")


def _print_table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    console().print(TextTable(head, [map(printable_line, row) for row in rows]))
