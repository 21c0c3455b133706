"""Python processes of the stock build and of the payload, and tools that look into them."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
from comparison import replace_prefix
from moves import PYTHON_SERIES, RESOLVER
from studio import OWN

HERE = Path(__file__).parent
SERIES = "{}.{}".format(*PYTHON_SERIES)
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith(OWN)}
# The ways in which a process can start the interpreter.
WAYS = ("plain", "link", "renamed", "exec -a", "embedded")
# The while loop of SCRIPT is on one line, so every sample of inner() shows this line.
LOOP_LINE = 5
SCRIPT = """\
import threading, time
def waits(event):
    event.wait()
def inner(end, ready=[]):
    while time.monotonic() < end: ready or ready.append(print("ready", flush=True))
def outer(end):
    inner(end)
threading.Thread(target=waits, args=(threading.Event(),), name="waiting", daemon=True).start()
outer(time.monotonic() + 120)
"""
DENIED = re.compile(r"(?im)^.*(?:permission denied|not permitted|access to performance).*$")
_T = TypeVar("_T")


@dataclass(frozen=True)
class Pair:
    """The prefixes of the stock build and of the payload, and a folder for their environments."""

    stock: Path
    ours: Path
    folder: Path

    def compare(self, look: Callable[[Path], _T]) -> tuple[_T, _T]:
        """Return the results of ``look`` for the stock build and for the payload.

        Skip the test if this machine forbids ``look`` for the stock build.
        """
        try:
            expected = look(self.stock)
        except DeniedError as error:
            pytest.skip(f"this machine does not let a tool look into a process: {error}")
        return expected, look(self.ours)

    def venv(self, prefix: Path, *requirements: str) -> Path:
        """Return the commands of a virtual environment of that Python; it is created once."""
        side = "stock" if prefix == self.stock else "ours"
        return venv(
            prefix / "bin/python3", self.folder / "-".join((side, *requirements)), requirements
        )


class DeniedError(Exception):
    """The kernel or a container does not let one process look into another."""


def venv(python: Path, folder: Path, requirements: Iterable[str]) -> Path:
    """Return the commands of a virtual environment, which is created if it is not complete."""
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        run(python, "-m", "venv", folder)
        pip = (folder / "bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check")
        run(*pip, *requirements, **RESOLVER)
        (folder / "complete").touch()
    return folder / "bin"


def tools(folder: Path) -> Path:
    """Return the commands of py-spy and austin, in a venv of the Python that runs the tests."""
    # austin 4 needs glibc 2.38.
    return venv(Path(sys.executable), folder / "tools", ("py-spy", "austin-dist<4"))


def run(*argv: str | Path, cwd: Path | str = "/", **env: str) -> str:
    """Return the standard output of a command; the test fails if the command does."""
    done = _run(*argv, cwd=cwd, **env)
    if done.returncode:
        pytest.fail(f"{argv} exited with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def inspect_process(*argv: str | Path) -> str:
    """Run a tool that reads the memory of another process; return its standard output.

    Raises:
        DeniedError: The machine does not allow it.
    """
    done = _run(*argv)
    denied = DENIED.search(done.stderr)
    if done.returncode and denied:
        raise DeniedError(denied[0].strip())
    if done.returncode:
        pytest.fail(f"{argv} exited with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def _run(*argv: str | Path, cwd: Path | str = "/", **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in argv],
        cwd=cwd,
        env={**ENVIRONMENT, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )


@contextlib.contextmanager
def start_process(*argv: str | Path, executable: Path | None = None, **env: str) -> Iterator[int]:
    """Start a process, return its id when it prints "ready", and kill it at the end."""
    process = subprocess.Popen(
        [str(word) for word in argv],
        executable=executable,
        env={**ENVIRONMENT, **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            pytest.fail(f"{argv}\n{process.communicate()[1]}")
        yield process.pid
    finally:
        process.kill()
        process.communicate()


def embedding_program(prefix: Path, folder: Path) -> Path:
    """Compile embedding.c, a program that embeds the libpython below ``prefix``."""
    program = folder / "program"
    argv = ["cc", HERE / "embedding.c", f"-I{prefix}/include/python{SERIES}", f"-L{prefix}/lib"]
    run(*argv, f"-lpython{SERIES}", f"-Wl,-rpath,{prefix}/lib", "-o", program)
    return program


def python(
    prefix: Path, way: str, folder: Path, script: Path
) -> contextlib.AbstractContextManager[int]:
    """Start the script in one of the WAYS, and return the id of its process."""
    command = prefix / "bin/python3"
    if way == "embedded":
        code = f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')"
        # Without a Python on PATH, the stock libpython uses the prefix of configure.
        return start_process(embedding_program(prefix, folder), "plain", code, PATH="/nowhere")
    if way == "exec -a":
        # Some programs name their processes: argv[0] is not a path. PYTHONHOME gives the prefix.
        return start_process("application", script, executable=command, PYTHONHOME=str(prefix))
    if way == "link":
        link = folder / "application"
        link.unlink(missing_ok=True)
        link.symlink_to(command)
        return start_process(link, script)
    if way == "renamed":
        copy = folder / "copy"
        shutil.copyfile(command, copy)
        copy.chmod(0o755)
        return start_process(copy, script, PYTHONHOME=str(prefix))
    return start_process(command, script)


def take(path: Path) -> str:
    """Return the text of a file and delete it, so that the tool's next run must write it again."""
    text = path.read_text(encoding="utf-8")
    path.unlink()
    return text


def stacks(text: str, prefix: Path) -> list[str]:
    """Return the stacks in the output of py-spy or austin, the one with most samples first.

    Each line of the output is ``<stack> <samples>``.
    """
    counts: dict[str, int] = {}
    for line in replace_prefix(text, prefix).splitlines():
        stack, _, count = line.rpartition(" ")
        if count.isdecimal() and stack and not stack.startswith("#"):
            stack = re.sub(r"^P\d+;T\w+:\w+;|^process \d+:.*?;", "", stack)
            counts[stack] = counts.get(stack, 0) + int(count)
    return sorted(counts, key=lambda stack: -counts[stack])
