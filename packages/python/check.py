"""What a Python payload has to do, wherever it stands; run by ``rezbuild check``."""

import json

# By package: how its library says its version from inside Python. Of others the folder that they
# were bundled into says it.
VERSIONS = {
    "openssl": "__import__('ssl').OPENSSL_VERSION.split()[1]",
    "readline": "__import__('readline')._READLINE_LIBRARY_VERSION",
    "sqlite": "__import__('sqlite3').sqlite_version",
    "ncurses": "'%d.%d' % __import__('curses').ncurses_version[:2]",
    "tcl": "__import__('tkinter').Tcl().eval('info patchlevel')",
    "zlib": "__import__('zlib').ZLIB_RUNTIME_VERSION",
    "bzip2": "text(bundled('libbz2').BZ2_bzlibVersion).split(',')[0]",
    "xz": "text(bundled('liblzma').lzma_version_string)",
}
ASK = """\
import ctypes, json, pathlib, sys
def text(function):
    function.restype = ctypes.c_char_p
    return function().decode()
def bundled(stem):
    (path,) = pathlib.Path(sys.prefix, "deps").glob(f"*/*/lib/{stem}[-.]*so*")
    return ctypes.CDLL(str(path))
found = {}
for name, code in json.loads(sys.argv[1]).items():
    try:
        found[name] = eval(code)
    except Exception as error:
        found[name] = f"{type(error).__name__}: {error}"
print(json.dumps(found))
"""
# Each in a process of its own; what it prints is shown, and a failure is one trace's last line.
TRIALS = {
    "TLS": """\
import ssl
context = ssl.create_default_context()
assert context.verify_mode == ssl.CERT_REQUIRED and context.check_hostname
assert ssl.HAS_TLSv1_3 and ssl.HAS_SNI and ssl.HAS_ALPN
assert context.get_ciphers(), "no ciphers"
print(f"{ssl.OPENSSL_VERSION}, {len(context.get_ciphers())} ciphers")
""",
    "hashes": """\
import hashlib, zlib
for name in sorted(hashlib.algorithms_guaranteed):
    digest = hashlib.new(name, b"abc")
    digest.hexdigest(8) if name.startswith("shake") else digest.hexdigest()
assert hashlib.scrypt(b"a", salt=b"b", n=16, r=1, p=1)
assert hashlib.sha256(b"abc").hexdigest().startswith("ba7816bf") and zlib.crc32(b"abc") == 891568578
print(", ".join(sorted(hashlib.algorithms_guaranteed)))
""",
    "sqlite": """\
import sqlite3
base = sqlite3.connect(":memory:")
base.enable_load_extension(True)
options = {row[0].partition("=")[0] for row in base.execute("pragma compile_options")}
wanted = set("COLUMN_METADATA DBSTAT_VTAB FTS3 FTS4 FTS5 GEOPOLY MATH_FUNCTIONS PREUPDATE_HOOK "
             "RTREE SESSION UNLOCK_NOTIFY".split())
lost = sorted(name for name in wanted if "ENABLE_" + name not in options)
assert not lost, f"compiled without {', '.join(lost)}"
base.execute("create virtual table words using fts5(word)")
base.execute("insert into words values ('studio')")
assert base.execute("select count(*) from words where words match 'stud*'").fetchone() == (1,)
assert base.execute("select json_extract('[7]', '$[0]')").fetchone() == (7,)
assert sqlite3.threadsafety in (1, 3)
print(sqlite3.sqlite_version)
""",
    "ctypes": """\
import ctypes, os
assert ctypes.CDLL(None).getpid() == os.getpid()
compare = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.POINTER(ctypes.c_int)] * 2)
numbers = (ctypes.c_int * 3)(3, 1, 2)
ctypes.CDLL(None).qsort(numbers, 3, 4, compare(lambda a, b: a[0] - b[0]))
assert list(numbers) == [1, 2, 3], "a callback went wrong"
print("calls and callbacks")
""",
    "compression": """\
import bz2, gzip, lzma
data = b"abc" * 1000
for module in (bz2, gzip, lzma):
    assert module.decompress(module.compress(data)) == data
assert lzma.decompress(lzma.compress(data, lzma.FORMAT_ALONE)) == data
print("gzip, bzip2, xz")
""",
    "databases": """\
import dbm.gnu, dbm.ndbm, os, tempfile
for module in (dbm.gnu, dbm.ndbm):
    with tempfile.TemporaryDirectory() as folder, module.open(folder + "/base", "c") as base:
        base[b"a"] = b"b"
        assert base[b"a"] == b"b"
print("dbm.gnu, dbm.ndbm (by %s)" % dbm.ndbm.library)
""",
    "processes": """\
import multiprocessing, sys
def main():
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(abs, [-1, -2]) == [1, 2]
    assert multiprocessing.get_context("spawn").Lock()
    print("pools, semaphores")
main()
""",
    "text": """\
import curses, decimal, readline, unicodedata, uuid
assert decimal.Decimal(2).sqrt().to_eng_string() == "1.414213562373095048801688724"
assert decimal.HAVE_THREADS
assert "libedit" not in readline.__doc__
curses.setupterm("xterm-256color", 1)
assert curses.tigetnum("colors") == 256, "terminfo of xterm-256color is not found"
assert uuid._generate_time_safe, "uuid was built without libuuid"
print("decimal, uuid, curses with terminfo, Unicode " + unicodedata.unidata_version)
""",
}


def quick(c):
    """Yields one result for each thing tried; seconds altogether."""
    python = c.root / "bin/python3"
    yield _run(c, "standard library", python, "-I", "-B", c.recipe / "stdlib.py")
    for name, code in TRIALS.items():
        yield _run(c, name, python, "-I", "-B", "-c", code)
    yield _versions(c, python)


def suite(c, tests):
    """CPython's own test suite: all of it, or the files named."""
    from . import check_regrtest

    return check_regrtest.suite(c, tests)


def _run(c, name, *argv):
    done = c.run(*argv)
    lines = done.stdout.splitlines()
    if done.returncode == 0 and lines:
        return c.result(name, lines[-1])
    return c.result(name, "", [*lines, *done.stderr.splitlines()[-1:]] or ["it crashed"])


def _versions(c, python):
    """The libraries are those that ``rezbuild.json`` says it was built against."""
    built = c.record.get("built_against", {})
    ask = {name: code for name, code in VERSIONS.items() if name in built}
    done = c.run(python, "-I", "-B", "-c", ASK, json.dumps(ask))
    if done.returncode != 0:
        return c.result("versions", "", done.stderr.splitlines()[-1:] or ["it crashed"])
    found = json.loads(done.stdout)
    for folder in (c.root / "deps").glob("*/*"):
        if folder.parent.name in built:
            found.setdefault(folder.parent.name, folder.name)
    wrong = [
        f"{name} is {version}, and rezbuild.json says {built[name]}"
        for name, version in sorted(found.items())
        if not f"{built[name]}.".startswith(f"{version}.")
    ]
    return c.result("versions", ", ".join(f"{n} {v}" for n, v in sorted(found.items())), wrong)
