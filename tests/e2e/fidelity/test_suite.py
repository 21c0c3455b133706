"""CPython's own tests fail in the payload only if they fail in the stock build."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import stock as stock_build

from rezbuild.util import toml
from rezbuild.util.import_file import load

pytestmark = [pytest.mark.e2e, pytest.mark.matrix]
regrtest: Any = load(stock_build.RECIPE, "check_regrtest.py")
# It hangs in some virtual machines; known-failures.toml has the reason.
LEFT_OUT = ("-i", "*ThreadedVSOCKSocketStreamTest*")
STOCK_FAILS = {
    # The entry "certificates" of intended.toml.
    "test.test_ssl.ContextTests.test_load_verify_cadata",
    # Tk loads the host's libexpat, which may lack what pyexpat needs. Ours has its own expat.
    "test_idle",
}


def races() -> set[str]:
    """Return tests that depend on timing, also in the stock build (known-failures.toml)."""
    known = toml.loads((stock_build.RECIPE / regrtest.KNOWN).read_text(encoding="utf-8"))
    return {entry["test"] for entry in known["failure"] if "gh-127257" in entry["reason"]}


def bad(log: Path, xml: Path) -> set[str]:
    """Return the tests and test files that failed in a run, without the races."""
    results = regrtest.read(log.read_text(errors="replace"), xml)
    raced = {(file_to_repeat(name), "failed") for name in races()}
    files = {
        name
        for name, state in results.files.items()
        if state not in ("passed", "skipped") and (name, state) not in raced
    }
    return set(results.failures) - races() | files


def file_to_repeat(name: str) -> str:
    """Return the test file of a test, e.g. test_x for test.test_x.Class.test_y."""
    return name.removeprefix("test.").partition(".")[0]


def run(prefix: Path, folder: Path, jobs: int, files: Iterable[str] = ()) -> set[str]:
    """Run tests in the stock build, by default all; return the failures."""
    folder.mkdir()
    log, xml = folder / "log", folder / "xml"
    python = str(prefix / "bin/python3")
    words = ["-m", "test", f"-j{jobs}", "--timeout", "1200", "-W", "--junit-xml", str(xml)]
    with log.open("w") as stream:
        subprocess.run(
            [python, "-I", "-c", regrtest.START, python, *words, *LEFT_OUT, *files],
            cwd=folder,
            env={"PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            check=False,
        )
    return bad(log, xml)


def test_same_tests_fail_as_in_the_stock_build(built, stock, payload, tmp_path):
    """This takes half an hour. A test that fails on one side only runs once more, alone."""
    kept = tmp_path / "kept"
    built.rezbuild("check", payload, "--regrtest", "--keep", kept, ok=False)
    ours = bad(kept / "regrtest.log", kept / "regrtest.xml")
    theirs = run(stock, tmp_path / "stock", os.cpu_count() or 1)
    again = sorted({file_to_repeat(name) for name in ours ^ theirs})
    if again:
        built.rezbuild(
            "check", payload, "--regrtest", *again, "--keep", tmp_path / "again", ok=False
        )
        ours &= bad(tmp_path / "again/regrtest.log", tmp_path / "again/regrtest.xml")
        theirs &= run(stock, tmp_path / "stock again", 1, again)
    assert sorted(ours - theirs) == []
    assert sorted(theirs - ours - STOCK_FAILS) == []
