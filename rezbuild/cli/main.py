"""The command line: arguments in, one exit code out. Each command's work is done elsewhere."""

from __future__ import annotations

import argparse
import io
import os
import re
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from rezbuild import __version__
from rezbuild.cli import build_commands, commands, store_commands
from rezbuild.errors import MachineError, RezbuildError, defect
from rezbuild.settings import MOST_JOBS, PROFILES, whole_number
from rezbuild.util.terminal import printable

_EPILOG = """\
settings (environment variables; an option goes first where there is one):
  REZBUILD_PROFILE            fast or optimized; default: fast, and optimized for a release
  REZBUILD_CACHE              folder for sources; default: the user's cache folder
  REZBUILD_MIRRORS            folders or URLs, separated by spaces, tried before upstream
  REZBUILD_OFFLINE=1          the cache and mirror folders only
  REZBUILD_JOBS               parallel jobs of all that is built at once; default: what Rez says
  REZBUILD_TRUST_CACHE=1      the cache may hold files of other users
  REZBUILD_STORE              folder or address of built payloads: taken instead of built
  REZBUILD_STORE_SIGN         private key (PEM, Ed25519) that signs what is put there
  REZBUILD_STORE_TRUST        public keys: a payload must be signed by one of them
  REZBUILD_STORE_REVOKED      file of sums of payloads to refuse
  REZBUILD_CCACHE             1 or the path of ccache: compilers run through it, and no
                              configure runs twice; default: off
  REZBUILD_HOST_LABEL         this kind of host, as in a matrix; default: such as debian12
  REZBUILD_GLIBC_MAX          newest glibc that a payload may need, such as 2.28; default: any
  REZBUILD_<NAME>_VERSION     exact version for a bare rez-build
  REZBUILD_REPLACE=1          a rez-release by hand may replace what is released
  REZBUILD_CC, REZBUILD_CXX   compilers to use instead of cc and c++
  REZBUILD_RECIPES            folder of recipes; default: packages/ here or above
  REZBUILD_CONNECT_TIMEOUT, REZBUILD_SILENCE_TIMEOUT (seconds), REZBUILD_RETRIES
  REZBUILD_MIN_SPEED          fewest bytes a second of a transfer; default: 1000
  REZBUILD_MAX_SIZE           megabytes of a source of unknown size; default: 1000
  REZBUILD_STEP_TIMEOUT       seconds that a step of a build may take; default: any
  REZBUILD_SCHEDULER          builds on the farm of this scheduler, as tcp://host:8786
  REZBUILD_FARM_PATIENCE      seconds to wait for a scheduler or worker that is gone;
                              default: 300
  REZBUILD_FARM_OPEN          1: every user of this machine may use a farm on loopback
  REZBUILD_FARM_CA, REZBUILD_FARM_CERT, REZBUILD_FARM_KEY   files for TLS in a farm
  REZBUILD_TRACE=1            shows where a defect of rezbuild itself is
Repositories are Rez's own settings (REZ_LOCAL_PACKAGES_PATH, REZ_RELEASE_PACKAGES_PATH ...).

exit codes:
  0 done            4 no route gave a source   8 relocation failed
  1 anything else   5 wrong sum or signature   9 the audit found something
  2 wrong usage     6 cannot be unpacked      10 this machine lacks something
  3 catalogue       7 a build step failed     11 Rez failed
                                              12 a check of a payload failed
                                              13 something installed is outdated
                                              14 the store fails
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Returns:
        The exit code: 0, or that of the error (`rezbuild.errors`); 130 when interrupted.
    """
    arguments = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _stop)
    # Whoever starts this in the background may have it ignored.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _stop)
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files are bytes, not always text
        sys.stdout.reconfigure(errors="backslashreplace")
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
    except Exception as error:  # noqa: BLE001 (a trace says nothing to a user)
        return _complain(defect(error))


def _complain(error: RezbuildError) -> int:
    print(f"\nrezbuild: {printable(str(error))}", file=sys.stderr)
    return error.exit_code


def _stop(number: int, _: object) -> NoReturn:
    """SIGTERM ends a build as Ctrl-C does: what it has started ends too."""
    # Once: Rez passes what it gets on to all of its process group, which is this one's too.
    for again in (signal.SIGINT, signal.SIGTERM):
        signal.signal(again, signal.SIG_IGN)
    raise KeyboardInterrupt(number)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rezbuild",
        description="Bakes CPython and its native dependencies as Rez packages that can be moved.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"rezbuild {__version__}")
    parsers = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_build(parsers)
    _add_plan(parsers)
    _add_fetch(parsers)
    _add_add_version(parsers)
    _add_versions(parsers)
    _add_audit(parsers)
    _add_manifest(parsers)
    _add_check(parsers)
    _add_bench(parsers)
    _add_reproduce(parsers)
    _add_stage(parsers)
    _add_scheduler(parsers)
    _add_worker(parsers)
    _add_store(parsers)
    _add_doctor(parsers)
    return parser


