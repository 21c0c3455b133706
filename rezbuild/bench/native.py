"""The speed of the native libraries: each does a fixed piece of work, called from Python."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rezbuild.bench.interpreters import Interpreter
from rezbuild.bench.numbers import Measurement, interleave
from rezbuild.bench.start import command
from rezbuild.errors import CheckError
from rezbuild.util.processes import capture, last_line

# Text that compresses like a log or a scene file; the same in each Python.
_TEXT = """\
import random
rng = random.Random(1)
words = ["".join(rng.choice("etaoinsh") for _ in range(rng.randrange(2, 9))) for _ in range(500)]
text = " ".join(rng.choice(words) for _ in range(100_000)).encode()
"""
# A handshake without certificates: key exchange, key derivation and the records of TLS.
_HANDSHAKE = """\
import ssl
contexts = [ssl.SSLContext(kind) for kind in (ssl.PROTOCOL_TLS_CLIENT, ssl.PROTOCOL_TLS_SERVER)]
for context in contexts:
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AECDH-AES256-SHA:@SECLEVEL=0")
def connect():
    pipes = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        contexts[0].wrap_bio(pipes[0], pipes[1]),
        contexts[1].wrap_bio(pipes[1], pipes[0], server_side=True),
    ]
    waiting = list(ends)
    while waiting:
        for end in list(waiting):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(end)
    return ends
"""
_ROWS = """\
import sqlite3
def work():
    connection = sqlite3.connect(":memory:")
    connection.execute("create table shots (name text, frame integer, size real)")
    rows = ((f"sh{i % 300}", i, i / 3) for i in range(100_000))
    connection.executemany("insert into shots values (?, ?, ?)", rows)
    connection.execute("create index by_name on shots (name)")
    query = "select name, count(*), sum(size) from shots where frame > ? group by name order by 3"
    for limit in range(0, 50_000, 10_000):
        connection.execute(query, (limit,)).fetchall()
    connection.close()
"""
# Code that defines the function work(), by the name of the measurement.
CASES = {
    "zlib, compress": _TEXT + "import zlib\ndef work(): zlib.compress(text, 6)",
    "zlib, decompress": _TEXT
    + "import zlib\npacked = zlib.compress(text)\n"
    + "def work():\n    for _ in range(20): zlib.decompress(packed)",
    "bz2, compress": _TEXT + "import bz2\ndef work(): bz2.compress(text)",
    "lzma, compress": _TEXT + "import lzma\ndef work(): lzma.compress(text, preset=1)",
    "sha256": "import hashlib\ndef work(): hashlib.sha256(bytes(50_000_000))",
    "TLS, 50 handshakes": _HANDSHAKE + "def work():\n    for _ in range(50): connect()",
    "TLS, 20 MB": _HANDSHAKE
    + "client, server = connect()\nblock = bytes(10_000)\ndef work():\n"
    + "    for _ in range(2000):\n        client.write(block)\n        server.read(10_000)",
    "sqlite": _ROWS,
    "expat": "from xml.parsers import expat\n"
    "document = '<s>' + '<node name=\"n\" kind=\"x\">1.5</node>' * 40_000 + '</s>'\n"
    "def work(): expat.ParserCreate().Parse(document, True)",
    "mpdecimal": "import decimal\ndecimal.getcontext().prec = 20_000\n"
    "def work():\n    for i in range(2, 7): decimal.Decimal(i).sqrt()",
    "libffi": "import ctypes\nlabs = ctypes.CDLL(None).labs\nlabs.argtypes = [ctypes.c_long]\n"
    "def work():\n    for _ in range(300_000): labs(-5)",
}
# The first call fills caches.
_TIMED = """
import time
work()
begin = time.perf_counter()
work()
print(time.perf_counter() - begin)
"""


def measure_libraries(pair: Sequence[Interpreter], rounds: int) -> Iterator[Measurement]:
    """Measure the time of each piece of work, without the start of the process.

    Raises:
        CheckError: A piece fails.
    """
    for name, code in CASES.items():
        found = interleave(pair, rounds, lambda one, code=code: _time(one, code))  # type: ignore[misc]
        yield Measurement("native", name, "s", *(tuple(each) for each in found))


def _time(interpreter: Interpreter, code: str) -> float:
    """Run a piece of work, and return its time in seconds."""
    done = capture(command(interpreter, code + _TIMED), env={})
    if done.returncode != 0:
        raise CheckError(
            f"{interpreter.label} fails: {last_line(done.stderr)}",
            advice=["leave out the part native: --only"],
        )
    return float(done.stdout)
