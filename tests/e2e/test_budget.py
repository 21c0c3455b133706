"""What a start of the moved Python may ask of the file system: on NFS each call is a round trip."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from moving import PYTHON

from rezbuild import filecalls
from rezbuild.bench.start import STARTS

pytestmark = pytest.mark.e2e

# At most so many calls, and so many of them in vain; of the whole process, glibc's own among them
# (Debian 12's: elsewhere they may differ by a few). Lower them when a start gets cheaper; they go
# up for no one.
LIMITS = {
    "pass": (39, 5),
    "libraries": (69, 7),
    "modules": (73, 5),
}


@pytest.mark.skipif(PYTHON != "3.11.2", reason="the limits are those of CPython 3.11.2")
@pytest.mark.parametrize("name", STARTS)
def test_a_start_stays_within_its_budget(payload, name):
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: apt-get install strace")
    argv = (payload / "bin/python3", "-I", "-c", STARTS[name])
    traced = filecalls.trace(argv, env={}, cwd=Path("/"))
    assert traced.status == 0, traced.output
    calls, failed = LIMITS[name]
    lost = "\n".join(call.path for call in traced.failed)
    assert len(traced.failed) <= failed, f"looked for in vain:\n{lost}"
    assert len(traced.calls) <= calls