def _command(
    parsers: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    summary: str,
    epilog: str,
) -> argparse.ArgumentParser:
    return parsers.add_parser(
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
        type=_folder,
        help="folder of recipes; default: REZBUILD_RECIPES, or packages/ here or above",
    )


def _glibc_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--glibc-max",
        metavar="VERSION",
        default="",
        help="newest glibc that a payload may need, or a platform's year, as in CY2026;"
        " goes before REZBUILD_GLIBC_MAX",
    )


def _add_build(parsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        parsers,
        "build",
        "build packages and what they need, and install them",
        "examples:\n"
        "  rezbuild build python-3.11              the newest 3.11 that can be had, and its needs\n"
        "  rezbuild build python                   the default version\n"
        "  rezbuild build openssl-3.0.20 python    python against that very OpenSSL\n"
        "  rezbuild build vfxplatform-2026         what that year names\n"
        "  rezbuild build python --release         by rez-release, optimized\n"
        "  rezbuild build openssl-3.5 python-3.11 --release --replace\n"
        "                                          a repaired OpenSSL under the same Python\n"
        "  rezbuild build --matrix years.toml      sets of requests for profiles and hosts\n"
        "docs/plan.md describes that file; docs/parallel.md the timeline.\n",
    )
    _wanted(parser)
    parser.add_argument("--message", default="", help="message of the release")
    parser.add_argument(
        "--run",
        metavar="COMMAND",
        type=_words,
        help="afterwards, run this in the Rez environment of what was asked for",
    )
    parser.add_argument(
        "--timeline",
        metavar="FILE",
        type=_folder,
        help="the picture of the run (SVG); default: in REZBUILD_CACHE/timelines",
    )
    parser.set_defaults(command=build_commands.build)


def _add_plan(parsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        parsers,
        "plan",
        "say what a build would do, why, and how long it takes; nothing is done",
        "examples:\n"
        "  rezbuild plan python-3.11\n"
        "  rezbuild plan --matrix years.toml --workers 8\n"
        "docs/plan.md says where the durations come from.\n",
    )
    _wanted(parser)
    parser.add_argument(
        "--workers", metavar="N", type=_positive, help="builds at once; default: REZBUILD_JOBS"
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--svg", metavar="FILE", type=_folder, help="the expected run as a picture")
    parser.set_defaults(command=build_commands.plan, message="", timeline=None)


def _wanted(parser: argparse.ArgumentParser) -> None:
    """What is to be built, and how."""
    parser.add_argument("requests", nargs="*", metavar="REQUEST", help="as in python-3.11")
    parser.add_argument(
        "--matrix", metavar="FILE", type=_folder, help="a table of requests, profiles and hosts"
    )
    parser.add_argument(
        "--host",
        metavar="LABEL",
        action="append",
        default=[],
        help="of the matrix, what is for this kind of host; may be repeated; default: all",
    )
    parser.add_argument(
        "--release", action="store_true", help="rez-release instead of rez-build -i"
    )
    parser.add_argument(
        "--replace", action="store_true", help="release in the place of what is released already"
    )
    parser.add_argument("--force", action="store_true", help="build it again all the same")
    parser.add_argument("--profile", choices=PROFILES, help="goes before REZBUILD_PROFILE")
    parser.add_argument("-j", "--jobs", type=_positive, help="goes before REZBUILD_JOBS")
    _glibc_option(parser)
    _recipes_option(parser)
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="build on the workers of this farm, as tcp://host:8786; goes before"
        " REZBUILD_SCHEDULER",
    )


def _add_fetch(parsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        parsers,
        "fetch",
        "get and verify sources",
        "examples:\n"
        "  rezbuild fetch python-3.11            into the cache, with what it is built against\n"
        "  rezbuild fetch --all --to /mnt/mirror fills a mirror for an air-gapped site, where\n"
        "                                        REZBUILD_MIRRORS=/mnt/mirror finds it\n",
    )
    parser.add_argument("requests", nargs="*", metavar="REQUEST", help="as in python-3.11")
    parser.add_argument("--all", action="store_true", help="every version of every package")
    parser.add_argument("--to", metavar="DIR", type=_folder, help="a mirror folder to fill as well")
    _recipes_option(parser)
    parser.set_defaults(command=commands.fetch)


