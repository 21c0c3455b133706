"""The command ``rezbuild export``."""

from __future__ import annotations

import argparse
import shlex

from rezbuild.cli.arguments import add_build_options, folder
from rezbuild.cli.context import find_payload, find_recipes, read_settings
from rezbuild.errors import UsageError
from rezbuild.files import temp_folders
from rezbuild.plan import resolve
from rezbuild.reporter import Reporter
from rezbuild.run import export_uv, named_folders
from rezbuild.run.export import available, check_target
from rezbuild.run.export import export as export_payload

EPILOG = """\
example:
  rezbuild export python-3.11 /opt/python
  rezbuild export python-3.11 python-3.13 /mnt/studio/uv --uv
Without --uv, the dependencies are built in the work folder, and no repository is read or written.
The folder holds the files of a Rez package without Rez's own files.
With --uv, nothing is built: a request is an installed package, or the folder of a payload.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "requests", metavar="REQUEST", nargs="+", help="e.g. python-3.11; several with --uv"
    )
    parser.add_argument("folder", metavar="DIR", type=folder, help="folder to create")
    parser.add_argument(
        "--uv",
        action="store_true",
        help=f"add archives to DIR, and the file {export_uv.LIST}, from which uv installs Pythons",
    )
    parser.add_argument(
        "--url",
        metavar="URL",
        help="with --uv: the address of DIR for uv; default: DIR as file:///...",
    )
    parser.add_argument(
        "--work",
        metavar="DIR",
        type=folder,
        help="work folder; finished builds in it are used again; default: in REZBUILD_CACHE",
    )
    add_build_options(parser)


def run(arguments: argparse.Namespace) -> int:
    reporter: Reporter = arguments.reporter
    if arguments.uv:
        _for_uv(arguments)
        return 0
    settings = read_settings(arguments)
    named_folders.require(settings)
    recipes = resolve.recipes(find_recipes(arguments))
    request = _only_request(arguments)
    target = arguments.folder.absolute()
    # Refuse the folder before anything is fetched.
    check_target(target, resolve.requirement(request).name)
    steps = resolve.plan(recipes, [request], available(settings, reporter))
    work = (arguments.work or settings.cache / "stage").absolute()
    with temp_folders.folder():
        export_payload(steps, target, work, settings, reporter)
    reporter.info(f"ready: {target} is the payload of {steps[-1]}")
    return 0


def _only_request(arguments: argparse.Namespace) -> str:
    """Return the request of an export without --uv.

    Raises:
        UsageError: There are several, or an option is for --uv only.
    """
    if len(arguments.requests) > 1:
        raise UsageError(
            "several requests need --uv: DIR is one payload otherwise",
            advice=["export one package after the other, or add --uv"],
        )
    if arguments.url is not None:
        raise UsageError("--url needs --uv", advice=["add --uv, or leave out --url"])
    return str(arguments.requests[0])


def _for_uv(arguments: argparse.Namespace) -> None:
    """Add installed packages to the folder.

    Raises:
        UsageError: An option is for builds only, or a request is no Python.
        RezError: A request does not resolve to a payload.
    """
    if arguments.profile or arguments.glibc or arguments.work:
        raise UsageError(
            "--uv takes installed packages, and builds nothing",
            advice=["leave out --profile, --glibc and --work", "build first: rezbuild build"],
        )
    payloads = [find_payload(request).absolute() for request in arguments.requests]
    for payload in payloads:
        export_uv.check(payload)
    reporter: Reporter = arguments.reporter
    target = arguments.folder.absolute()
    url = (arguments.url or target.as_uri()).rstrip("/")
    for payload in payloads:
        with temp_folders.folder():
            key = export_uv.add(payload, target, url, reporter.notice)
        reporter.info(f"ready: {key}, from {payload}")
    variable = f"UV_PYTHON_DOWNLOADS_JSON_URL={shlex.quote(f'{url}/{export_uv.LIST}')}"
    reporter.info(f"next:  {variable} uv python install {key}")
