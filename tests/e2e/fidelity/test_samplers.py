"""Samplers read the same frames from the memory of a process as with the stock build."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import inspection
import pytest
from comparison import replace_prefix
from inspection import LOOP_LINE, SCRIPT, WAYS, inspect_process, run, stacks, take
from moves import PYTHON_SERIES

pytestmark = [pytest.mark.e2e, pytest.mark.matrix]
CALLS = """\
import json, os, textwrap
def inner(text):
    return textwrap.dedent(json.dumps(text))
inner("text")
print(os.getpid())
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return path


@pytest.mark.parametrize("way", WAYS)
def test_py_spy_dump_shows_the_same_frames(pair, tools, script, way):
    def look(prefix: Path) -> list:
        with inspection.python(prefix, way, script.parent, script) as pid:
            dump = json.loads(
                inspect_process(tools / "py-spy", "dump", "--json", "--pid", str(pid))
            )
        frames = [
            (f["name"], replace_prefix(f["filename"], prefix), f["line"])
            for thread in dump
            for f in thread["frames"]
        ]
        return [[thread["thread_name"] for thread in dump], frames]

    expected, found = pair.compare(look)
    assert sorted(expected[0]) == ["MainThread", "waiting"]
    assert ("inner", str(script), LOOP_LINE) in expected[1]
    assert found == expected


@pytest.mark.parametrize("way", WAYS)
def test_py_spy_record_shows_the_same_stack(pair, tools, script, way):
    out = script.parent / "record"
    argv = (tools / "py-spy", "record", "--duration", "1", "--format", "raw", "--output", out)

    def look(prefix: Path) -> str:
        with inspection.python(prefix, way, script.parent, script) as pid:
            inspect_process(*argv, "--pid", str(pid))
        return stacks(take(out), prefix)[0]

    expected, found = pair.compare(look)
    assert f"inner (script.py:{LOOP_LINE})" in expected
    assert found == expected


@pytest.mark.parametrize("way", WAYS)
def test_austin_shows_the_same_stacks(pair, tools, script, way):
    """The stacks of both threads are compared."""
    argv = (tools / "austin", "--interval", "1000", "--exposure", "1", "--pid")

    def look(prefix: Path) -> list[str]:
        with inspection.python(prefix, way, script.parent, script) as pid:
            return sorted(stacks(inspect_process(*argv, str(pid)), prefix)[:2])

    expected, found = pair.compare(look)
    assert any(stack.endswith(f"{script}:inner:{LOOP_LINE}") for stack in expected)
    assert found == expected


def test_perf_names_the_same_functions(pair, debug_data, script):
    """The functions that take most time are compared. The payload's names are in python_debug."""
    if not shutil.which("perf"):
        pytest.skip("no perf here; its package is called linux-perf, perf or linux-tools")
    data = script.parent / "data"
    names = script.parent / "names"
    perf = ("perf", "--buildid-dir", names)
    for path in (debug_data / "lib/debug/.build-id").glob("*/*.debug"):
        run(*perf, "buildid-cache", "--add", path)

    def look(prefix: Path) -> dict[str, float]:
        python = (prefix / "bin/python3", "-I", "-c", "for _ in range(300): sum(range(100_000))")
        inspect_process(*perf, "record", "-q", "-B", "-e", "cpu-clock", "-o", data, "--", *python)
        report = run(*perf, "report", "--stdio", "--sort", "symbol", "-i", data)
        lines = re.findall(r"(?m)^ +([\d.]+)% +\[\.\] (\w+)", report)
        return {name: float(share) for share, name in lines}

    expected, found = pair.compare(look)
    assert "builtin_sum" in expected
    assert {name for name, share in expected.items() if share > 5} <= {
        name for name, share in found.items() if share > 1
    }


@pytest.mark.skipif(PYTHON_SERIES < (3, 12), reason="-X perf came with 3.12")
def test_perf_map_lists_the_same_functions(pair, script):
    """With ``-X perf``, the interpreter writes names of Python functions to a file for perf."""
    script.write_text(CALLS)

    def look(prefix: Path) -> list[str]:
        pid = run(prefix / "bin/python3", "-X", "perf", script).strip()
        names = re.findall(
            r"(?m)py::.*$", replace_prefix(take(Path(f"/tmp/perf-{pid}.map")), prefix)
        )
        # The import system and site of the payload call fewer functions.
        return sorted(name for name in names if "<frozen " not in name)

    expected, found = pair.compare(look)
    assert f"py::inner:{script}" in expected
    assert any(name.endswith("/textwrap.py") for name in expected)
    assert found == expected
