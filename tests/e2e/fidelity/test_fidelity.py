"""Programs cannot distinguish the moved payload from a stock build of the same archive.

Each probe runs in both. What differs belongs to an entry of intended.toml, with its reason.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from comparing import ask, compare, intended, unexpected
from moving import PYTHON_SERIES

pytestmark = pytest.mark.e2e
PROBES = Path(__file__).parent / "probes"
# By the name of a probe: options and environments that it is run with; "" is no such variable.
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
# Each entry of intended.toml that a test of this run has needed.
ENTRIES = intended()
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
    found = unexpected(compare(name, *answers), ENTRIES)
    DONE.add(name)
    assert not found, f"{len(found)} differences:\n" + "\n".join(map(str, found[:40]))


@pytest.mark.skipif(PYTHON_SERIES > (3, 11), reason="some entries are for older series alone")
def test_each_intended_difference_still_exists():
    """Delete entries that no probe needs any more."""
    if not set(RUNS) <= DONE:
        pytest.skip("this needs the answers of all probes")
    assert [entry.id for entry in ENTRIES if entry.addresses and not entry.used] == []
