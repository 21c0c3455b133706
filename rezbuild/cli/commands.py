"""What each command of the command line does, once its arguments are read."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from rezbuild.catalogue import platform_years
from rezbuild.errors import (
    AuditError,
    CatalogueError,
    CheckError,
    FetchError,
    MachineError,
    OutdatedError,
    UsageError,
)
from rezbuild.reporter import Reporter
from rezbuild.settings import Settings, glibc_version
from rezbuild.util.terminal import printable, printable_line

if TYPE_CHECKING:
    from rezbuild.catalogue.sources_toml import Recipe, Release
    from rezbuild.plan.resolve import Available, Recipes


def settings_of(arguments: argparse.Namespace) -> Settings:
    """The settings, with the options that go before them."""
    options = {name: getattr(arguments, name, None) for name in ("profile", "jobs", "scheduler")}
    options["glibc_max"] = _ceiling(arguments)
    return replace(Settings.read(), **{name: v for name, v in options.items() if v})


def _ceiling(arguments: argparse.Namespace) -> str | None:
    """What --glibc-max says: a version, or a year of the platform as in CY2026."""
    text = getattr(arguments, "glibc_max", "")
    if not text.upper().startswith("CY"):
        return glibc_version(text, "--glibc-max")
    years = [p for found in platform_years.find(recipes_folder(arguments)).values() for p in found]
    for year in years:
        if year.version == text[2:]:
            return year.glibc
    raise UsageError(
        f"--glibc-max {text} names no year that is known",
        advice=[f"known: {', '.join('CY' + year.version for year in years)}"],
    )


def fetch(arguments: argparse.Namespace) -> int:
    """``rezbuild fetch``."""
    from rezbuild.plan import resolve  # noqa: PLC0415 (rez is slow to import)
    from rezbuild.sources.fetch import Fetcher  # noqa: PLC0415 (see above)
    from rezbuild.versions import notices  # noqa: PLC0415 (rez is slow to import)

    fetcher = Fetcher(Settings.read())
    folder = recipes_folder(arguments)
    recipes = resolve.recipes(folder)
    _, requests = platform_years.expand(platform_years.find(folder), arguments.requests)

    def get(_: Recipe, release: Release) -> bool:
        fetched = fetcher.fetch(release)
        if arguments.to:
            fetched = fetcher.mirror(release, arguments.to.absolute())
        say(f"{release.name}-{release.version}: {fetched.path}")
        return True

    if arguments.all:
        _fetch_all(recipes, get)
    elif requests:
        for line in notices.of(resolve.plan(recipes, requests, get)):
            say(line)
    else:
        raise UsageError("nothing to fetch", advice=["name requests, or --all"])
    return 0


def _fetch_all(recipes: Recipes, get: Available) -> None:
    """Fetch every version.

    Raises:
        FetchError: Some cannot be fetched; the others were.
    """
    missing: dict[str, FetchError] = {}
    for recipe in recipes.values():
        for release in recipe.releases.values():
            # The archives of another package are fetched for that one.
            if not release.source:
                try:
                    get(recipe, release)
                except FetchError as error:
                    missing[f"{release.name}-{release.version}"] = error
    if missing:
        raise FetchError(
            f"{len(missing)} sources cannot be fetched: {', '.join(missing)}",
            tried=[f"{name}: {'; '.join(error.tried)}" for name, error in missing.items()],
            advice=[
                "put each archive into a folder, and set REZBUILD_MIRRORS to the folder",
                "rezbuild versions lists the sources of each version",
            ],
        )


def add_version(arguments: argparse.Namespace) -> int:
    """``rezbuild add-version``; the change alone is on stdout."""
    from rezbuild.plan import resolve  # noqa: PLC0415 (rez is slow to import)
    from rezbuild.versions import add  # noqa: PLC0415 (rez is slow to import)

    def tell(text: str) -> None:
        print(printable(text), file=sys.stderr, flush=True)

    recipes = resolve.recipes(recipes_folder(arguments))
    recipe = recipes.get(arguments.name)
    if recipe is None:
        raise CatalogueError(
            f"there is no recipe for {arguments.name}", advice=[f"recipes: {', '.join(recipes)}"]
        )
    source = next(iter(recipe.releases.values())).source
    if source:
        raise UsageError(
            f"{recipe.name} has the versions of {source}",
            advice=[f"rezbuild add-version {source} {arguments.version}"],
        )
    wish = add.Wish(
        arguments.version,
        url=arguments.url,
        sha256=arguments.sha256,
        unsigned=arguments.unsigned,
        older_signature=arguments.older_signature,
        dry_run=arguments.dry_run,
    )
    changed = add.add(recipe, wish, Settings.read(), tell)
    print(printable(changed), end="", flush=True)
    if changed and not arguments.dry_run:
        tell(f"written; look at it, then: rezbuild build {recipe.name}-{arguments.version}")
    return 0


def versions(arguments: argparse.Namespace) -> int:
    """``rezbuild versions``."""
    from rezbuild.plan import resolve  # noqa: PLC0415 (rez is slow to import)
    from rezbuild.versions import support_matrix, upstream  # noqa: PLC0415 (rez is slow to import)

    folder = recipes_folder(arguments)
    recipes, years = resolve.recipes(folder), platform_years.find(folder)
    unknown = [name for name in arguments.names if name not in {*recipes, *years}]
    if unknown:
        raise CatalogueError(
            f"there is no recipe for {', '.join(unknown)}",
            advice=[f"recipes: {', '.join([*recipes, *years])}"],
        )
    names = arguments.names or [*recipes, *years]
    if arguments.outdated:
        return _outdated(recipes, [name for name in recipes if name in names], arguments)
    if arguments.upstream:
        raise UsageError("--upstream goes with --outdated")
    if arguments.markdown:
        print(support_matrix.page(recipes.values()), end="")
        return 0
    wanted = [recipe for name, recipe in recipes.items() if name in names]
    rows = upstream.rows(wanted, Settings.read())
    if arguments.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        # In a pipe nothing is folded: other programs read lines.
        console = Console(width=None if sys.stdout.isatty() else 500)
        if rows:
            console.print(upstream.table(rows))
        for year in (year for name in names for year in years.get(name, ())):
            pins = ", ".join(year.builds)
            say(f"{year}{' (draft)' * year.draft}: {pins}; glibc up to {year.glibc}")
    return 0


def _outdated(recipes: Recipes, names: Sequence[str], arguments: argparse.Namespace) -> int:
    """``rezbuild versions --outdated``; not 0 where something is, for a timer."""
    from rezbuild.repository import installed  # noqa: PLC0415 (rez is slow to import)
    from rezbuild.versions import outdated  # noqa: PLC0415 (rez is slow to import)
    from rezbuild.versions.table import Upstream  # noqa: PLC0415 (see above)

    def tell(text: object) -> None:
        print(printable(str(text)), file=sys.stderr, flush=True)

    found = list(outdated.installed(recipes, names, installed.search_path(release=False)))
    unknown: list[FetchError] = []
    if arguments.upstream:
        settings = Settings.read()
        if settings.offline:
            raise UsageError("--upstream asks the net, and REZBUILD_OFFLINE is set")
        asked = Upstream(settings, tell)
        found += outdated.upstream(recipes, names, asked, unknown.append)
    if arguments.json:
        print(json.dumps([asdict(finding) for finding in found], indent=2))
    else:
        for finding in found:
            say(str(finding))
    for error in unknown:
        tell(error)
    if found:
        tell(f"{len(found)} outdated; docs/security.md says how what is newer gets there")
        return OutdatedError.exit_code
    return FetchError.exit_code if unknown else 0


def audit(arguments: argparse.Namespace) -> int:
    """``rezbuild audit``."""
    from rezbuild.audit import audit, show  # noqa: PLC0415 (not for every command)

    if not arguments.what:
        raise UsageError("nothing to audit", advice=["name a folder or a Rez request"])
    root = _payload(arguments.what)
    try:
        report = audit(root, ceiling=settings_of(arguments).glibc_max)
    except RecursionError:  # os.walk() before Python 3.12
        raise UsageError(
            f"{root}: its folders are too deep for this interpreter",
            advice=["name a payload, or use Python 3.12 or newer"],
        ) from None
    if arguments.json:
        print(json.dumps(show.as_data(root, report), indent=2))
    else:
        for line in show.lines(root, report):
            print(printable_line(line))
    return AuditError.exit_code if report.errors else 0


def _payload(what: str) -> Path:
    """The folder that a user names, or the payload that Rez resolves for it."""
    root = Path(what)
    if not root.exists() and "/" not in what:
        from rezbuild.repository.installed import resolve_root  # noqa: PLC0415 (rez is slow to import)

        root = resolve_root(what)
    return root


def manifest(arguments: argparse.Namespace) -> int:
    """``rezbuild manifest``."""
    from rezbuild.payload import describe  # noqa: PLC0415 (not for every command)

    if not arguments.what:
        raise UsageError("nothing to show", advice=["name a folder or a Rez request"])
    root = _payload(arguments.what)
    if arguments.sbom:
        print(json.dumps(describe.bill(root), indent=2))
        return 0
    record = describe.load(root)
    if arguments.json:
        print(json.dumps(record, indent=2, sort_keys=True))
        return 0
    # Into a file or a pipe nothing is cut to a terminal's width.
    wide = None if sys.stdout.isatty() else 1000
    describe.show(Console(width=wide), record, describe.materials(root))
    return 0


def check(arguments: argparse.Namespace) -> int:
    """``rezbuild check``."""
    from rezbuild.util import processes  # noqa: PLC0415 (not for every command)
    from rezbuild.verify import check  # noqa: PLC0415 (not for every command)

    processes.end_with_rez()  # that of a release, whose gate this is
    settings = settings_of(arguments)
    root = _payload(arguments.what).resolve()
    folder = recipes_folder(arguments)
    failed = []
    reporter = Reporter()
    results = check.check(
        root, folder, settings, suite=arguments.suite, keep=arguments.keep, moved=arguments.moved
    )
    for result in results:
        reporter.notice(str(result))
        if result.problems:
            failed.append(result.name)
    if failed:
        raise CheckError(
            f"{root} failed: {', '.join(failed)}",
            advice=["the lines above say what is wrong; --keep DIR leaves the logs"],
        )
    return 0


def bench(arguments: argparse.Namespace) -> int:
    """``rezbuild bench``."""
    from rezbuild import bench  # noqa: PLC0415 (not for every command)
    from rezbuild.bench import interpreters  # noqa: PLC0415 (see above)
    from rezbuild.bench.output import Output  # noqa: PLC0415 (see above)

    parts = arguments.only or tuple(bench.PARTS)
    unknown = [part for part in parts if part not in bench.PARTS]
    if unknown:
        raise UsageError(
            f"--only {','.join(unknown)} names no part", advice=[f"parts: {','.join(bench.PARTS)}"]
        )
    first = interpreters.find(arguments.what, _payload(arguments.what))
    second = (
        interpreters.find(arguments.against, _payload(arguments.against))
        if arguments.against
        else interpreters.of_the_host(first)
    )
    output = Output(arguments.json, arguments.svg)
    output.check(compared=second is not None)
    options = bench.Options(Settings.read().cache, parts, arguments.rounds, arguments.full)
    # The result alone is on stdout.
    report = bench.bench(first, second, options, lambda text: print(text, file=sys.stderr))
    output.write(report)
    return 0


def reproduce(arguments: argparse.Namespace) -> int:
    """``rezbuild reproduce``."""
    from rezbuild.verify import reproduce  # noqa: PLC0415 (rez is slow to import)

    # The result alone is on stdout where a program reads it.
    told = (lambda text: print(printable(text), file=sys.stderr)) if arguments.json else say
    report = reproduce.reproduce(
        arguments.request,
        recipes_folder(arguments),
        settings_of(arguments),
        told,
        reproduce.Options(arguments.keep, arguments.training),
    )
    if arguments.json:
        print(json.dumps(report.as_data(), indent=2))
    else:
        for line in report.lines():
            print(printable_line(line))
    if report.differences:
        raise CheckError(
            f"{report.package}: two builds from the same inputs are not the same",
            advice=["the lines above say what differs; --keep DIR leaves both builds"],
        )
    return 0


def stage(arguments: argparse.Namespace) -> int:
    """``rezbuild stage``."""
    from rezbuild.files import temp_folders  # noqa: PLC0415 (rez is slow to import)
    from rezbuild.plan import resolve  # noqa: PLC0415 (rez is slow to import)
    from rezbuild.run import stage as staging  # noqa: PLC0415 (not for every command)

    settings = settings_of(arguments)
    recipes = resolve.recipes(recipes_folder(arguments))
    target = arguments.folder.absolute()
    # Before anything is fetched.
    staging.check_target(target, resolve.requirement(arguments.request).name)
    steps = resolve.plan(recipes, [arguments.request], staging.available(settings, say))
    work = (arguments.work or settings.cache / "stage").absolute()
    with temp_folders.folder():
        staging.stage(steps, target, work, settings)
    say(f"ready: {target} is the payload of {steps[-1]}")
    return 0


def scheduler(arguments: argparse.Namespace) -> int:
    """``rezbuild scheduler``."""
    from rezbuild.farm import daemons  # noqa: PLC0415 (not for every command)

    daemons.scheduler(Settings.read(), arguments.host, arguments.port, say)
    return 0


def worker(arguments: argparse.Namespace) -> int:
    """``rezbuild worker``."""
    from rezbuild.farm import daemons  # noqa: PLC0415 (rez is slow to import)

    settings = Settings.read()
    post = daemons.Post(
        scheduler=arguments.scheduler,
        host=arguments.host,
        cores=arguments.cores or 0,
        label=arguments.label or settings.host,
        name=arguments.name,
        recipes=recipes_folder(arguments),
    )
    daemons.worker(settings, post, say)
    return 0


def doctor(arguments: argparse.Namespace) -> int:
    """``rezbuild doctor``; with ``--tests``, the exit code also counts what the tests lack."""
    from rezbuild.run import machine_check  # noqa: PLC0415 (rez is slow to import)

    settings = Settings.read()
    besides = machine_check.examine_tests(settings) if arguments.tests else []
    status = machine_check.report([*machine_check.examine(settings), *besides])
    machine_check.report_commands("setup", "build", *(["tests"] if arguments.tests else []))
    lacks = any(check.found is None for check in besides)
    return status or (MachineError.exit_code if lacks else 0)


def recipes_folder(arguments: argparse.Namespace) -> Path:
    """What is named, or the clone's that this runs in, or the one it was installed from.

    Raises:
        CatalogueError: There is none.
    """
    named = arguments.recipes or os.environ.get("REZBUILD_RECIPES")
    if named:
        return Path(named).absolute()
    here = Path.cwd()
    beside = Path(__file__).resolve().parents[2]
    for folder in (here, *here.parents, beside):
        if next(folder.glob("packages/*/sources.toml"), None):
            return folder / "packages"
    raise CatalogueError(
        "no recipes here or above: no packages/*/sources.toml",
        advice=["run this in a clone of the project, or name its packages folder: --recipes"],
    )


def say(text: str) -> None:
    """Tells the user."""
    # Rez's own output and ours share the terminal; nothing may wait in a buffer.
    print(printable(text), flush=True)
