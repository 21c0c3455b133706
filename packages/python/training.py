"""The training for PGO: programs like those of a studio.

    TRAINING_JOBS=8 ./python training.py

The instrumented interpreter runs it in the folder of its source (CPython's PROFILE_TASK). First it
runs CPython's selection of tests, which cover much code a few times. Then it runs common workloads
often: objects, numbers, text, file formats, and interpreter starts.
"""

import argparse
import ast
import asyncio
import base64
import collections
import configparser
import contextlib
import copy
import csv
import dataclasses
import decimal
import enum
import functools
import gc
import gzip
import hashlib
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
import sqlite3
import string
import struct
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from xml.etree import ElementTree as ET

STARTS = (
    "pass",
    "import ssl, sqlite3, ctypes, lzma, bz2",
    "import argparse, json, logging, subprocess, pathlib, typing, dataclasses, asyncio",
    "import unittest.mock, email.message, http.client, xml.etree.ElementTree, zipfile",
)


class Vector:
    """Three numbers, as in many tools of studios."""

    def __init__(self, x, y, z):
        self.x, self.y, self.z = x, y, z

    def __add__(self, other):
        return Vector(self.x + other.x, self.y + other.y, self.z + other.z)

    def __mul__(self, factor):
        return Vector(self.x * factor, self.y * factor, self.z * factor)

    def __eq__(self, other):
        return (self.x, self.y, self.z) == (other.x, other.y, other.z)

    def dot(self, other):
        return self.x * other.x + self.y * other.y + self.z * other.z

    @property
    def length(self):
        return math.sqrt(self.dot(self))


def vectors():
    points = [Vector(i * 0.5, i % 7, -i) for i in range(300)]
    centre = functools.reduce(operator.add, points) * (1 / len(points))
    far = [point for point in points if (point + centre * -1.0).length > 100.0]
    return sum(point.dot(centre) for point in far), points[3] == points[4]


def matrices():
    size = 24
    a = [[(i * j) % 7 + 0.5 for j in range(size)] for i in range(size)]
    b = [list(row) for row in zip(*a)]
    product = [[sum(x * y for x, y in zip(row, column)) for column in b] for row in a]
    for i in range(size):
        row = product[i]
        for j in range(i, size):
            row[j] = row[j] / (1.0 + row[i]) - product[j][i]
    return product


def integers():
    sieve = bytearray([1]) * 6000
    for i in range(2, 78):
        if sieve[i]:
            for j in range(i * i, len(sieve), i):
                sieve[j] = 0
    seed, bits = 12345, 0
    for _ in range(2000):
        seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
        bits ^= seed >> 3 | (seed << 2) & 0xFF
    big = functools.reduce(operator.mul, range(1, 200))
    return sum(sieve), bits, big // 3**90, big % 1_000_007, str(big)[:9]


def iterate(width=28, height=20, limit=40):
    inside = 0
    for row in range(height):
        for column in range(width):
            x = y = 0.0
            cx, cy = column / width * 3.0 - 2.0, row / height * 2.0 - 1.0
            count = 0
            while count < limit and x * x + y * y < 4.0:
                x, y = x * x - y * y + cx, 2.0 * x * y + cy
                count += 1
            inside += count == limit
    return inside, sum(abs(complex(k, -k)) for k in range(50))


class Node:
    kind = "node"
    __slots__ = ("children", "name", "parent", "values")

    def __init__(self, name, parent=None):
        self.name, self.parent, self.children, self.values = name, parent, [], {}
        if parent is not None:
            parent.children.append(self)

    def evaluate(self, frame):
        return sum(child.evaluate(frame) for child in self.children) + len(self.values)

    @classmethod
    def made(cls, name, *args, **kwargs):
        return cls(name, *args, **kwargs)

    def walk(self):
        yield self
        for child in self.children:
            yield from child.walk()


class Knob(Node):
    kind = "knob"

    def __init__(self, name, parent, default=0):
        super().__init__(name, parent)
        self.values[0] = default

    def evaluate(self, frame):
        try:
            return self.values[frame]
        except KeyError:
            return self.values[0]

    def __repr__(self):
        return f"{self.kind} {self.name}={self.values!r}"


