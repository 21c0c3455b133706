"""Programs cannot distinguish the moved payload from a stock build of the same archive.

Each probe runs in both. An entry of intended.toml must give the reason for each difference.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from comparison import HERE, ask, compare, find_unexpected, load_intended
from moves import PYTHON_SERIES

pytestmark = pytest.mark.e2e
PROBES = Path(__file__).parent / "probes"
# For each probe, the options and environments that it runs with; "" deletes the variable.
RUNS: dict[str, list[tuple[tuple[str, ...], dict[str, str]]]] = {
    "modules": [((), {})],
    "configuration": [((), {})],
    "events": [((), {}), (("-I",), {})],
    "mains": [((), {})],
    "venvs": [((), {})],
    "imports": [((), {}), (("-O",), {}), (("-X", "frozen_modules=off"), {})],
    "system": [
        ((), {}),
        ((), {"HOME": ""}),
        (("-I",), {}),
        (("-I",), {"HOME": ""}),
        (("-S",), {}),
        (("-s",), {}),
        (("-s",), {"HOME": ""}),
        (("-E",), {}),
        (("-O",), {}),
        (("-OO",), {}),
        (("-X", "frozen_modules=off"), {}),
        ((), {"PYTHONDONTWRITEBYTECODE": "1"}),
        ((), {"PYTHONSAFEPATH": "1"}),
        ((), {"PYTHONPYCACHEPREFIX": "/nowhere"}),
    ],
}
CASES = [(name, *run) for name, runs in RUNS.items() for run in runs]
# The entries of intended.toml that this run has needed.
ENTRIES = load_intended()
if os.environ.get("REZBUILD_GLIBC"):
    ENTRIES += load_intended(HERE / "older-glibc.toml")
DONE: set[str] = set()


@pytest.mark.parametrize(
    ("name", "options", "env"),
    CASES,
    ids=[f"{name}{''.join(options)}{''.join(env)}" for name, options, env in CASES],
)
def test_probe_answers_equal_the_stock_build(stock, payload, tmp_path, name, options, env):
    """Each difference is one leaf of the probe's answer."""
    probe = tmp_path / f"{name}.py"
    shutil.copyfile(PROBES / probe.name, probe)
    env = {name: value for name, value in {"HOME": str(tmp_path), **env}.items() if value}
    answers = [ask(prefix, probe, *options, cwd=tmp_path, env=env) for prefix in (stock, payload)]
    found = find_unexpected(compare(name, *answers), ENTRIES)
    DONE.add(name)
    assert not found, f"{len(found)} differences:\n" + "\n".join(map(str, found[:40]))


@pytest.mark.skipif(PYTHON_SERIES > (3, 11), reason="some entries are for older series alone")
def test_each_intended_difference_still_exists():
    """It fails for an entry that no probe needs any more: delete this entry."""
    if not set(RUNS) <= DONE:
        pytest.skip("this needs the answers of all probes")
    assert [entry.id for entry in ENTRIES if entry.addresses and not entry.used] == []
