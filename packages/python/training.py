"""The training for PGO: programs like those of a studio.

    TRAINING_JOBS=8 ./python training.py

The instrumented interpreter runs it in the folder of its source (CPython's PROFILE_TASK). First it
runs CPython's selection of tests, which cover much code a few times, then common workloads often.
"""

import array
import asyncio
import binascii
import bisect
import collections
import contextlib
import copy
import csv
import dataclasses
import enum
import functools
import heapq
import io
import itertools
import json
import logging
import math
import operator
import os
import pathlib
import pickle
import random
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from xml.etree import ElementTree as ET

NAME = re.compile(r"(?P<show>[a-z]+)_(?P<shot>\d{3,4})_(?P<task>\w+?)_v(?P<version>\d+)\.(\w+)$")
LINE = "2024-01-02 12:00:01 ERROR [render/7] frame 1001 failed: cannot open /a/b/c.1001.exr\n"
SHOTS = [{"name": f"sh{i}", "range": [1001, i], "fps": 24.0, "note": None} for i in range(60)]
SEARCHES = ["/show|_v1", "[/s]ob|os?w", r"[^ -~\s]", r"_\w9", "(?i)SHOW_1", "(?m)^/job", r"\bcomp"]
DATA = {"shots": SHOTS, "text": "größer\n" * 9, "nested": {str(i): [i] for i in range(40)}}


class Vector:
    def __init__(self, x, y, z):
        self.x, self.y, self.z = x, y, z

    def __add__(self, other):
        return Vector(self.x + other.x, self.y + other.y, self.z + other.z)

    def __mul__(self, factor):
        return Vector(self.x * factor, self.y * factor, self.z * factor)

    def dot(self, other):
        return self.x * other.x + self.y * other.y + self.z * other.z

    @property
    def length(self):
        return math.sqrt(self.dot(self))


def vectors():
    points = [Vector(i * 0.5, i % 7, -i) for i in range(300)]
    centre = functools.reduce(operator.add, points) * (1 / len(points))
    far = [point for point in points if (point + centre * -1.0).length > 100.0]
    return sum(point.dot(centre) for point in far)


def numbers():
    a = [[(i * j) % 7 + 0.5 for j in range(24)] for i in range(24)]
    product = [[sum(x * y for x, y in zip(row, column)) for column in zip(*a)] for row in a]
    for i, row in enumerate(product):
        for j in range(i, len(row)):
            row[j] = row[j] / (1.0 + row[i]) - product[j][i]
    x, y, seed, bits = 0.0, 0.0, 12345, 12345
    for step in range(400):
        x, y = x * x - y * y - 0.4, 2.0 * x * y + 0.3 if step % 3 else abs(complex(x, y)) / 4
    sieve = bytearray([1]) * 6000
    for i in range(2, 78):
        if sieve[i]:
            for j in range(i * i, len(sieve), i):
                sieve[j] = 0
    for _ in range(2000):
        seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
        bits ^= seed >> 3 | (seed << 2) & 0xFF
    big = functools.reduce(operator.mul, range(1, 200))
    prices = [str((Decimal(i) / 7 * 3 - 1).quantize(Decimal("0.01"))) for i in range(150)]
    orders = sum(1 for order in itertools.permutations(range(6)) if order[0] < order[-1])
    return product, x, sum(sieve), bits, big // 3**90, str(big)[:9], prices, orders


class Node:
    __slots__ = ("children", "values")

    def __init__(self, parent=None, **values):
        self.children, self.values = [], values
        if parent is not None:
            parent.children.append(self)

    def evaluate(self, frame):
        return sum(child.evaluate(frame) for child in self.children) + len(self.values)

    def walk(self):
        yield self
        for child in self.children:
            yield from child.walk()


class Knob(Node):
    def evaluate(self, frame):
        try:
            return self.values[frame]
        except KeyError:
            return self.values["default"]


def graph():
    root = Node()
    groups = [Node(parent=root) for i in range(8)]
    for i in range(120):
        Knob(groups[i % 8], default=i).values[i % 24] = i * 2
    total = sum(root.evaluate(frame) for frame in range(24))
    knobs = {repr(node): node for node in root.walk() if isinstance(node, Knob)}
    for node in knobs.values():
        node.children.append([node, {"parent": root}])
    return total, sorted(knobs, key=len)[:3], [hasattr(node, "frame") for node in groups]