def graph():
    root = Node("root")
    groups = [Node.made(f"group{i}", parent=root) for i in range(8)]
    for i in range(120):
        knob = Knob(f"knob{i}", groups[i % 8], default=i)
        knob.values[i % 24] = i * 2
    total = sum(root.evaluate(frame) for frame in range(24))
    names = {node.name: node for node in root.walk() if isinstance(node, Knob)}
    return total, sorted(names, key=len)[:3], repr(names["knob7"]), hasattr(root, "frame")


def containers():
    rng = random.Random(7)
    rows = [(rng.randrange(1000), rng.random(), f"shot{i % 40:03}") for i in range(900)]
    by_shot = collections.defaultdict(list)
    for number, weight, shot in rows:
        by_shot[shot].append((number, weight))
    counted = collections.Counter(shot for _, _, shot in rows).most_common(5)
    best = {shot: max(items, key=operator.itemgetter(1)) for shot, items in by_shot.items()}
    queue = collections.deque(maxlen=50)
    heap = []
    for number, weight, _ in rows:
        queue.append(number)
        heapq.heappush(heap, (weight, number))
    first = [heapq.heappop(heap) for _ in range(100)]
    odd = {number for number, _, _ in rows if number % 2} - set(range(0, 900, 3))
    merged = {**best, **dict.fromkeys(string.ascii_letters)}
    merged.pop("a")
    return counted, len(merged), len(odd), first[-1], sorted(rows, key=lambda row: row[1])[:4]


def sort_and_slice():
    rng = random.Random(3)
    items = list(range(1500))
    rng.shuffle(items)
    result = []
    while items:
        pivot = items.pop()
        low = [item for item in items if item < pivot]
        items = [item for item in items if item > pivot]
        result.extend(sorted(low))
        result.append(pivot)
        if len(items) < 20:
            break
    perms = sum(1 for p in itertools.permutations(range(6)) if p[0] < p[-1])
    board = [["."] * 9 for _ in range(9)]
    for i in range(9):
        board[i][(i * 4) % 9] = "Q"
    return result[:5], result[::-7], perms, ["".join(row) for row in board], 5 in items


NAME = re.compile(r"(?P<show>[a-z]+)_(?P<shot>\d{3,4})_(?P<task>\w+?)_v(?P<version>\d+)\.(\w+)$")


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
    wide = whole.replace("show", "größe").encode().decode("utf-8").strip().title()
    table = str.maketrans("aeiou", "AEIOU")
    return words["comp"], len(wide.translate(table)), parts[-1], out.getvalue().count("\n")


def patterns():
    re.purge()
    for n in range(3):
        re.compile(
            rf"^(?:[A-Za-z_][\w.-]*{n})\s*=\s*(?P<v>\"[^\"]*\"|'[^']*'|\d+(?:\.\d+)?)\s*(#.*)?$"
        )
        re.compile(
            rf"(\d{{4}})-(\d\d)-(\d\d)[T ](?:{n}|x)*|(?<!a)b(?=c)|[^\W\d_]+",
            re.IGNORECASE | re.VERBOSE,
        )
    log = (
        "2024-01-02 12:00:01 ERROR [render/7] frame 1001 failed: cannot open /a/b/c.1001.exr\n" * 40
    )
    found = re.findall(r"^(\S+) (\S+) (ERROR|WARN) \[(.*?)/(\d+)\] .*? (\d+)", log, re.MULTILINE)
    return found[:1], len(re.split(r"[\s:/]+", log)), bool(re.search(r"(a|b)*z", "ab" * 60))


DATA = {
    "shots": [
        {
            "name": f"sh{i:03}",
            "range": [1001, 1001 + i],
            "fps": 24.0,
            "on": i % 2 == 0,
            "note": None,
        }
        for i in range(60)
    ],
    "text": 'größer and "quoted"\n' * 5,
    "nested": {str(i): {"k": [i, float(i), str(i)]} for i in range(40)},
}


