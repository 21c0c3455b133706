"""Tracers, profilers and debuggers see each line and call."""

from __future__ import annotations

import json
import subprocess

import pytest
from moves import PYTHON_SERIES, host_python

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(PYTHON_SERIES != (3, 11), reason="3.12 has another way, before they see it"),
]
SERIES = "{}.{}".format(*PYTHON_SERIES)

# Each case starts, stops or replaces a trace function in another place.
CASES = r"""
import json, sys, threading

found = []
case = None

def tracer(frame, event, arg):
    if frame.f_code.co_filename == "<string>" and not frame.f_code.co_name.startswith("_"):
        found.append([case, event, frame.f_code.co_name, frame.f_lineno])
        if event == "opcode":
            found[-1].append(frame.f_lasti)
    return tracer

def profiler(frame, event, arg):
    name = getattr(arg, "__name__", "") if event.startswith("c_") else frame.f_code.co_name
    if frame.f_code.co_filename == "<string>" and not name.startswith("_"):
        found.append([case, event, name])

def leaf(n):
    total = 0
    for i in range(n):
        total += i
    return total

def numbers(n):
    for i in range(n):
        yield i * 2

def raising():
    try:
        int("x")
    except ValueError:
        pass
    return [k for k in numbers(2)]

def in_the_middle():
    a = leaf(1)
    sys.settrace(tracer)
    sys._getframe().f_trace = tracer
    b = a + 1
    c = [b,
         leaf(2)]
    sys.settrace(None)
    return c + [leaf(1)]

class Closing:
    def __del__(self):
        sys.settrace(tracer)
        sys._getframe(1).f_trace = tracer

def by_a_destructor():
    one = Closing()
    one = 1
    two = leaf(1)
    sys.settrace(None)
    return two

def opcodes():
    sys._getframe().f_trace_opcodes = True
    x = 1
    y = x + 1
    return x < y

def with_opcodes():
    sys.settrace(tracer)
    sys._getframe().f_trace = tracer
    sys._getframe().f_trace_opcodes = True
    if 1 < len(found) + 3:
        z = opcodes()
    sys.settrace(None)

def jumps():
    sys.settrace(jumper)
    skipped()
    sys.settrace(None)

def jumper(frame, event, arg):
    if frame.f_code.co_name == "skipped":
        found.append([case, event, frame.f_lineno])
        if event == "line" and frame.f_lineno == frame.f_code.co_firstlineno + 2:
            frame.f_lineno += 1
        return jumper

def skipped():
    a = 1
    found.append("this is jumped over")
    return a

def many_arguments():
    sys.settrace(tracer)
    wide()
    sys.settrace(None)

# More than 255 constants and names: EXTENDED_ARG.
exec("def wide():\n" + "".join(f"    v{i} = {i}.5\n" for i in range(300)) + "    return v299\n")

def other_threads():
    started, end = threading.Event(), threading.Event()
    def _plain():
        started.set()
        total = 0
        while not end.is_set():
            total += leaf(3)
        return total
    untraced = threading.Thread(target=_plain)
    untraced.start()
    started.wait()
    sys.settrace(tracer)
    leaf(2)
    raising()
    sys.settrace(None)
    end.set()
    untraced.join()

def one_of_two_stops():
    def _other():
        sys.settrace(tracer)
        sys.settrace(None)
    sys.settrace(tracer)
    one = threading.Thread(target=_other)
    one.start()
    one.join()
    leaf(2)
    sys.settrace(None)

def new_threads():
    threading.settrace(tracer)
    one = threading.Thread(target=leaf, args=(2,))
    one.start()
    one.join()
    threading.settrace(None)
    leaf(1)

def profiled():
    sys.setprofile(profiler)
    leaf(1)
    raising()
    sys.settrace(tracer)
    leaf(1)
    sys.setprofile(None)
    leaf(1)
    sys.settrace(None)
    leaf(1)

def ended_generator():
    one = numbers(3)
    next(one)
    sys.settrace(tracer)
    next(one)
    one.close()
    sys.settrace(None)

for case in ("in_the_middle", "by_a_destructor", "with_opcodes", "jumps", "many_arguments",
              "other_threads", "one_of_two_stops", "new_threads", "profiled", "ended_generator",
              "in_the_middle"):
    for _ in range(3):
        globals()[case]()
for _ in range(100):   # quickened, and then traced
    leaf(9)
case = "quickened"
in_the_middle()
print(json.dumps(found))
"""


def test_tracing_sees_what_a_stock_python_shows(built, payload):
    """Events, lines and offsets are compared; tracing starts inside functions and threads."""
    argv = [host_python(), "-I", "-c", CASES]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    expected = json.loads(done.stdout)
    found = json.loads(built.run(payload / "bin/python3", "-I", "-c", CASES).stdout)
    assert len(expected) > 1000
    assert found == expected


# Debuggers (pydevd) attach to threads through their state, without a function call.
ATTACH = """\
#define Py_BUILD_CORE 1
#include <Python.h>

static int lines = 0, calls = 0;

static int tracer(PyObject *self, PyFrameObject *frame, int what, PyObject *arg)
{
    lines += what == PyTrace_LINE;
    calls += what == PyTrace_CALL;
    return 0;
}

static PyObject *attach(PyObject *self, PyObject *ident)
{
    unsigned long wanted = PyLong_AsUnsignedLong(ident);
    PyThreadState *state = PyInterpreterState_ThreadHead(PyInterpreterState_Get());
    for (; state != NULL; state = PyThreadState_Next(state)) {
        if (state->thread_id == wanted) {
            state->c_tracefunc = tracer;
            state->cframe->use_tracing = 255;
        }
    }
    Py_RETURN_NONE;
}

static PyObject *count(PyObject *self, PyObject *none) { return PyLong_FromLong(lines); }
static PyObject *called(PyObject *self, PyObject *none) { return PyLong_FromLong(calls); }

static PyMethodDef methods[] = {
    {"attach", attach, METH_O, NULL}, {"count", count, METH_NOARGS, NULL},
    {"called", called, METH_NOARGS, NULL}, {NULL}
};
static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, "attaching", NULL, 0, methods};
PyMODINIT_FUNC PyInit_attaching(void) { return PyModule_Create(&def); }
"""
ATTACHED = """\
import attaching, threading, time
ends = []
def waits():
    while not ends:
        time.sleep(0.001)
def works():
    total = 0
    while not ends:
        total += 1
for target in (waits, works):
    thread = threading.Thread(target=target)
    thread.start()
    time.sleep(0.05)
    before = attaching.count()
    attaching.attach(thread.ident)
    deadline = time.monotonic() + 20
    while attaching.count() < before + 10 and time.monotonic() < deadline:
        time.sleep(0.01)
    print(target.__name__, attaching.count() >= before + 10)
    ends.append(1)
    thread.join()
    ends.clear()
def leaf(n):
    return n + 1
before = attaching.called()
attaching.attach(threading.get_ident())
leaf(1)
leaf(2)
leaf(3)
print(attaching.called() - before)
"""


def test_debugger_attaches_to_running_threads(built, payload, tmp_path):
    """The threads run loops without Python calls."""
    (tmp_path / "attaching.c").write_text(ATTACH)
    include = f"-I{payload}/include/python{SERIES}"
    argv = ["cc", "-shared", "-fPIC", include, f"{include}/internal", tmp_path / "attaching.c"]
    subprocess.run([*argv, "-o", tmp_path / "attaching.so"], check=True)
    done = built.run(payload / "bin/python3", "-c", ATTACHED, cwd=tmp_path)
    assert done.stdout == "waits True\nworks True\n3\n"