def containers():
    rng = random.Random(7)
    rows = [(rng.randrange(1000), rng.random(), f"shot{i % 40:03}") for i in range(900)]
    by_shot = collections.defaultdict(list)
    for number, weight, shot in rows:
        by_shot[shot].append((number, weight))
    best = {shot: max(items, key=operator.itemgetter(1)) for shot, items in by_shot.items()}
    odd = {number for number, _, _ in rows if number % 2} & set(range(900)) - {*range(0, 900, 3)}
    low = sorted([row for row in rows if row < rows[0]] + rows[::-7], key=lambda row: row[1])
    best.update(("".join("Q" if x == y * 4 % 9 else "." for x in range(9)), y) for y in range(9))
    numbers, weights, names = zip(*rows)
    ordered = sorted(numbers), sorted(weights), [*reversed(weights)], heapq.nsmallest(99, rows)
    for number in numbers[:300]:
        bisect.insort(ordered[0], number)
    sums = sum(numbers), sum(weights), math.fsum(weights), max(weights), ",".join(names)
    kept = [*map(str, numbers)], [*itertools.accumulate(numbers)], [*collections.deque(names, 500)]
    return collections.Counter(names).most_common(5), best, odd, low, ordered, sums, kept


def text():
    lines, out = [], io.StringIO()
    for i in range(150):
        name = f"show_{i:04}_comp_v{i % 20:03d}.exr"
        match = NAME.match(name)
        lines.append("/".join(["/jobs", match["show"], match["shot"], name.upper().lower()]))
        out.write("%s: %5.2f of %d\n" % (name, i / 3, i))
    whole = "\n".join(lines)
    words = collections.Counter(re.findall(r"[a-z]+|\d+", whole))
    changed = re.sub(r"_v(\d+)", lambda found: f"_v{int(found[1]) + 1:03}", whole)
    parts = [line.rpartition("/")[2].split("_") for line in changed.splitlines()]
    counts = whole.find("zz"), whole.count("sh"), whole.replace("1", "l").swapcase().upper()
    wide = ",".join(whole.replace("show", "größe").split("\n")).strip().title()
    for codec in ("utf-8", "latin-1", "cp1252", "utf-16", "utf-32", "unicode_escape"):
        same = wide.encode(codec).decode(codec), whole.encode(codec).decode("ascii", "ignore")
    found = re.findall(r"(?m)^(\S+) (\S+) (ERROR|WARN) \[(.*?)/(\d+)\] .*? (\d+)", LINE * 9)
    hits = [re.findall(pattern, whole) for pattern in SEARCHES], re.search(r"(a|b)*z", "ab" * 60)
    return words["comp"], counts, parts[-1], found, same, hits


def formats():
    loaded = json.loads(json.dumps(DATA))
    pretty = json.dumps(loaded, indent=2, sort_keys=True, ensure_ascii=False)
    again = pickle.loads(pickle.dumps([loaded, [*range(200)]], protocol=4))
    pickle._Pickler(io.BytesIO(), protocol=4).dump(SHOTS[:10])
    csv.writer(table := io.StringIO()).writerows(shot.values() for shot in SHOTS)
    rows = list(csv.reader(io.StringIO(table.getvalue(), newline=None)))
    root = ET.Element("scene")
    for i in range(40):
        ET.SubElement(ET.SubElement(root, "node", name=f"n{i}"), "value").text = str(i * 0.25)
    values = [float(found.text) for found in ET.fromstring(ET.tostring(root)).iter("value")]
    logger = logging.getLogger("training")
    logger.propagate, logger.handlers = False, [logging.StreamHandler(io.StringIO())]
    logger.setLevel(logging.INFO)
    for i in range(50):
        path = pathlib.PurePosixPath("c/../d.0001.exr")
        logger.info("%s: frame %04d of %s", path.stem, i, path.parent / "x")
        logger.debug("not %s", i)
    return pretty, again, rows, values, sorted(e.suffix for e in pathlib.Path(os.curdir).iterdir())


def buffers():
    data, numbers = bytes(range(256)) * 40, array.array("i", range(2500))
    coded = binascii.b2a_base64(data), data.hex(), binascii.hexlify(data, ":")
    plain = binascii.a2b_base64(coded[0]), bytes.fromhex(coded[1]), binascii.crc32(data)
    found = data.find(b"\xff\1"), data.count(b"ab"), data.split(b"\n"), (b" " * 900 + b"x").strip()
    changed = data.replace(b"a", b"bc"), data.translate(data[255::-1]), data.upper(), data[::-3]
    numbers.byteswap()
    lists = list(memoryview(data)), array.array("d", numbers).tolist(), [data[:9]] * 900
    return coded, plain, found, changed, bytes(lists[0]), b",".join(lists[2])