def formats():
    dumped = json.dumps(DATA)
    loaded = json.loads(dumped)
    pretty = json.dumps(loaded, indent=2, sort_keys=True, ensure_ascii=False)
    again = pickle.loads(pickle.dumps(loaded, protocol=4))
    slow = io.BytesIO()
    pickle._Pickler(slow, protocol=4).dump(DATA["shots"][:10])
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerows((shot["name"], *shot["range"], shot["fps"]) for shot in again["shots"])
    rows = list(csv.reader(io.StringIO(buffer.getvalue())))
    packed = b"".join(struct.pack("<IdH", i, i / 7, i % 999) for i in range(200))
    return len(pretty), len(rows), sum(item[0] for item in struct.iter_unpack("<IdH", packed))


def markup():
    root = ET.Element("scene")
    for i in range(80):
        item = ET.SubElement(root, "node", name=f"n{i}", type="xform")
        ET.SubElement(item, "value").text = str(i * 0.25)
    parsed = ET.fromstring(ET.tostring(root))
    values = [float(item.text) for item in parsed.iter("value")]
    parser = configparser.ConfigParser()
    parser.read_string("".join(f"[s{i}]\nkey = {i}\nother: %(key)s\n" for i in range(12)))
    tree = ast.parse(textwrap.dedent(SOURCE))
    names = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]
    code = compile(tree, "<training>", "exec")
    return (
        sum(values),
        parser["s7"]["other"],
        len(names),
        code.co_names,
        parsed.find("node[@name='n5']"),
    )


SOURCE = '''
    class Reader:
        """Reads."""
        def __init__(self, path, *, mode="r", **options):
            self.path = path
            self.options = {key: value for key, value in options.items() if value is not None}
        def __iter__(self):
            with open(self.path) as stream:
                for number, line in enumerate(stream, start=1):
                    if not line.strip() or line.startswith("#"):
                        continue
                    yield number, line.rstrip().split(",")
    def main(argv=None):
        try:
            return sum(len(row) for _, row in Reader(argv[0] if argv else "x")) or 1
        except (OSError, ValueError) as error:
            raise SystemExit(f"cannot read: {error}") from None
'''


def numbers_from(limit):
    for i in range(limit):
        received = yield i
        if received:
            yield received


def generators():
    total = sum(x * y for x, y in zip(numbers_from(400), itertools.count(1)))
    pipe = (n + 1 for n in (m * 2 for m in numbers_from(400) if m % 3) if n % 4)
    chained = list(itertools.chain(range(50), pipe, itertools.islice(itertools.cycle("ab"), 20)))
    talker = numbers_from(100)
    next(talker)
    return total, len(chained), [talker.send(i) for i in range(1, 40)]


async def _work(queue, results):
    while True:
        item = await queue.get()
        if item is None:
            return
        await asyncio.sleep(0)
        results.append(await _deep(item, 6))


async def _deep(item, depth):
    return item if not depth else 1 + await _deep(item, depth - 1)


async def _tasks():
    queue, results = asyncio.Queue(), []
    workers = [asyncio.ensure_future(_work(queue, results)) for _ in range(4)]
    for item in [*range(60), *[None] * 4]:
        await queue.put(item)
    await asyncio.gather(*workers)
    return sum(results)


def coroutines():
    return asyncio.run(_tasks())


class State(enum.Enum):
    WAITING, RUNNING, DONE = range(3)


@dataclasses.dataclass(order=True)
class Job:
    priority: int
    name: str = dataclasses.field(compare=False)
    state: State = dataclasses.field(default=State.WAITING, compare=False)
    needs: list = dataclasses.field(default_factory=list, compare=False)

    def run(self, *args, log=None, **kwargs):
        if self.state is State.DONE:
            raise ValueError(self.name)
        self.state = State.DONE if args else State.RUNNING
        return kwargs.get("result", log)


@contextlib.contextmanager
def quietly(*errors):
    try:
        yield
    except errors:
        pass


@functools.lru_cache(maxsize=64)
def cached(a, b=1):
    return a + b if a < 2 else cached(a - 1) + cached(a - 2)


