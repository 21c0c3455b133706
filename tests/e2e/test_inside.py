"""What bin/python3 has inside behaves as if it were in files, and a process has one runtime."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from moving import PYTHON, PYTHON_SERIES

from rezbuild import manifest
from rezbuild.loading import load

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(PYTHON_SERIES < (3, 11), reason="to 3.10 all of it is in files"),
]
SERIES = ".".join(PYTHON.split(".")[:2])
RECIPE = Path(__file__).parents[2] / "packages/python"
freeze = load(RECIPE, "freeze.py")


def ask(built, payload: Path, code: str, *options: str, cwd: Path | str = "/", **env: str):
    """What the code prints as JSON."""
    done = built.run(payload / "bin/python3", *options, "-c", code, cwd=cwd, **env)
    return json.loads(done.stdout)


SAME = """\
import _imp, json, sys, types
def plain(code):
    consts = [constant(c) for c in code.co_consts]
    return (code.co_code, code.co_names, code.co_filename, code.co_firstlineno, str(consts))
def constant(value):
    if isinstance(value, types.CodeType):
        return plain(value)
    # Of no order of its own, and of another one in each process.
    return sorted(map(repr, value)) if isinstance(value, frozenset) else repr(value)
wrong = []
for name, file in json.loads(sys.argv[1]).items():
    code = _imp._stdlib_code(name, True)
    if code is None:
        wrong.append([name, "is not inside"])
        continue
    _imp._fix_co_filename(code, file)
    with open(file, "rb") as source:
        if plain(code) != plain(compile(source.read(), file, "exec", dont_inherit=True)):
            wrong.append([name, "is another code"])
print(json.dumps(wrong))
"""


def test_the_code_inside_is_that_of_the_files(built, payload):
    lib = f"{payload}/lib/python{SERIES}"
    files = {name: f"{lib}/{file}" for name, file, _ in freeze.modules(lib)}
    assert len(files) > 250
    done = built.run(payload / "bin/python3", "-I", "-c", SAME, json.dumps(files))
    assert json.loads(done.stdout) == []


MODULE = """\
import importlib.machinery, importlib.resources, inspect, json, os, sys, traceback
import argparse, email.message, json.decoder, logging, asyncio
def facts(module):
    spec = module.__spec__
    return {
        "file": module.__file__,
        "origin": spec.origin,
        "cached": spec.cached,
        "package": module.__package__,
        "path": list(getattr(module, "__path__", [])),
        "source": inspect.getsource(module) == open(module.__file__).read(),
        "loader": isinstance(module.__loader__, importlib.machinery.SourceFileLoader),
        "has_location": spec.has_location,
    }
modules = (argparse, email, email.message, json.decoder, logging, asyncio)
found = {module.__name__: facts(module) for module in modules}
found["function"] = inspect.getsource(logging.Logger.info)[:12]
try:
    json.loads("x")
except ValueError as error:
    found["traceback"] = traceback.format_exc()
found["resource"] = importlib.resources.files("asyncio").joinpath("events.py").is_file()
print(json.dumps(found))
"""


def test_a_module_says_the_same_as_one_from_a_file(built, payload):
    """The interpreter can be told to read the files: all that can be asked is the same."""
    inside = ask(built, payload, MODULE, "-I")
    files = ask(built, payload, MODULE, "-I", "-X", "frozen_modules=off")
    assert inside == files
    assert inside["argparse"]["file"] == f"{payload}/lib/python{SERIES}/argparse.py"
    assert "raise JSONDecodeError" in inside["traceback"]


def test_where_the_code_comes_from(built, payload):
    """With -O and on request from the files, and without those from inside alone."""
    code = "import json, textwrap as m; print(json.dumps(type(m.__loader__).__name__))"
    assert ask(built, payload, code, "-I") == "_StdlibLoader"
    for options in (("-O",), ("-OO",), ("-X", "frozen_modules=off")):
        assert ask(built, payload, code, "-I", *options) == "SourceFileLoader"
    assert ask(built, payload, "assert False; print(1)", "-O") == 1


@pytest.mark.parametrize("way", ["script", "PYTHONPATH", "namespace"])
def test_what_stands_before_the_standard_library_goes_first(built, payload, tmp_path, way):
    """A user's own module or package of that name counts, as ever."""
    (tmp_path / "shlex.py").write_text("mine = True\n")
    (tmp_path / "email").mkdir()
    (tmp_path / "email/__init__.py").write_text("mine = True\n")
    code = (
        "import json, shlex, email; print(json.dumps([hasattr(m, 'mine') for m in (shlex, email)]))"
    )
    if way == "script":
        (tmp_path / "script.py").write_text(code)
        done = built.run(payload / "bin/python3", tmp_path / "script.py", cwd="/")
        assert json.loads(done.stdout) == [True, True]
    elif way == "PYTHONPATH":
        assert ask(built, payload, code, PYTHONPATH=str(tmp_path)) == [True, True]
    else:
        # A folder without __init__.py is no package while there is one further on.
        (tmp_path / "email/__init__.py").unlink()
        assert ask(built, payload, code, PYTHONPATH=str(tmp_path)) == [True, False]