def _add_add_version(parsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        parsers,
        "add-version",
        "add a version to the catalogue: fetch it, verify who signed it, write its entry",
        "examples:\n"
        "  rezbuild add-version openssl 3.5.10             signed by the key in keys/\n"
        "  rezbuild add-version zlib 1.3.3 --sha256 SUM    as upstream's page has it\n"
        "  rezbuild add-version python 3.11.17             is there: verified once more\n"
        "stdout is the change as a unified diff. docs/security.md says more of signatures.\n",
    )
    parser.add_argument("name", metavar="NAME", help="as in openssl")
    parser.add_argument("version", metavar="VERSION", help="as in 3.5.10")
    parser.add_argument(
        "--url", default="", help="of the archive, where the catalogue's pattern does not fit"
    )
    parser.add_argument(
        "--sha256", metavar="SUM", default="", help="what upstream's page says of it"
    )
    parser.add_argument(
        "--unsigned",
        action="store_true",
        help="take it although the catalogue pins no key of upstream's",
    )
    parser.add_argument(
        "--older-signature",
        action="store_true",
        help="take a signature that is older than that of the version before",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="fetch and verify, show the change, write nothing"
    )
    _recipes_option(parser)
    parser.set_defaults(command=commands.add_version)


def _add_versions(parsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        parsers,
        "versions",
        "show the catalogue: versions, tests, sources, and what is installed",
        "examples:\n"
        "  rezbuild versions openssl\n"
        "  rezbuild versions --outdated       what is installed, or was built against something,\n"
        "                                     that has a newer version of its series here\n"
        "  rezbuild versions --outdated --upstream openssl python\n"
        "Exit code 13 when something is outdated, for a timer.\n",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="packages; default: all")
    parser.add_argument(
        "--outdated", action="store_true", help="only what is installed and has a newer pin"
    )
    parser.add_argument(
        "--upstream", action="store_true", help="ask upstream too whether it has newer ones"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="for programs")
    form.add_argument(
        "--markdown", action="store_true", help="print the page docs/support-matrix.md"
    )
    _recipes_option(parser)
    parser.set_defaults(command=commands.versions)


def _add_audit(parsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        parsers,
        "audit",
        "prove that a payload is relocatable and independent of the host",
        "Exit code 9 when a rule is broken; notes do not count. docs/audit.md has the rules.\n",
    )
    parser.add_argument("what", metavar="PATH or REQUEST", help="a folder, or as in python-3.11")
    parser.add_argument("--json", action="store_true", help="for programs")
    _glibc_option(parser)
    _recipes_option(parser)
    parser.set_defaults(command=commands.audit)


def _add_manifest(parsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        parsers,
        "manifest",
        "show what a payload was built from, by which compiler and flags, and what is in it",
        "examples:\n"
        "  rezbuild manifest python-3.11                       a table\n"
        "  rezbuild manifest --json python-3.11                rezbuild.json, for programs\n"
        "  rezbuild manifest --sbom python-3.11 > sbom.cdx.json  CycloneDX, for scanners\n",
    )
    parser.add_argument("what", metavar="PATH or REQUEST", help="a payload, or as in python-3.11")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--json", action="store_true", help="the whole record, for programs")
    kind.add_argument("--sbom", action="store_true", help="the bill of materials, CycloneDX")
    parser.set_defaults(command=commands.manifest)


def _add_check(parsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        parsers,
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
        "--keep",
        metavar="DIR",
        type=_folder,
        help="work in this folder and leave it, with all logs",
    )
    _recipes_option(parser)
    parser.set_defaults(command=commands.check)


def _add_bench(parsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        parsers,
        "bench",
        "measure a python beside another one: start, system calls, size, pyperformance",
        "examples:\n"
        "  rezbuild bench python-3.11                     a moved copy, against the host's 3.11\n"
        "  rezbuild bench python-3.11 --only start,calls  in a minute\n"
        "  rezbuild bench NEW --against OLD --full        two payloads, all of pyperformance\n"
        "Parts: start, calls, latency, size, suite. docs/performance.md says how it measures.\n",
    )
    parser.add_argument(
        "what", metavar="PATH or REQUEST", help="a payload, an interpreter, or as in python-3.11"
    )
    parser.add_argument(
        "--against",
        metavar="PATH or REQUEST",
        help="what to compare it with; default: the host's python of the same X.Y, if there is one",
    )
    parser.add_argument(
        "--only", metavar="PARTS", type=_names, help="some parts, as in start,calls"
    )
    parser.add_argument("--rounds", metavar="N", type=_positive, help="pairs of each measurement")
    parser.add_argument("--full", action="store_true", help="all of pyperformance, for hours")
    parser.add_argument("--json", metavar="FILE", help="all raw data; - for stdout, and no table")
    parser.add_argument("--svg", metavar="FILE", type=_folder, help="the ratios as a picture")
    parser.set_defaults(command=commands.bench)


