"""Observable behavior: audit events, warnings, pickles, signals, limits and threads."""

import contextlib
import ctypes
import importlib
import json
import os
import pickle
import re
import resource
import signal
import subprocess
import sys
import threading
import warnings

ADDRESS = re.compile("0x[0-9a-f]+")
events = []
sys.addaudithook(lambda event, args: events.append((event, args)))
import _csv  # noqa: F401
import csv
import shlex
import wave  # noqa: F401

found = {
    "imported": [ADDRESS.sub("*", str(args)) for event, args in events if event == "import"],
    "opened": [str(args[0]) for event, args in events if event == "open"],
    "executed": [args[0].co_filename for event, args in events if event == "exec"],
    "other events": sorted({event for event, _ in events} - {"import", "open", "exec"}),
}
sys.stderr.flush()

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    # Deprecated, and removed in 3.12 or 3.13.
    for name in ("imp", "pipes", "sre_compile"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    found["warnings"] = [[str(w.message), w.category.__name__, w.filename] for w in caught]

values = [shlex.shlex, csv.QUOTE_ALL, {"a": [1, 2.5, None]}, os.path.join, csv.Dialect, len]
found["pickles"] = [pickle.dumps(value, protocol=4).hex() for value in values]
found["signals"] = {s.name: repr(signal.getsignal(s)) for s in signal.valid_signals()
                    if isinstance(s, signal.Signals)}  # fmt: skip

LIMITED = """
import ctypes, threading
libc = ctypes.CDLL(None, use_errno=True)
class Limit(ctypes.Structure):
    _fields_ = [("soft", ctypes.c_ulong), ("hard", ctypes.c_ulong)]
limit = Limit(320 << 20, 320 << 20)
assert libc.setrlimit(9, ctypes.byref(limit)) == 0
libc.malloc.restype = ctypes.c_void_p
print(libc.malloc(ctypes.c_size_t(128 << 20)) is not None)
thread = threading.Thread(target=print, args=("thread",))
thread.start(); thread.join()
print(len([[i] for i in range(100_000)]))
"""


def run(code, *options):
    argv = [sys.executable, *options, "-c", code]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return [done.returncode, done.stdout, done.stderr]


found["limits by C"] = run(LIMITED)
found["limits"] = [
    list(resource.getrlimit(getattr(resource, n))) for n in ("RLIMIT_AS", "RLIMIT_STACK")
]
found["stack size"] = threading.stack_size()
found["pythonapi"] = [ctypes.pythonapi._name, hasattr(ctypes.pythonapi, "Py_Initialize")]
found["verbose"] = [
    ADDRESS.sub("*", line)
    for line in run("import csv", "-v")[2].splitlines()
    if line.startswith("import 'csv'")
]
found["imported in time"] = sorted(
    line.rpartition("|")[2].strip()
    for line in run("import csv", "-X", "importtime")[2].splitlines()
)
found["uncaught"] = run("import json\njson.loads('x')")
found["uncaught in C"] = run("import _csv\n_csv.reader(1)")
found["missing"] = run("import missing_module")
found["deep"] = run("def f(): f()\nf()")[2][-200:]
found["interrupted"] = run("import os, signal\nos.kill(os.getpid(), signal.SIGINT)")
print(json.dumps(found))
