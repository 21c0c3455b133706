"""The command line: arguments in, one exit code out. Each command's work is done elsewhere."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from rich.console import Console

from rezbuild import __version__
from rezbuild.errors import (
    AuditError,
    CatalogueError,
    CheckError,
    FetchError,
    MachineError,
    RezbuildError,
    RezError,
    UsageError,
)
from rezbuild.settings import PROFILES, Settings, glibc_version

if TYPE_CHECKING:
    from rezbuild.graph import Step

_EPILOG = """\
settings (environment variables; an option goes first where there is one):
  REZBUILD_PROFILE            fast or optimized; default: fast, and optimized for a release
  REZBUILD_CACHE              folder for sources; default: the user's cache folder
  REZBUILD_MIRRORS            folders or URLs, separated by spaces, tried before upstream
  REZBUILD_OFFLINE=1          the cache and mirror folders only
  REZBUILD_JOBS               parallel jobs of a build; default: what Rez says
  REZBUILD_GLIBC_MAX          newest glibc that a payload may need, such as 2.28; default: any
  REZBUILD_<NAME>_VERSION     exact version for a bare rez-build
  REZBUILD_CC, REZBUILD_CXX   compilers, where cc and c++ are not meant
  REZBUILD_RECIPES            folder of recipes; default: packages/ here or above
  REZBUILD_CONNECT_TIMEOUT, REZBUILD_SILENCE_TIMEOUT (seconds), REZBUILD_RETRIES
Repositories are Rez's own settings (REZ_LOCAL_PACKAGES_PATH, REZ_RELEASE_PACKAGES_PATH ...).

