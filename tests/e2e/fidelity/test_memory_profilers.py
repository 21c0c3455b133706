"""memray counts the same memory as in the stock build."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from comparison import replace_prefix
from host_tools import require_tool
from inspection import Pair, inspect_process, run, start_process, take

pytestmark = pytest.mark.e2e
OPTIONS = ("", "--trace-python-allocators", "--native")
# 69 MiB of objects that are freed, and 1 MB of objects that are kept.
OBJECTS = """\
def build():
    return [(i, str(i)) for i in range(500_000)]
def main():
    kept = build()
    del kept
    return [bytes(1000) for _ in range(1000)]
rest = main()
"""
# 10 MB are in use at any time.
STEADY = """\
import time
def step():
    return [bytes(100_000) for _ in range(100)]
print("ready", flush=True)
while True:
    kept = step()
    time.sleep(0.1)
"""
# Some exported functions, whose names a stripped program keeps.
EXPORTED = {"PyEval_EvalCode", "PyObject_Vectorcall"}
# pymalloc frees whole arenas, and a single object keeps its arena.
ARENA = 1 << 20


def report(memray: Path, data: Path, prefix: Path) -> dict:
    """Return numbers of ``memray stats``, and the bytes that were not freed."""
    target = data.with_suffix(".json")
    run(memray, "stats", "--json", "--force", "--output", target, data)
    stats = json.loads(replace_prefix(take(target), prefix))
    leaks = data.with_suffix(".csv")
    run(memray, "transform", "csv", "--leaks", "--force", "--output", leaks, data)
    sizes = [int(line.split(",")[2]) for line in take(leaks).splitlines()[1:]]
    return {
        "allocations": stats["total_num_allocations"],
        "allocated": stats["total_bytes_allocated"],
        "peak": stats["metadata"]["peak_memory"],
        "left": sum(sizes),
        "largest": stats["top_allocations_by_size"][0]["location"],
    }


def assert_close(found: dict, expected: dict) -> None:
    """Compare counts, within 5 %, and the remaining bytes, within the size of an arena."""
    for name, value in expected.items():
        limit = value
        if isinstance(value, int):
            limit = pytest.approx(value, rel=0.05, abs=ARENA if name == "left" else 0)
        assert found[name] == limit, (name, found, expected)


@pytest.mark.parametrize(
    "option", [pytest.param(o, marks=[pytest.mark.matrix] if o else []) for o in OPTIONS]
)
def test_memray_counts_the_same(pair: Pair, tmp_path, option):
    (tmp_path / "script.py").write_text(OBJECTS)
    data = tmp_path / "data.bin"

    def look(prefix: Path) -> dict:
        memray = pair.venv(prefix, "memray") / "memray"
        options = filter(None, ["-q", "-f", option])
        run(memray, "run", *options, "-o", data, "script.py", cwd=tmp_path)
        return report(memray, data, prefix)

    expected, found = pair.compare(look)
    assert expected["largest"].startswith("<listcomp>:") or "build" in expected["largest"]
    assert_close(found, expected)


@pytest.mark.matrix
def test_memray_names_the_exported_functions(pair: Pair, tmp_path):
    """With ``--native``. The payload is stripped: only its exported functions have names."""
    (tmp_path / "script.py").write_text(OBJECTS)
    data, report = tmp_path / "data.bin", tmp_path / "data.csv"

    def look(prefix: Path) -> set[str]:
        memray = pair.venv(prefix, "memray") / "memray"
        run(memray, "run", "-q", "-f", "--native", "-o", data, "script.py", cwd=tmp_path)
        run(memray, "transform", "csv", "--force", "-o", report, data)
        return set(re.findall(r"[|,](\w+);", take(report)))

    expected, found = pair.compare(look)
    assert expected >= EXPORTED
    assert found >= EXPORTED


@pytest.mark.matrix
def test_memray_attaches(pair: Pair, tmp_path):
    """memray uses gdb to load itself into the process, and counts for three seconds."""
    require_tool("gdb")
    script = tmp_path / "script.py"
    script.write_text(STEADY)
    data = tmp_path / "data.bin"

    def look(prefix: Path) -> dict:
        commands = pair.venv(prefix, "memray")
        with start_process(commands / "python", script) as pid:
            attach = ("attach", "--method", "gdb", "--duration", "3", "--force", "-o", data)
            inspect_process(commands / "memray", *attach, str(pid))
            time.sleep(5)
        found = report(commands / "memray", data, prefix)
        return {name: found[name] for name in ("peak", "largest")}

    expected, found = pair.compare(look)
    assert expected["peak"] > 9_000_000
    assert_close(found, expected)
