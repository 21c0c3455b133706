"""The other series that studios use builds, moves, and equals the CPython of its archive."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from each_chain import pass_tests
from moves import move_and_check
from studio import Studio

pytestmark = pytest.mark.e2e
VERSION = "3.13.5"
# Tests that depend on the series; test_matrix.py has the others.
FILES = ("fidelity", "test_budget.py", "test_program_code.py")
TOOLS = [f"fidelity/test_{n}.py" for n in ("debuggers", "freezers", "memory_profilers", "samplers")]


@pytest.fixture(scope="module")
def studio(built: Studio, scratch: Path) -> Studio:
    """Build the default chain, and the other Python on the same libraries.

    While tests are written, the folder that REZBUILD_TEST_CHAIN names keeps it.
    """
    kept = os.environ.get("REZBUILD_TEST_CHAIN")
    studio = Studio(Path(f"{kept}-{VERSION}") if kept else scratch / "newer series")
    if not studio.local.exists():
        shutil.copytree(built.local, studio.local, symlinks=True)
    studio.rezbuild("build", f"python-{VERSION}")
    return studio


def test_newer_series_moves_and_passes_its_own_tests(studio, scratch):
    root = move_and_check(studio, scratch / "newer series, moved", python=VERSION)
    studio.run("sh", root / "rezbuild-test/run.sh")


@pytest.mark.parametrize(
    ("marked", "names"),
    [("not matrix", FILES), pytest.param("matrix", TOOLS, marks=pytest.mark.matrix)],
    ids=["probes", "tools"],
)
def test_newer_series_is_the_cpython_of_its_archive(studio, marked, names):
    pass_tests(studio, f"python-{VERSION}", names, "-m", marked)