def _add_reproduce(parsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        parsers,
        "reproduce",
        "build a package again under other conditions, and compare byte for byte",
        "examples:\n"
        "  rezbuild reproduce zlib                  what is installed, and a second build\n"
        "  rezbuild reproduce python-3.11 --keep DIR    leaves both payloads and all logs\n"
        "The second build has another folder, user, umask, locale, time zone, home, host name and\n"
        "number of jobs, and no ccache. Exit code 12 when a file is not the same.\n"
        "docs/reproducible.md says what is compared.\n",
    )
    parser.add_argument("request", metavar="REQUEST", help="as in python-3.11")
    parser.add_argument("--profile", choices=PROFILES, help="default: that of what is installed")
    parser.add_argument("-j", "--jobs", type=_positive, help="goes before REZBUILD_JOBS")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument(
        "--keep",
        metavar="DIR",
        type=_folder,
        help="work in this folder and leave it, with both builds",
    )
    parser.add_argument(
        "--training",
        metavar="FILE",
        type=_folder,
        help="what the compiler counted for the first build; default: the cache has it",
    )
    _recipes_option(parser)
    parser.set_defaults(command=commands.reproduce)


def _add_stage(parsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        parsers,
        "stage",
        "build a payload without a package manager, for a container or another packager",
        "example:\n"
        "  rezbuild stage python-3.11 /opt/python\n"
        "What it needs is built besides, in a folder that may be kept. No repository is read or\n"
        "written. The folder holds what a Rez package would, less Rez's own files.\n",
    )
    parser.add_argument("request", metavar="REQUEST", help="as in python-3.11")
    parser.add_argument("folder", metavar="DIR", type=_folder, help="a folder to make")
    parser.add_argument(
        "--work",
        metavar="DIR",
        type=_folder,
        help="where it is built; what is ready there is used again; default: in REZBUILD_CACHE",
    )
    parser.add_argument("--profile", choices=PROFILES, help="goes before REZBUILD_PROFILE")
    parser.add_argument("-j", "--jobs", type=_positive, help="goes before REZBUILD_JOBS")
    _glibc_option(parser)
    _recipes_option(parser)
    parser.set_defaults(command=commands.stage)


def _add_scheduler(parsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        parsers,
        "scheduler",
        "run the scheduler of a farm",
        "examples:\n"
        "  rezbuild scheduler                      for workers of this machine\n"
        "  rezbuild scheduler --host 10.0.0.5      for others; with REZBUILD_FARM_CA, _CERT, _KEY\n"
        "It runs until it is told to end. docs/farm.md says more.\n",
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="the address to listen on; default: this machine alone"
    )
    parser.add_argument("--port", type=_port, default=8786, help="default: 8786; 0: any")
    parser.set_defaults(command=commands.scheduler)


def _add_worker(parsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        parsers,
        "worker",
        "build for a farm",
        "examples:\n"
        "  rezbuild worker tcp://127.0.0.1:8786\n"
        "  rezbuild worker tls://10.0.0.5:8786 --host 10.0.0.7 --label debian12\n"
        "It has recipes, sources and a compiler of its own, as for a build by hand, and runs\n"
        "until it is told to end. docs/farm.md says more.\n",
    )
    parser.add_argument("scheduler", metavar="ADDRESS", help="as in tcp://host:8786")
    parser.add_argument(
        "--host", default="127.0.0.1", help="the address to listen on; default: this machine alone"
    )
    parser.add_argument("--cores", type=_positive, help="jobs at once; default: all cores")
    parser.add_argument(
        "--label",
        type=_label,
        default="",
        help="of this kind of host; goes before REZBUILD_HOST_LABEL",
    )
    parser.add_argument("--name", type=_label, default="", help="of this worker")
    _recipes_option(parser)
    parser.set_defaults(command=commands.worker)


def _add_store(parsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(parsers, "store", store_commands.SUMMARY, store_commands.EPILOG)
    store_commands.add_arguments(parser, _recipes_option)


def _add_doctor(parsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        parsers, "doctor", "say what this machine lacks, and the command that installs it", ""
    )
    parser.add_argument(
        "--tests",
        action="store_true",
        help="also say which tests this machine has to skip, and what they need",
    )
    parser.set_defaults(command=commands.doctor)


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"cannot be read as a command: {error}") from None


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _folder(text: str) -> Path:
    if not text:  # an unset variable of a script; it would be the current folder
        raise argparse.ArgumentTypeError("an empty name")
    return Path(text)


def _port(text: str) -> int:
    if whole_number(text) not in range(65536):
        raise argparse.ArgumentTypeError("a whole number from 0 to 65535")
    return int(text)


def _label(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]{0,64}", text):
        raise argparse.ArgumentTypeError("letters, digits and ._- only")
    return text


def _positive(text: str) -> int:
    if whole_number(text) not in range(1, MOST_JOBS + 1):
        raise argparse.ArgumentTypeError(f"a whole number from 1 to {MOST_JOBS}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
