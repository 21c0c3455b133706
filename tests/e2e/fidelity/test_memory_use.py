"""The payload allocates, keeps and returns memory as the stock build does."""

from __future__ import annotations

import json

import pytest
from inspection import Pair, run

pytestmark = pytest.mark.e2e
# One object in 40,000 stays, and keeps its arena. RssAnon does not count pages of files, so the
# program's size does not matter. RssAnon varies by 2 % with the addresses that Linux chooses.
KEPT = """\
import json
def resident():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))
kept = [(i, i) for i in range(3_000_000)]
kept = kept[::40_000]
print(json.dumps(resident()))
"""
# RLIMIT_AS is 9. Like psutil, the script calls the C library instead of the module resource.
LIMITED = """\
import ctypes, json, threading
libc = ctypes.CDLL(None)
limit = (ctypes.c_ulong * 2)(320 << 20, 320 << 20)
assert libc.setrlimit(9, limit) == 0
libc.malloc.restype = ctypes.c_void_p
place = libc.malloc(ctypes.c_size_t(128 << 20))
done = []
thread = threading.Thread(target=done.append, args=(True,))
thread.start()
thread.join()
print(json.dumps([place is not None, done]))
"""


@pytest.mark.parametrize("allocator", ["", "malloc"])
def test_same_memory_is_kept_after_objects_are_freed(pair: Pair, allocator):
    env = {"PYTHONMALLOC": allocator} if allocator else {}
    expected, found = pair.compare(
        lambda prefix: int(run(prefix / "bin/python3", "-c", KEPT, **env))
    )
    assert found <= 1.05 * expected


def test_same_memory_is_free_under_an_address_limit(pair: Pair):
    """The allocator reserves no address space: 128 MiB and a thread fit below 320 MiB."""
    expected, found = pair.compare(
        lambda prefix: json.loads(run(prefix / "bin/python3", "-c", LIMITED))
    )
    assert expected == [True, [True]]
    assert found == expected
