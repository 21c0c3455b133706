"""Debuggers and coverage show the same frames, names and lines as in the stock build."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path

import pycharm
import pytest
from comparison import replace_prefix
from dap import connect
from host_tools import require_tool
from inspection import SERIES, Pair, inspect_process, run, start_process, take
from moves import PYTHON_SERIES

pytestmark = [pytest.mark.e2e, pytest.mark.matrix]
DEBUGGED = """\
import textwrap, threading, time
def work(number):
    text = textwrap.dedent("  a" * number)
    return text
def loop():
    number = 2
    while True:
        work(number)
        time.sleep(0.01)
print("ready", flush=True)
loop()
"""
# coverage also measures by sys.monitoring, which has no branches before 3.14.
CORES = ["ctrace", "pytrace", *(["sysmon"] if PYTHON_SERIES >= (3, 12) else [])]
COVERED = """\
import argparse, collections, fractions, json, os, posixpath, shlex, textwrap, wave
textwrap.fill("a b c " * 30, 20)
json.loads(json.dumps({"a": [1, 2, {"b": None}]}, indent=1))
argparse.ArgumentParser().parse_args([])
shlex.split("a 'b c'")
posixpath.normpath(os.path.join("a", "../b"))
collections.Counter("abca").most_common()
fractions.Fraction("3/4") + 1
"""
# gdb stops in builtin_id(), as in CPython's own tests of these commands.
EXAMINED = """\
class Record:
    def __init__(self):
        self.size = 3
def inner(number, name, record):
    listed = [number, {name: record.size}]
    id(number)
def outer():
    inner(42, "a name", Record())
outer()
"""
COMMANDS = (
    *("set breakpoint pending on", "break builtin_id", "run"),
    *("py-bt", "py-list", "py-locals", "py-print listed", "py-print record"),
    *("py-print len", "py-up", "py-list", "py-up", "py-locals", "py-down"),
)


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def breakpoints(prefix: Path, script: Path) -> dict[str, list[int]]:
    """Return one line of the script and one of textwrap.py, in a function that the script calls."""
    library = prefix / f"lib/python{SERIES}/textwrap.py"
    lines = library.read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("def dedent("))
    end = next(i for i in range(start, len(lines)) if lines[i].startswith("    return "))
    return {str(script): [4], str(library): [end + 1]}


@pytest.mark.parametrize("way", ["listen", "pid"])
def test_debugpy_stops_at_the_same_places(pair: Pair, tmp_path, way):
    """With ``--pid``, debugpy uses gdb to load itself into the process."""
    script = tmp_path / "script.py"
    script.write_text(DEBUGGED)
    if way == "pid":
        require_tool("gdb")

    def look(prefix: Path) -> str:
        commands = pair.venv(prefix, "debugpy")
        port = free_port()
        debugpy = ("-X", "frozen_modules=off", "-m", "debugpy", "--listen", f"127.0.0.1:{port}")
        arguments = (*debugpy, script) if way == "listen" else (script,)
        with start_process(commands / "python", *arguments) as pid:
            if way == "pid":
                inspect_process(commands / "python", *debugpy, "--pid", str(pid))
            with connect(port) as client:
                client.attach(breakpoints(prefix, script))
                stops = sorted(json.dumps(client.stop()) for _ in range(2))
        return replace_prefix(f"[{','.join(stops)}]", prefix)

    expected, found = map(json.loads, pair.compare(look))
    frames = [stop["frames"][0] for stop in expected]
    assert ["work", str(script), 4] in frames
    assert any(path == f"<prefix>/lib/python{SERIES}/textwrap.py" for _, path, _ in frames)
    assert any(stop["locals"].get("text") == "'a  a'" for stop in expected)
    assert found == expected


def test_pycharm_stops_at_the_same_places(pair: Pair, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(DEBUGGED)

    def look(prefix: Path) -> str:
        commands = pair.venv(prefix, "pydevd-pycharm")
        with pycharm.listen() as server:
            port = server.getsockname()[1]
            code = (
                # settrace() returns when PyCharm has set the breakpoints.
                "import pydevd_pycharm, runpy\nprint('ready', flush=True)\n"
                f"pydevd_pycharm.settrace('127.0.0.1', port={port}, suspend=False)\n"
                f"runpy.run_path({str(script)!r})\n"
            )
            start = ("-X", "frozen_modules=off", "-c", code)
            with start_process(commands / "python", *start):
                found = pycharm.stops(server, breakpoints(prefix, script), 2)
        return replace_prefix(json.dumps(sorted(found)), prefix)

    expected, found = map(json.loads, pair.compare(look))
    innermost = {tuple(frames[0]) for frames in expected}
    assert ("work", str(script), "4") in innermost
    assert any(path == f"<prefix>/lib/python{SERIES}/textwrap.py" for _, path, _ in innermost)
    assert found == expected


@pytest.mark.parametrize("core", CORES)
def test_coverage_of_the_standard_library_is_the_same(pair: Pair, tmp_path, core):
    """The payload's program contains the modules' code."""
    (tmp_path / "script.py").write_text(COVERED)

    def look(prefix: Path) -> dict[str, list]:
        command = pair.venv(prefix, "coverage") / "coverage"
        library = f"{prefix}/lib/python{SERIES}"
        only = (f"--include={library}/*", f"--omit={library}/site-packages/*")
        env = {"COVERAGE_CORE": core, "COVERAGE_FILE": str(tmp_path / "data")}
        branches = () if core == "sysmon" else ("--branch",)
        run(command, "run", *branches, *only, "script.py", cwd=tmp_path, **env)
        run(command, "json", "-q", "-o", tmp_path / "report.json", cwd=tmp_path, **env)
        report = json.loads(take(tmp_path / "report.json"))
        return {
            replace_prefix(path, prefix): [facts["executed_lines"], facts.get("executed_branches")]
            for path, facts in report["files"].items()
        }

    expected, found = pair.compare(look)
    assert {Path(path).stem for path in expected} >= {"textwrap", "argparse", "shlex", "wave"}
    assert found == expected


def test_gdb_shows_the_same_python_code(debug_data, pair: Pair, tmp_path):
    """The stock build contains its debug data; the payload's is in python_debug."""
    require_tool("gdb")
    script = tmp_path / "script.py"
    script.write_text(EXAMINED)
    commands = [w for c in COMMANDS for w in ("-ex", f"echo == {c}\\n", "-ex", c)]

    def look(prefix: Path) -> list[str]:
        start = ("gdb", "-iex", f"source {debug_data}/share/python-gdb/python-gdb.py")
        if prefix == pair.ours:
            start = (str(debug_data / "bin/gdb-python"),)
        program = ("--args", prefix / "bin/python3", "-I", script)
        output = inspect_process(*start, "-batch", *commands, *program)
        output = output[output.index("== py-bt") :]
        return re.sub(r"0x[0-9a-f]+", "<address>", replace_prefix(output, prefix)).splitlines()

    expected, found = pair.compare(look)
    # gcc 12 keeps the frames of 3.13 where gdb does not find them, in either build.
    assert (f'  File "{script}", line 6, in inner' in expected) == (PYTHON_SERIES < (3, 13))
    assert found == expected