def test_modules_run_by_m(built, payload, tmp_path):
    """Their own name is their file, as their usage says."""
    (tmp_path / "a.json").write_text("[1]")
    python = payload / "bin/python3"
    assert built.run(python, "-m", "json.tool", "--compact", tmp_path / "a.json").stdout == "[1]\n"
    assert "usage: calendar.py" in built.run(python, "-m", "calendar", "-h").stdout
    assert "frozen" not in built.run(python, "-m", "tarfile", "-h").stdout
    assert "3.141592653589793" in built.run(python, "-c", "import math; print(math.pi)").stdout


def test_reloading_and_a_second_interpreter(built, payload):
    name = "_xxsubinterpreters" if PYTHON_SERIES < (3, 13) else "_interpreters"
    code = f"import importlib, json, textwrap, {name} as s\nagain = importlib.reload(textwrap)\n"
    code += "i = s.create(); s.run_string(i, 'import argparse, email, ssl'); s.destroy(i)\n"
    code += "print(json.dumps(again is textwrap))"
    assert ask(built, payload, code, "-I") is True


EXTENSION = """\
#include <Python.h>
static PyObject *same(PyObject *self, PyObject *it) { return PyBool_FromLong(it == Py_None); }
static PyMethodDef methods[] = {{"is_none", same, METH_O, NULL}, {NULL}};
static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, "linked", NULL, 0, methods};
PyMODINIT_FUNC PyInit_linked(void) { return PyModule_Create(&def); }
"""


@pytest.mark.parametrize("leaked", [False, True])
def test_a_module_that_is_linked_to_libpython(built, payload, tmp_path, leaked):
    """Boost.Python, USD and others are linked so; it finds the program, and one runtime."""
    (tmp_path / "linked.c").write_text(EXTENSION)
    argv = ["cc", "-shared", "-fPIC", f"-I{payload}/include/python{SERIES}", tmp_path / "linked.c"]
    library = f"-lpython{SERIES}"
    subprocess.run([*argv, f"-L{payload}/lib", library, "-o", tmp_path / "linked.so"], check=True)
    env = {"LD_LIBRARY_PATH": str(payload / "lib")} if leaked else {}
    code = (
        "import json, linked\n"
        "maps = open('/proc/self/maps').read()\n"
        "print(json.dumps([linked.is_none(None), linked.is_none(1), 'libpython' in maps]))"
    )
    assert ask(built, payload, code, cwd=tmp_path, **env) == [True, False, False]


def test_libpython_by_its_name_is_the_program(built, payload):
    """As pythonnet and the like ask for it."""
    soname = f"libpython{SERIES}.so.1.0"
    code = (
        "import ctypes, json\n"
        f"library = ctypes.CDLL({soname!r})\n"
        "address = lambda f: ctypes.cast(f, ctypes.c_void_p).value\n"
        "print(json.dumps(address(library.Py_IsInitialized)"
        " == address(ctypes.pythonapi.Py_IsInitialized)))"
    )
    assert ask(built, payload, code) is True


PRIVATE = ("SSL_", "EVP_", "sqlite3_", "BZ2_", "lzma_", "ffi_", "rl_", "deflate", "gdbm_", "tputs")


@pytest.mark.parametrize("file", ["bin/python3", f"lib/libpython{SERIES}.so.1.0"])
def test_the_libraries_inside_are_nobody_elses(payload, file):
    """Else a library that a DCC brings would call our OpenSSL instead of its own."""
    argv = ["nm", "-D", "--defined-only", payload / file]
    out = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    shown = [line.split()[-1] for line in out.splitlines()]
    assert "Py_Initialize" in shown
    assert [name for name in shown if name.startswith(PRIVATE)] == []


def test_an_embedding_program_starts_without_the_files(built, payload, tmp_path):
    """The shared library has the modules' code as well."""
    source = tmp_path / "embeds.c"
    code = "import argparse; print(type(argparse.__loader__).__name__)"
    source.write_text(
        "#include <Python.h>\nint main(void) { Py_Initialize(); "
        f'return PyRun_SimpleString("{code}") || Py_FinalizeEx(); }}\n'
    )
    argv = ["cc", source, f"-I{payload}/include/python{SERIES}", f"-L{payload}/lib"]
    argv += [f"-lpython{SERIES}", f"-Wl,-rpath,{payload}/lib", "-o", tmp_path / "embeds"]
    subprocess.run(argv, check=True)
    assert built.run(tmp_path / "embeds", cwd="/").stdout == "_StdlibLoader\n"


def test_no_file_was_installed_that_nothing_reads(payload):
    """Compiled modules whose code is inside: only -O would want some, and others."""
    installed = manifest.read_contents(payload)
    tag = f"cpython-{SERIES.replace('.', '')}"
    for _, file, _ in freeze.modules(f"{payload}/lib/python{SERIES}"):
        path = Path(f"lib/python{SERIES}", file)
        assert str(path) in installed
        assert str(path.parent / f"__pycache__/{path.stem}.{tag}.pyc") not in installed
    assert f"lib/python{SERIES}/__pycache__/turtle.{tag}.pyc" in installed
