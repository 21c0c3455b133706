"""The command ``rezbuild report``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rezbuild import __version__
from rezbuild.bench import picture, report_format
from rezbuild.cli.arguments import add_recipes, folder, not_empty
from rezbuild.cli.context import find_payload, find_recipes
from rezbuild.errors import MachineError, UsageError
from rezbuild.files import safe_files
from rezbuild.payload import manifest
from rezbuild.plan import resolve
from rezbuild.report import comparison, page, payload_facts, repository_facts, treemap
from rezbuild.report.payload_facts import Facts
from rezbuild.repository import installed
from rezbuild.run import gantt, timeline
from rezbuild.settings import Settings

EPILOG = """\
examples:
  rezbuild report python-3.11 -o python.html   sources, libraries, sizes, audit, licenses
  rezbuild report python-3.11.14 NEW           what changes, before a release with --replace
  rezbuild report --all                        all repositories that Rez searches
The file works without a network.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what",
        metavar="PATH or REQUEST",
        nargs="*",
        type=not_empty,
        help="a payload, or e.g. python-3.11; two: what changes from the first to the second",
    )
    parser.add_argument(
        "--all", action="store_true", help="the packages of all repositories that Rez searches"
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        type=folder,
        default=Path("report.html"),
        help="file to write; default: report.html",
    )
    parser.add_argument(
        "--bench", metavar="FILE", type=folder, help="add a file of rezbuild bench --json FILE"
    )
    add_recipes(parser)


def run(arguments: argparse.Namespace) -> int:
    _check(arguments)
    if arguments.all:
        recipes = resolve.recipes(find_recipes(arguments))
        found = repository_facts.gather(recipes, installed.search_path(release=False))
        text = page.render("repository", repositories=found, rezbuild=__version__)
    else:
        payloads = [payload_facts.gather(find_payload(what)) for what in arguments.what]
        text = _compared(*payloads) if payloads[1:] else _payload(payloads[0], arguments.bench)
    try:
        safe_files.replace(arguments.output, text.encode())
    except OSError as error:
        raise MachineError.from_os_error(error) from None
    arguments.reporter.info(f"ready: {arguments.output}")
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """Check the arguments.

    Raises:
        UsageError: There are too many or too few.
    """
    if arguments.all and arguments.what:
        raise UsageError("--all takes no requests", advice=["leave out --all, or the requests"])
    if not arguments.all and len(arguments.what) not in (1, 2):
        raise UsageError(
            f"{len(arguments.what)} payloads are named, instead of one or two",
            advice=["name a payload, two to compare, or --all"],
        )
    if arguments.bench and (arguments.all or len(arguments.what) == 2):
        raise UsageError("--bench belongs to one payload", advice=["name one payload"])


def _payload(facts: Facts, bench: Path | None) -> str:
    cells = treemap.cells(facts.sizes)
    more: dict[str, Any] = {}
    name = f"{facts.record.get('name')}-{facts.record.get('version')}"
    when = (facts.root / manifest.MANIFEST).stat().st_mtime
    if (run := timeline.find(Settings.read().cache, name, when)) is not None:
        more |= {"timeline": run, "timeline_svg": gantt.svg(run), "clock": gantt.clock}
    if bench is not None:
        report = report_format.read(bench)
        more["bench"] = report
        if len(report.interpreters) == 2:
            more["bench_svg"] = picture.svg(report)
    return page.render(
        "payload",
        facts=facts,
        cells=cells,
        treemap=treemap.svg(cells, f"sizes in {facts.title}"),
        rezbuild=__version__,
        bench_cells=report_format.cells,
        **more,
    )


def _compared(old: Facts, new: Facts) -> str:
    return page.render(
        "comparison",
        old=old,
        new=new,
        topics=comparison.compare(old, new),
        files=comparison.files(old, new),
        rezbuild=__version__,
    )