def jobs():
    every = [Job(i % 5, f"job{i}") for i in range(150)]
    for i, job in enumerate(every):
        job.needs = [other.name for other in every[max(0, i - 2) : i]]
        with quietly(ValueError, KeyError):
            job.run(i, log="x", result=i) if i % 4 else job.run()
            if i % 4:
                job.run()
    cached.cache_clear()
    adders = [lambda x, n=n: x + n for n in range(10)]
    copied = copy.deepcopy(every[:12])
    kept = sorted(copied + copy.copy(every[12:40]))
    return sum(add(1) for add in adders), cached(60), kept[0], dataclasses.asdict(kept[1])


def tools():
    parser = argparse.ArgumentParser(prog="tool", description="A tool.")
    parser.add_argument("paths", nargs="+", type=pathlib.PurePosixPath)
    parser.add_argument("--frames", default="1-10", help="as in 1-10")
    parser.add_argument("-v", "--verbose", action="count", default=0)
    options = parser.parse_args(["/a/b.exr", "c/../d.0001.exr", "-vv", "--frames=3-9"])
    logger = logging.getLogger("training")
    logger.propagate, logger.handlers = False, [logging.StreamHandler(io.StringIO())]
    logger.setLevel(logging.INFO)
    for path in options.paths:
        for i in range(25):
            logger.info("%s: frame %04d of %s", path.stem, i, path.parent / "x")
            logger.debug("not %s", i)
    here = pathlib.Path("Lib")
    files = [path.suffix for path in here.iterdir()] + os.listdir("Python")
    return len(files), parser.format_help()[:9], os.path.join(str(here), "a").split(os.sep)


def sums():
    data = json.dumps(DATA).encode()
    packed = gzip.compress(data, 6)
    digests = [hashlib.new(name, data).hexdigest() for name in ("md5", "sha1", "sha256")]
    money = sum((decimal.Decimal(i) / 7).quantize(decimal.Decimal("0.01")) for i in range(1, 60))
    view = memoryview(data)[10:-10:3]
    return (
        gzip.decompress(packed) == data,
        digests[2],
        base64.b64encode(data)[:9],
        money,
        bytes(view),
    )


def database():
    connection = sqlite3.connect(":memory:")
    connection.execute("create table v (name text, number integer, size real)")
    rows = [(f"n{i % 30}", i, i / 3) for i in range(300)]
    connection.executemany("insert into v values (?, ?, ?)", rows)
    query = "select name, count(*), sum(size) from v where number > ? group by name order by 2"
    found = connection.execute(query, (40,)).fetchall()[:3], connection.total_changes
    connection.close()
    return found


def garbage():
    kept = []
    for i in range(400):
        a, b = {"i": i}, [i]
        a["b"], b[:0] = b, [a]
        if i % 3 == 0:
            kept.append((a, Vector(i, 0, 0)))
    gc.collect()
    return len(kept)


def threads():
    with ThreadPoolExecutor(3) as pool:
        return sum(pool.map(functools.partial(pow, 3), range(60)))


def starts():
    for command in STARTS:
        subprocess.run([sys.executable, "-I", "-c", command], check=True)


# The number of runs is fixed, so that builds are trained equally; each workload takes about 1 s.
WORKLOADS = {
    vectors: 2000,
    matrices: 1200,
    integers: 1600,
    iterate: 800,
    graph: 700,
    containers: 800,
    sort_and_slice: 1500,
    text: 800,
    patterns: 500,
    formats: 700,
    markup: 250,
    generators: 6000,
    coroutines: 800,
    jobs: 500,
    tools: 80,
    sums: 1000,
    database: 800,
    garbage: 200,
    threads: 150,
    starts: 6,
}


def main(number):
    """Run the tests and then all workloads, as many at once as there are jobs."""
    tests = ("-m", "test", "--pgo", "--timeout=1200", f"-j{number}")
    # A failed test has trained the compiler as well; CPython's make ignores failures, too.
    subprocess.run([sys.executable, *tests], check=False)
    with ThreadPoolExecutor(int(number)) as pool:
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
