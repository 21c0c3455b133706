"""What a start of the moved Python may ask of the file system, and what a payload may take there.

On NFS each call is a round trip; and a payload is copied to each site, and into each host's cache.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from moving import PYTHON, variant

from rezbuild import filecalls
from rezbuild.bench.counts import size
from rezbuild.bench.start import STARTS

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(PYTHON != "3.11.2", reason="the limits are those of CPython 3.11.2"),
]

# At most so many calls, and so many of them in vain; of the whole process, glibc's own among them
# (Debian 12's: elsewhere they may differ by a few). Lower them when a start gets cheaper; they go
# up for no one.
LIMITS = {
    "pass": (39, 5),
    "libraries": (69, 7),
    "modules": (73, 5),
}


# Whose code is in no program, but packed in one file.
RARE = "import wave, mailbox, lib2to3.pytree, encodings.cp500"
# Bytes (80 MB) and files, as `rezbuild bench` counts them; without tests and debug data.
MOST = (80_000_000, 3_500)


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


def test_rare_modules_are_read_from_one_file(payload):
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: apt-get install strace")
    traced = filecalls.trace((payload / "bin/python3", "-I", "-c", RARE), env={}, cwd=Path("/"))
    assert traced.status == 0, traced.output
    opened = [call.path for call in traced.calls if call.path.endswith((".pyc", ".code"))]
    assert {path.rpartition("/")[2] for path in opened} == {"modules.code"}


def test_a_payload_takes_no_more_than_the_goal(built):
    """As it was built: in a copy that can be written to, tests leave .pyc files."""
    total, number = size(variant(built.local))
    most_bytes, most_files = MOST
    assert total <= most_bytes
    assert number <= most_files