exit codes:
  0 done            4 no route gave a source   8 relocation failed
  1 anything else   5 wrong checksum           9 the audit found something
  2 wrong usage     6 cannot be unpacked      10 this machine lacks something
  3 catalogue       7 a build step failed     11 Rez failed
                                              12 a check of a payload failed
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Returns:
        The exit code: 0, or that of the error (`rezbuild.errors`); 130 when interrupted.
    """
    arguments = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _stop)
    try:
        return int(arguments.command(arguments))
    except RezbuildError as error:
        return _complain(error)
    except KeyboardInterrupt:
        print("\nrezbuild: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader has gone (as in "| head"); nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _complain(MachineError.of(error))


def _complain(error: RezbuildError) -> int:
    print(f"\nrezbuild: {error}", file=sys.stderr)
    return error.exit_code


def _stop(number: int, _: object) -> NoReturn:
    """SIGTERM ends a build as Ctrl-C does: what was there is put back first."""
    raise KeyboardInterrupt(number)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rezbuild",
        description="Bakes CPython and its native dependencies as Rez packages that can be moved.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"rezbuild {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_build(commands)
    _add_fetch(commands)
    _add_versions(commands)
    _add_audit(commands)
    _add_check(commands)
    _add_doctor(commands)
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    summary: str,
    epilog: str,
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _recipes_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--recipes",
        metavar="DIR",
        type=Path,
        help="folder of recipes; default: REZBUILD_RECIPES, or packages/ here or above",
    )


def _glibc_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--glibc-max",
        metavar="VERSION",
        default="",
        help="newest glibc that a payload may need; goes before REZBUILD_GLIBC_MAX",
    )


def _settings(arguments: argparse.Namespace) -> Settings:
    """The settings, with the options that go before them."""
    options = {name: getattr(arguments, name, None) for name in ("profile", "jobs")}
    options["glibc_max"] = glibc_version(getattr(arguments, "glibc_max", ""), "--glibc-max")
    return replace(Settings.read(), **{name: v for name, v in options.items() if v})


def _add_build(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands,
        "build",
        "build packages and what they need, and install them",
        "examples:\n"
        "  rezbuild build python-3.11              the newest 3.11 that can be had, and its needs\n"
        "  rezbuild build python                   the default version\n"
        "  rezbuild build openssl-3.0.20 python    python against that very OpenSSL\n"
        "  rezbuild build python --release         by rez-release, optimized\n",
    )
    parser.add_argument("requests", nargs="+", metavar="REQUEST", help="as in python-3.11")
    parser.add_argument(
        "--release", action="store_true", help="rez-release instead of rez-build -i"
    )
    parser.add_argument("--message", default="", help="message of the release")
    parser.add_argument("--force", action="store_true", help="build it again all the same")
    parser.add_argument("--profile", choices=PROFILES, help="goes before REZBUILD_PROFILE")
    parser.add_argument("-j", "--jobs", type=_positive, help="goes before REZBUILD_JOBS")
    _glibc_option(parser)
    parser.add_argument(
        "--run",
        metavar="COMMAND",
        type=_words,
        help="afterwards, run this in the Rez environment of what was asked for",
    )
    _recipes_option(parser)
    parser.set_defaults(command=_build)


def _add_fetch(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands,
        "fetch",
        "get and verify sources",
        "examples:\n"
        "  rezbuild fetch python-3.11            into the cache, with what it is built against\n"
        "  rezbuild fetch --all --to /mnt/mirror fills a mirror for an air-gapped site, where\n"
        "                                        REZBUILD_MIRRORS=/mnt/mirror finds it\n",
    )
    parser.add_argument("requests", nargs="*", metavar="REQUEST", help="as in python-3.11")
    parser.add_argument("--all", action="store_true", help="every version of every package")
    parser.add_argument("--to", metavar="DIR", type=Path, help="a mirror folder to fill as well")
    _recipes_option(parser)
    parser.set_defaults(command=_fetch)


def _add_versions(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands,
        "versions",
        "show the catalogue: versions, where each can be had, what is installed",
        "",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="packages; default: all")
    parser.add_argument("--json", action="store_true", help="for programs")
    _recipes_option(parser)
    parser.set_defaults(command=_versions)


def _add_audit(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands,
        "audit",
        "prove that a payload is relocatable and independent of the host",
        "Exit code 9 when a rule is broken; notes do not count. docs/audit.md has the rules.\n",
    )
    parser.add_argument("what", metavar="PATH or REQUEST", help="a folder, or as in python-3.11")
    parser.add_argument("--json", action="store_true", help="for programs")
    _glibc_option(parser)
    parser.set_defaults(command=_audit)


def _add_check(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands,
        "check",
        "try a payload: the audit, what its package has to do, upstream's own tests",
        "examples:\n"
        "  rezbuild check python-3.11                            in seconds\n"
        "  rezbuild check python-3.11 --regrtest                 CPython's whole test suite\n"
        "  rezbuild check python-3.11 --regrtest test_ssl        some of it\n"
        "Exit code 12 when a check fails. docs/check.md says what is checked.\n",
    )
    parser.add_argument("what", metavar="PATH or REQUEST", help="a payload, or as in python-3.11")
    parser.add_argument(
        "--regrtest",
        dest="suite",
        nargs="*",
        metavar="TEST",
        help="upstream's own tests as well: those named, or all",
    )
    parser.add_argument("-j", "--jobs", type=_positive, help="goes before REZBUILD_JOBS")
    parser.add_argument(
        "--moved", action="store_true", help="try a copy of it that stands elsewhere"
    )
    parser.add_argument(
        "--keep", metavar="DIR", type=Path, help="work in this folder and leave it, with all logs"
    )
    _recipes_option(parser)
    parser.set_defaults(command=_check)


def _add_doctor(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands, "doctor", "say what this machine lacks, and the command that installs it", ""
    )
    parser.set_defaults(command=_doctor)


def _build(arguments: argparse.Namespace) -> int:
    from rezbuild import graph, toolchain  # noqa: PLC0415 (rez is slow to import)
    from rezbuild.driver import Driver, Options  # noqa: PLC0415 (see above)

    settings = _settings(arguments)
    if arguments.jobs:
        os.environ["REZBUILD_JOBS"] = str(arguments.jobs)
    options = Options(arguments.release, arguments.force, arguments.message)
    driver = Driver(settings, toolchain.find(settings), options, _say)
    recipes = graph.recipes(_recipes_folder(arguments))
    steps = graph.plan(recipes, arguments.requests, driver.available)
    driver.run(steps)
    for packages in _environments(steps):
        _say(f"ready: rez-env {' '.join(packages)}")
        if arguments.run:
            _run_in(packages, arguments.run)
    return 0


def _environments(steps: Sequence[Step]) -> list[list[str]]:
    """What was asked for, in one environment, or one each where a package is there twice."""
    keys = [step.key for step in steps if step.requested]
    exact = [f"{name}=={version}" for name, version in keys]
    return [exact] if len({name for name, _ in keys}) == len(keys) else [[e] for e in exact]


def _run_in(packages: Sequence[str], command: Sequence[str]) -> None:
    from rezbuild.driver import rez_command  # noqa: PLC0415 (rez is slow to import)

    argv = rez_command("env", *packages, "--", *command)
    status = subprocess.run(argv, check=False).returncode
    if status != 0:
        raise RezError(
            f"{shlex.join(command)} failed in rez-env {' '.join(packages)}: exit code {status}",
            advice=[f"try it by hand: rez-env {' '.join(packages)}"],
        )


def _fetch(arguments: argparse.Namespace) -> int:
    from rezbuild import graph  # noqa: PLC0415 (rez is slow to import)
    from rezbuild.catalogue import Recipe, Release  # noqa: PLC0415 (see above)
    from rezbuild.fetch import Fetcher  # noqa: PLC0415 (see above)

    fetcher = Fetcher(Settings.read())
    recipes = graph.recipes(_recipes_folder(arguments))
    missing: list[Release] = []

    def get(_: Recipe, release: Release) -> bool:
        try:
            fetched = fetcher.fetch(release)
            if arguments.to:
                fetched = fetcher.mirror(release, arguments.to.absolute())
        except FetchError as error:
            _say(str(error))
            missing.append(release)
            return False
        _say(f"{release.name}-{release.version}: {fetched.path}")
        return True

    if arguments.all:
        for recipe in recipes.values():
            for release in recipe.releases.values():
                get(recipe, release)
    elif arguments.requests:
        graph.plan(recipes, arguments.requests, get)
        missing.clear()  # an older version in the range made up for it, or plan() has raised
    else:
        raise UsageError("nothing to fetch", advice=["name requests, or --all"])
    if missing:
        raise FetchError(
            f"{len(missing)} sources could not be had: "
            + ", ".join(f"{release.name}-{release.version}" for release in missing),
            advice=["the lines above say what was tried for each"],
        )
    return 0


def _versions(arguments: argparse.Namespace) -> int:
    from rezbuild import graph, versions  # noqa: PLC0415 (rez is slow to import)

    recipes = graph.recipes(_recipes_folder(arguments))
    unknown = [name for name in arguments.names if name not in recipes]
    if unknown:
        raise CatalogueError(
            f"there is no recipe for {', '.join(unknown)}",
            advice=[f"recipes: {', '.join(recipes)}"],
        )
    names = arguments.names or list(recipes)
    rows = versions.rows([recipes[name] for name in names], Settings.read())
    if arguments.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        # In a pipe nothing is folded: other programs read lines.
        Console(width=None if sys.stdout.isatty() else 500).print(versions.table(rows))
    return 0


def _audit(arguments: argparse.Namespace) -> int:
    from rezbuild.audit import audit, show  # noqa: PLC0415 (not for every command)

    if not arguments.what:
        raise UsageError("nothing to audit", advice=["name a folder or a Rez request"])
    root = _payload(arguments.what)
    report = audit(root, ceiling=_settings(arguments).glibc_max)
    if arguments.json:
        print(json.dumps(show.as_data(root, report), indent=2))
    else:
        for line in show.lines(root, report):
            # Names of files are bytes; not all of them are text on this terminal.
            encoding = sys.stdout.encoding
            print(line.encode(encoding, "backslashreplace").decode(encoding))
    return AuditError.exit_code if report.errors else 0


def _payload(what: str) -> Path:
    """The folder that a user names, or the payload that Rez resolves for it."""
    root = Path(what)
    if not root.exists() and "/" not in what:
        from rezbuild.repository import resolve_root  # noqa: PLC0415 (rez is slow to import)

        root = resolve_root(what)
    return root


def _check(arguments: argparse.Namespace) -> int:
    from rezbuild import check  # noqa: PLC0415 (not for every command)

    settings = _settings(arguments)
    root = _payload(arguments.what).resolve()
    folder = _recipes_folder(arguments)
    failed = []
    results = check.check(
        root, folder, settings, suite=arguments.suite, keep=arguments.keep, moved=arguments.moved
    )
    for result in results:
        _say(str(result))
        if result.problems:
            failed.append(result.name)
    if failed:
        raise CheckError(
            f"{root} failed: {', '.join(failed)}",
            advice=["the lines above say what is wrong; --keep DIR leaves the logs"],
        )
    return 0


def _doctor(_: argparse.Namespace) -> int:
    from rezbuild import doctor  # noqa: PLC0415 (rez is slow to import)

    return doctor.report(doctor.examine(Settings.read()))


def _recipes_folder(arguments: argparse.Namespace) -> Path:
    named = arguments.recipes or os.environ.get("REZBUILD_RECIPES")
    if named:
        return Path(named).absolute()
    here = Path.cwd()
    beside = Path(__file__).resolve().parents[1]
    for folder in (here, *here.parents, beside):
        if next(folder.glob("packages/*/sources.toml"), None):
            return folder / "packages"
    raise CatalogueError(
        "no recipes here or above: no packages/*/sources.toml",
        advice=["run this in a clone of the project, or name its packages folder: --recipes"],
    )


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"cannot be read as a command: {error}") from None


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("a whole number from 1 up")
    return int(text)


def _say(text: str) -> None:
    # Rez's own output and ours share the terminal; nothing may wait in a buffer.
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
