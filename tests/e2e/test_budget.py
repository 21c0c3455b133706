"""Budgets: file system calls of a start, and the size of a payload.

On NFS, each call is a round trip. A payload is copied to each site and into each host's cache.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from each_chain import MOST
from host_tools import require_tool
from moves import PYTHON_SERIES, variant

from rezbuild.bench.counts import measure_tree
from rezbuild.bench.start import STARTS
from rezbuild.util import strace

# The most file system calls of a start, and the most that fail: those of the whole process, with
# glibc's, as measured on Debian 12. Lower them when a start gets cheaper; never raise them.
LIMITS = {
    (3, 11): {"pass": (35, 4), "libraries": (61, 6), "modules": (62, 4)},
    (3, 13): {"pass": (36, 4), "libraries": (62, 6), "modules": (66, 4)},
}
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(PYTHON_SERIES not in LIMITS, reason="nobody has measured this series"),
]
# Files of the host that a minimal system lacks. The interpreter does not decide whether they exist,
# so failed look-ups of these are not counted.
OPTIONAL = {
    "/usr/share/locale/locale.alias",  # package locales
    "/etc/localtime",  # tzdata
    "/etc/inputrc",  # readline-common
    "/etc/hosts",
    "/etc/nsswitch.conf",
}


# Modules whose code is in the packed file, not in the program.
RARE = "import wave, mailbox, pydoc_data.topics, encodings.cp500"


@pytest.mark.parametrize("name", STARTS)
def test_start_makes_at_most_the_budgeted_calls(payload, name):
    require_tool("strace")
    argv = (payload / "bin/python3", "-I", "-c", STARTS[name])
    traced = strace.trace(argv, env={}, cwd=Path("/"))
    assert traced.status == 0, traced.output
    calls, failed = LIMITS[PYTHON_SERIES][name]
    lost = [call.path for call in traced.failed if call.path not in OPTIONAL]
    assert len(lost) <= failed, "these look-ups fail:\n" + "\n".join(lost)
    assert len(traced.calls) - len(traced.failed) + len(lost) <= calls


def test_rare_modules_are_read_from_one_file(payload):
    require_tool("strace")
    traced = strace.trace((payload / "bin/python3", "-I", "-c", RARE), env={}, cwd=Path("/"))
    assert traced.status == 0, traced.output
    opened = [call.path for call in traced.calls if call.path.endswith((".pyc", ".code"))]
    assert {path.rpartition("/")[2] for path in opened} == {"modules.code"}


def test_payload_size_is_below_the_limit(built):
    """Measure the built payload, because tests write .pyc files into copies."""
    total, number = measure_tree(variant(built.local))
    most_bytes, most_files = MOST
    assert total <= most_bytes
    assert number <= most_files