def compilers():
    re.purge()
    for n in range(3):
        re.compile(rf"^(?:[A-Za-z_][\w.-]*{n})\s*=\s*(?P<v>\"[^\"]*\"|'[^']*'|\d+(?:\.\d+)?)\s*$")
        re.compile(rf"(?i)(\d{{4}})-(\d\d)[T ](?:{n}|x)*|(?<!a)b(?=c)|[^\W\d_]+")
    return compile(pathlib.Path(__file__).read_text()[:6000].rpartition("\n\n\n")[0], "x", "exec")


def numbers_from(limit):
    for i in range(limit):
        if received := (yield i):
            yield received


def generators():
    total = sum(x * y for x, y in zip(numbers_from(400), itertools.count(1)))
    pipe = (n + 1 for n in (m * 2 for m in numbers_from(400) if m % 3) if n % 4)
    chained = list(itertools.chain(range(50), pipe, itertools.islice(itertools.cycle("ab"), 20)))
    return total, chained, next(talker := numbers_from(99)), [talker.send(i) for i in range(40)]


async def deep(item, depth):
    return item if not depth else 1 + await deep(item, depth - 1)


async def work(queue, results):
    while (item := await queue.get()) is not None:
        await asyncio.sleep(0)
        results.append(await deep(item, 6))


def coroutines():
    async def tasks():
        queue, results = asyncio.Queue(), []
        for item in [*range(60), *[None] * 4]:
            queue.put_nowait(item)
        await asyncio.gather(*(work(queue, results) for _ in range(4)))

    asyncio.run(tasks())


State = enum.Enum("State", "WAITING RUNNING DONE")


@dataclasses.dataclass(order=True)
class Job:
    priority: int
    name: str = dataclasses.field(compare=False)
    state: State = dataclasses.field(default=State.WAITING, compare=False)

    def run(self, *args, log=None, **kwargs):
        if self.state is State.DONE:
            raise ValueError(self.name)
        self.state = State.DONE if args else State.RUNNING
        return kwargs.get("result", log)


def jobs():
    every = [Job(i % 5, f"job{i}") for i in range(150)]
    for i, job in enumerate(every):
        with contextlib.suppress(ValueError, KeyError):
            job.run(*[i] * (i % 4), log="x", result=i)
            job.run()
    kept = sorted(copy.deepcopy(every[:12]) + copy.copy(every[12:40]))
    adders = [functools.lru_cache(lambda x, n=n: x + n) for n in range(9)]
    return [add(1) for add in adders * 9], dataclasses.asdict(kept[1])


def starts():
    modules = "ssl, sqlite3, ctypes, argparse, json, logging, pathlib, typing, asyncio"
    others = "unittest.mock, email.message, http.client, xml.etree.ElementTree, zipfile"
    for words in ("pass", f"import {modules}", f"import {others}"):
        subprocess.check_call([sys.executable, "-I", "-c", words])


# Fixed, so that builds are trained equally; 2 to 11 s each, to outweigh the counts of the tests.
WORKLOADS = {vectors: 18000, numbers: 9000, graph: 6000, containers: 4200, text: 6000}
WORKLOADS |= {formats: 6000, buffers: 12000, compilers: 1800, generators: 54000}
WORKLOADS |= {coroutines: 18000, jobs: 12000, starts: 36}


def main(count):
    """Run the tests and then all workloads, as many at once as there are jobs."""
    # A failed test has trained the compiler as well; CPython's make ignores failures, too.
    subprocess.run([sys.executable, "-mtest", "--pgo", "--timeout=1200", f"-j{count}"], check=False)
    with ThreadPoolExecutor(int(count)) as pool:
        again = [[sys.executable, __file__, "--only", one.__name__] for one in WORKLOADS]
        failed = [argv[-1] for argv, code in zip(again, pool.map(subprocess.call, again)) if code]
    # make ignores the exit code; the recipe reads this file.
    pathlib.Path("training-failed").write_text(" ".join(failed))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--only"]:
        workload = globals()[sys.argv[2]]
        for _ in range(WORKLOADS[workload]):
            workload()
    else:
        main(os.environ["TRAINING_JOBS"])
