"""Numbers go into array.array, and out of it, without detours, and as CPython has it."""

from __future__ import annotations

import json
import subprocess

import pytest
from moving import PYTHON, host_python

pytestmark = pytest.mark.e2e

OUTCOMES = r"""
import array, json, math

class Index:
    def __index__(self): return 7
class Float:
    def __float__(self): return 2.5
class Whole(int):
    def __index__(self): return 9
class Part(float):
    def __float__(self): return 0.25
class Broken:
    def __index__(self): raise KeyError("index")
    def __float__(self): raise KeyError("float")

numbers = {0, 1, -1, 255, 256, *(s * 2**n + d for n in (7, 8, 15, 16, 29, 30, 31, 32, 62, 63, 64)
                                 for s in (1, -1) for d in (-1, 0, 1))}
values = [*sorted(numbers), True, 1.5, -1.0, 3.4e38, 1e39, -0.0, math.inf, "x", None, 1j]
values += [Index(), Float(), Whole(3), Part(4.0), Broken()]
indices = [0, -1, 2, 3, -3, -4, True, Index(), Whole(0), 2**80, -2**80, 1.0, "0", None]

def outcome(do):
    try:
        return repr(do())
    except Exception as error:
        return f"{type(error).__name__}: {error}"

found = []
for code in "bBhHiIlLqQfd":
    def stored(value):
        one = array.array(code, [5, 5, 5])
        try:
            one[1] = value
        finally:
            assert one[0] == one[2] == 5
        return one, one.tobytes().hex()
    def put(index):
        one = array.array(code, [5, 6, 7])
        one[index] = 9
        return one
    def deleted(index):
        one = array.array(code, [5, 6, 7])
        del one[index]
        return one
    found += [[code, "value", i, outcome(lambda: stored(v))] for i, v in enumerate(values)]
    three = array.array(code, [5, 6, 7])
    for way in (put, deleted, three.__getitem__):
        found += [[code, way.__name__, i, outcome(lambda: way(x))] for i, x in enumerate(indices)]
    slices = [slice(1, None), slice(None, None, -2), slice(9, 9), slice(0, 2)]
    found += [[code, str(s), outcome(lambda: three[s])] for s in slices]
    def assigned(s):
        one = three[:]
        one[s] = array.array(code, [1, 2])
        return one
    found += [[code, "=", str(s), outcome(lambda: assigned(s))] for s in slices]
    found.append([code, "other", outcome(lambda: three.__setitem__(slice(0, 1), [1]))])
print(json.dumps(found))
"""


def test_what_is_stored_and_what_is_refused(built, payload):
    """As by the same version without our patch, down to the words of each error."""
    argv = [host_python(), "-I", "-c", OUTCOMES]
    expected = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    found = built.run(payload / "bin/python3", "-I", "-c", OUTCOMES).stdout
    assert json.loads(found) == json.loads(expected)


RATIO = """\
import array, statistics, time

def fill(items, value, times=range(20_000)):
    start = time.process_time()
    for _ in times:
        items[1] = value
        items[2] = value
        items[3] = value
        items[4] = value
    return time.process_time() - start

def ratio(code, value):
    many = array.array(code, [0] * 8)
    plain = [0] * 8
    return statistics.median(fill(many, value) / fill(plain, value) for _ in range(40))

print(ratio("d", 0.5), ratio("i", 5), ratio("B", 5))
"""


@pytest.mark.skipif(PYTHON != "3.11.2", reason="only 3.11.2 has the patch")
def test_storing_takes_no_detour(built, payload):
    """In the times that a list takes, which has an instruction of its own: CPython needs 3 to 4."""
    found = built.run(payload / "bin/python3", "-I", "-c", RATIO).stdout.split()
    assert all(float(one) < 2.5 for one in found), found
