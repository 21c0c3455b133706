"""The command line: arguments in, one exit code out. Each command is a module beside this one."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import signal
import sys
from collections.abc import Iterable, Sequence
from typing import NoReturn

from rezbuild import __version__
from rezbuild.cli import renamed
from rezbuild.errors import MachineError, RezbuildError, defect
from rezbuild.util.terminal import printable, printable_line

# In the order of --help. Each command is a module of this package, imported when it is asked for.
_COMMANDS = {
    "build": "build packages and what they need, and install them",
    "plan": "say what a build would do, why, and how long it takes; nothing is done",
    "fetch": "get and verify sources",
    "add-version": "add a version: fetch it, verify who signed it, write its catalogue entry",
    "versions": "show the catalogue: versions, tests, sources, and what is installed",
    "audit": "prove that a payload is relocatable and independent of the host",
    "manifest": "show what a payload was built from, by which compiler, and what is in it",
    "check": "try a payload: the audit, what its package has to do, upstream's own tests",
    "bench": "measure a python beside another one: start, system calls, size, pyperformance",
    "reproduce": "build a package again under other conditions, and compare byte for byte",
    "export": "build a payload without a package manager, for a container or another packager",
    "scheduler": "run the scheduler of a farm",
    "worker": "build for a farm",
    "store": "look after the store of payloads that REZBUILD_STORE names",
    "doctor": "say what this machine lacks, and the command that installs it",
}

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
  REZBUILD_CONNECT_TIMEOUT, REZBUILD_READ_TIMEOUT (seconds), REZBUILD_RETRIES
  REZBUILD_MIN_SPEED          fewest bytes a second of a transfer; default: 1000
  REZBUILD_MAX_SIZE           megabytes of a source of unknown size; default: 1000
  REZBUILD_STEP_TIMEOUT       seconds that a step of a build may take; default: any
  REZBUILD_SCHEDULER          builds on the farm of this scheduler, as tcp://host:8786
  REZBUILD_FARM_TIMEOUT      seconds to wait for a scheduler or worker that is gone;
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
    given = sys.argv[1:] if argv is None else argv
    words = renamed.current(given)
    # The command is the first word: the options before it take none.
    command = next((word for word in words if not word.startswith("-")), "")
    arguments = _parser([command]).parse_args(words)
    for line in renamed.notices(given, os.environ):
        print(printable_line(line), file=sys.stderr)
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


def _parser(commands: Iterable[str] = tuple(_COMMANDS)) -> argparse.ArgumentParser:
    """The parser, with the arguments of some commands; for these, their modules are imported."""
    parser = argparse.ArgumentParser(
        prog="rezbuild",
        description="Bakes CPython and its native dependencies as Rez packages that can be moved.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"rezbuild {__version__}")
    parsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, summary in _COMMANDS.items():
        command = parsers.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if name in commands:
            module = importlib.import_module(f"rezbuild.cli.{name.replace('-', '_')}")
            command.epilog = module.EPILOG
            module.add_arguments(command)
            command.set_defaults(command=module.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
