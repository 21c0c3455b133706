"""Code inside bin/python3 behaves like code in files, and each process has one runtime."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
from pathlib import Path

import pytest
from each_chain import BY_PATH
from moves import PYTHON, PYTHON_SERIES, hide, snapshot
from other_host import unshare

from rezbuild.payload import manifest
from rezbuild.util.import_file import load

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(PYTHON_SERIES < (3, 11), reason="to 3.10 all of it is in files"),
]
SERIES = ".".join(PYTHON.split(".")[:2])
RECIPE = Path(__file__).parents[2] / "packages/python"
freeze = load(RECIPE, "freeze.py")


def ask(built, payload: Path, code: str, *options: str, cwd: Path | str = "/", **env: str):
    """Run code, and return the JSON that it prints."""
    done = built.run(payload / "bin/python3", *options, "-c", code, cwd=cwd, **env)
    return json.loads(done.stdout)


SAME = """\
import _imp, json, pathlib, sys, types
def plain(code):
    consts = [constant(c) for c in code.co_consts]
    return (code.co_code, code.co_names, code.co_filename, code.co_firstlineno, str(consts))
def constant(value):
    if isinstance(value, types.CodeType):
        return plain(value)
    # The order is undefined, and differs in each process.
    return sorted(map(repr, value)) if isinstance(value, frozenset) else repr(value)
wrong = []
home = sys._stdlib_dir
inside = 0
for path in sorted(pathlib.Path(home).rglob("*.py")):
    file = str(path.relative_to(home))
    code = _imp._code_inside(str(path))
    name = path.parent.name if path.name == "__init__.py" else path.stem
    folder = path.parent.parent if path.name == "__init__.py" else path.parent
    inside += bool(_imp._find_inside(str(folder), name))
    if code is None:
        wrong.append([file, "is not there"])
        continue
    _imp._fix_co_filename(code, str(path))
    if plain(code) != plain(compile(path.read_bytes(), str(path), "exec", dont_inherit=True)):
        wrong.append([file, "is another code"])
print(json.dumps([inside, wrong]))
"""


def test_code_inside_equals_the_code_of_the_files(built, payload):
    """This covers the code in the program, and the packed file of the other modules."""
    expected = len({file for _, file, _ in freeze.modules(f"{payload}/lib/python{SERIES}")})
    assert expected > 250
    assert ask(built, payload, SAME, "-I") == [expected, []]


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


def test_module_inside_looks_like_one_from_a_file(built, payload):
    """The test compares all attributes with an interpreter that reads the files."""
    inside = ask(built, payload, MODULE, "-I")
    files = ask(built, payload, MODULE, "-I", "-X", "frozen_modules=off")
    assert inside == files
    assert inside["argparse"]["file"] == f"{payload}/lib/python{SERIES}/argparse.py"
    assert "raise JSONDecodeError" in inside["traceback"]


INSIDE = """\
import _imp, json, textwrap
inside = _imp._code_inside(textwrap.__file__) is not None
print(json.dumps([type(textwrap.__loader__).__name__, inside]))
"""


def test_code_comes_from_the_program_or_the_packed_file(built, payload):
    """With -O, and with an option of ours, the interpreter reads the files."""
    assert ask(built, payload, INSIDE, "-I") == ["SourceFileLoader", True]
    for options in (("-O",), ("-OO",), ("-X", "frozen_modules=off")):
        assert ask(built, payload, INSIDE, "-I", *options) == ["SourceFileLoader", False]
    assert ask(built, payload, "assert False; print(1)", "-O") == 1


USERS = """\
import json, os, sys
import resource, mmap, termios, audioop, _ssl
modules = (resource, mmap, termios, audioop, _ssl)
print(json.dumps([getattr(m, "mine", os.path.basename(m.__file__)) for m in modules]))
"""


@pytest.mark.skipif(PYTHON_SERIES >= (3, 13), reason="audioop is gone")
@pytest.mark.parametrize("way", ["script", "PYTHONPATH"])
def test_user_module_hides_an_extension_module(built, payload, tmp_path, way):
    """In a stock build, these modules are files behind the user's folder."""
    for name in ("resource", "mmap", "termios"):
        (tmp_path / f"{name}.py").write_text("mine = True\n")
    (tmp_path / "audioop").mkdir()
    (tmp_path / "audioop/__init__.py").write_text("mine = True\n")
    if way == "script":
        (tmp_path / "script.py").write_text(USERS)
        done = built.run(payload / "bin/python3", tmp_path / "script.py", cwd="/")
        found = json.loads(done.stdout)
    else:
        found = ask(built, payload, USERS, PYTHONPATH=str(tmp_path))
    assert found[:4] == [True] * 4
    assert found[4].startswith("_ssl.cpython-")


COPIED = """\
import argparse, json, resource, sys
try:
    import textwrap
except ImportError:
    textwrap = None
files = [argparse.__file__, resource.__file__]
print(json.dumps([getattr(argparse, "edited", 0), textwrap is None, files]))
"""


def test_pythonhome_uses_the_copied_library(built, payload, tmp_path):
    """Edited modules take effect there, and deleted ones are missing."""
    lib = tmp_path / f"lib/python{SERIES}"
    site = shutil.ignore_patterns("site-packages")
    shutil.copytree(payload / f"lib/python{SERIES}", lib, symlinks=True, ignore=site)
    with (lib / "argparse.py").open("a") as stream:
        stream.write("\nedited = 1\n")
    (lib / "textwrap.py").unlink()
    (lib / "gettext.py").write_text("def gettext(text): return text\nngettext = None\n")
    edited, missing, files = ask(built, payload, COPIED, PYTHONHOME=str(tmp_path))
    assert (edited, missing) == (1, True)
    assert all(file.startswith(f"{lib}/") for file in files)


@pytest.mark.parametrize("way", ["script", "PYTHONPATH", "namespace"])
def test_earlier_path_entries_win(built, payload, tmp_path, way):
    """A user's module or package of the same name wins."""
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
        # A folder without __init__.py is no package if a later entry has one.
        (tmp_path / "email/__init__.py").unlink()
        assert ask(built, payload, code, PYTHONPATH=str(tmp_path)) == [True, False]


AGAIN = "import json, site; site.main(); print(json.dumps(type(site.USER_BASE).__name__))"


@pytest.mark.parametrize("option", ["-I", "-s"])
def test_site_main_runs_again_without_a_home(payload, option):
    """site looks up the home on demand, however often it computes paths."""
    argv = [payload / "bin/python3", option, "-c", AGAIN]
    assert subprocess.run(argv, env={}, capture_output=True, check=True).stdout == b'"str"\n'


NO_NAMES = """\
for name in ("string\\0", "json.\\0", "half \\ud800", "caf\\u00e9"):
    try:
        __import__(name)
    except ModuleNotFoundError as error:
        assert error.name == name
    else:
        raise SystemExit(repr(name))
"""


def test_impossible_module_names_are_not_found(built, payload):
    built.run(payload / "bin/python3", "-I", "-c", NO_NAMES)
    built.run(payload / "bin/python3", "-I", "-c", NO_NAMES, LC_ALL="C", PYTHONCOERCECLOCALE="0")


def test_pth_file_beside_a_link_is_read(built, payload, tmp_path):
    """CPython tests this on Linux too (test_site._pthFileTests)."""
    (tmp_path / "python").symlink_to(payload / "bin/python3")
    code = "import sys; print(sys.path, sys.flags.no_site)"
    lib = next(payload.glob("lib/python3*"))
    (tmp_path / "python._pth").write_text(f"{lib}\n.\n")
    out = built.run(tmp_path / "python", "-c", code).stdout
    assert out == f"{[str(lib), str(tmp_path)]} 1\n"


def test_modules_inside_run_with_m(built, payload, tmp_path):
    """Their name is their file, which their usage prints."""
    (tmp_path / "a.json").write_text("[1]")
    python = payload / "bin/python3"
    assert built.run(python, "-m", "json.tool", "--compact", tmp_path / "a.json").stdout == "[1]\n"
    assert "usage: calendar.py" in built.run(python, "-m", "calendar", "-h").stdout
    assert "frozen" not in built.run(python, "-m", "tarfile", "-h").stdout
    assert "3.141592653589793" in built.run(python, "-c", "import math; print(math.pi)").stdout


def test_reload_and_second_interpreter_work(built, payload):
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
def test_module_linked_to_libpython_finds_the_program(built, payload, tmp_path, leaked):
    """Boost.Python and USD are linked to libpython; they find the program."""
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


def test_dlopen_by_name_gives_the_program(built, payload):
    """pythonnet and others load it by name."""
    soname = f"libpython{SERIES}.so.1.0"
    code = (
        "import ctypes, json\n"
        f"library = ctypes.CDLL({soname!r})\n"
        "address = lambda f: ctypes.cast(f, ctypes.c_void_p).value\n"
        "print(json.dumps(address(library.Py_IsInitialized)"
        " == address(ctypes.pythonapi.Py_IsInitialized)))"
    )
    assert ask(built, payload, code) is True


def test_dlopen_by_path_gives_a_second_runtime(built, payload):
    """docs/explanation/relocation.md describes this; a stock program is linked to that file."""
    assert ask(built, payload, BY_PATH) == [True, True]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the loader's name is that of x86-64")
def test_other_program_loader_still_finds_the_library(built, payload, tmp_path):
    """The loader runs as a command, in a folder that looks like a Python."""
    loader = tmp_path / "lib/ld.so"
    (tmp_path / f"lib/python{SERIES}").mkdir(parents=True)
    (tmp_path / f"lib/python{SERIES}/os.py").touch()
    shutil.copyfile("/lib64/ld-linux-x86-64.so.2", loader)
    loader.chmod(0o755)
    code = "import ssl, sys; print(sys.prefix, sys.executable)"
    out = built.run(loader, payload / "bin/python3", "-c", code, cwd="/").stdout
    assert out == f"{payload} {payload}/bin/python3\n"
    if "--argv0" in built.run(loader, "--help").stdout:  # glibc 2.33
        argv = [loader, "--argv0", "other", payload / "bin/python3", "-c", code]
        assert built.run(*argv, cwd="/").stdout == f"{payload} \n"


def test_python_runs_without_proc(built, payload):
    """Some chroots have no /proc."""
    start = unshare()
    if start is None:
        pytest.skip("no mount namespaces: neither as root nor by `unshare --map-root-user`")
    command = 'mount -t tmpfs none /proc && exec "$@"'
    code = "import resource, ssl, sys; print(sys.prefix)"
    argv = [*start, "--mount", "sh", "-c", command, "sh", payload / "bin/python3", "-c", code]
    assert built.run(*argv, cwd="/").stdout == f"{payload}\n"


PRIVATE = ("SSL_", "EVP_", "sqlite3_", "BZ2_", "lzma_", "ffi_", "rl_", "deflate", "gdbm_", "tputs")


@pytest.mark.parametrize("file", ["bin/python3", f"lib/libpython{SERIES}.so.1.0"])
def test_symbols_of_libraries_inside_are_hidden(payload, file):
    """If they were visible, a DCC's library would call our OpenSSL instead of its own."""
    argv = ["nm", "-D", "--defined-only", payload / file]
    out = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    shown = [line.split()[-1] for line in out.splitlines()]
    assert "Py_Initialize" in shown
    assert [name for name in shown if name.startswith(PRIVATE)] == []


EMBEDS = """\
#include <Python.h>
int main(int argc, char **argv) {
    Py_Initialize();
    return PyRun_SimpleString(argv[1]) || Py_FinalizeEx();
}
"""


def embedding_program(payload: Path, folder: Path) -> Path:
    """Compile a program that embeds the payload's libpython and runs its first argument."""
    source, program = folder / "embeds.c", folder / "embeds"
    source.write_text(EMBEDS)
    argv = ["cc", source, f"-I{payload}/include/python{SERIES}", f"-L{payload}/lib"]
    argv += [f"-lpython{SERIES}", f"-Wl,-rpath,{payload}/lib", "-o", program]
    subprocess.run(argv, check=True)
    return program


def test_embedding_program_reads_the_code_of_the_program(built, payload, tmp_path):
    """libpython contains no code of modules; without the program it reads the sources."""
    program = embedding_program(payload, tmp_path)
    assert json.loads(built.run(program, INSIDE, cwd="/").stdout) == ["SourceFileLoader", True]
    with hide(payload / "bin"):
        found = built.run(program, INSIDE, cwd="/", PYTHONDONTWRITEBYTECODE="1")
    assert json.loads(found.stdout) == ["SourceFileLoader", False]


def first_code(table: bytes) -> int:
    """Return the offset of the first code in modules.code."""
    return int.from_bytes(table[24:28], "little")


SPAWNS = """\
import multiprocessing, os, sys
print(sys.executable)
context = multiprocessing.get_context("spawn")
process = context.Process(target=os.getpid)
process.start()
process.join()
print(process.exitcode)
"""


def test_embedding_program_starts_the_same_python(built, payload, tmp_path):
    """A spawned process is the payload's, although another python3 is first on PATH.

    Neither process writes into the payload.
    """
    program = embedding_program(payload, tmp_path)
    other = tmp_path / "bin/python3"
    other.parent.mkdir()
    other.write_text("#!/bin/sh\nexit 3\n")
    other.chmod(0o755)
    before = snapshot(payload)
    out = built.run(program, SPAWNS, cwd="/", PATH=f"{other.parent}:/usr/bin:/bin").stdout
    assert out == f"{payload}/bin/python{SERIES}\n0\n"
    assert snapshot(payload) == before


# Import a module, replace modules.code, and import a second module.
LIVES = """import os, sys, wave
path, other = sys.argv[1:]
if other:
    with open(other, "rb") as stream, open(path, "wb") as there:
        there.write(stream.read())
else:
    os.unlink(path)
import pstats
print(wave.__name__, len(pstats.__all__) > 0)
"""


def test_process_survives_the_removal_of_packed_code(built, payload, tmp_path):
    """cp, rsync --inplace and a deletion on NFS change a file that a process has open or mapped."""
    copy = shutil.copytree(payload, tmp_path / "living", symlinks=True)
    packed = copy / f"lib/python{SERIES}/modules.code"
    whole, kept = packed.read_bytes(), packed.parent / "__pycache__"
    start = first_code(whole)
    contents = {
        "the same": whole,
        "nothing": b"",
        "cut off": whole[:start],
        "other content": whole[:start] + bytes(len(whole) - start),
        "another build": bytes(8) + whole[8:],
        "no file": None,
    }
    for how, data in contents.items():
        other = tmp_path / "other"
        other.write_bytes(data or b"")
        packed.write_bytes(whole)
        shutil.rmtree(kept, ignore_errors=True)
        argv = ("-I", "-c", LIVES, packed, "" if data is None else other)
        assert built.run(copy / "bin/python3", *argv, cwd="/").stdout == "wave True\n", how
        # Code that is compiled from a source is saved as usual.
        assert len(list(kept.glob("pstats.*"))) == (how != "the same"), how


LOADERS = """import importlib.machinery, importlib.util, json, sys
class Mine(importlib.machinery.SourceFileLoader):
    def source_to_code(self, data, path, *, _optimize=-1):
        return super().source_to_code(b"mine = True", path)
def load(loader):
    path = importlib.util.find_spec("wave").origin
    spec = importlib.util.spec_from_file_location("wave", path, loader=loader("wave", path))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return sorted(vars(module).keys() & {"mine", "Wave_read", "added"})
sys.dont_write_bytecode = True
print(json.dumps([load(Mine), load(importlib.machinery.SourceFileLoader)]))
"""


def test_edited_source_overrides_packed_code(built, payload, tmp_path):
    """Cases: a loader with its own compiler, an edited file, a damaged and a missing file."""
    assert ask(built, payload, LOADERS, "-I") == [["mine"], ["Wave_read"]]
    copy = shutil.copytree(payload, tmp_path / "edited", symlinks=True)
    module = copy / f"lib/python{SERIES}/wave.py"
    module.write_text(f"{module.read_text()}\nadded = 1\n")
    assert ask(built, copy, LOADERS, "-I") == [["mine"], ["Wave_read", "added"]]
    # The size is equal, so the newer time decides.
    module.write_text(module.read_text().replace("added = 1", "addex = 1"))
    assert ask(built, copy, LOADERS, "-I") == [["mine"], ["Wave_read"]]
    module.write_text(module.read_text().replace("addex = 1", "added = 1"))
    whole = (payload / f"lib/python{SERIES}/modules.code").read_bytes()
    packed = copy / f"lib/python{SERIES}/modules.code"
    paths = 20 + int.from_bytes(whole[16:20], "little") * 24
    zeros = [whole[:start] + bytes(len(whole) - start) for start in (paths, first_code(whole))]
    for data in (*zeros, whole[:1000], b"", None):
        packed.unlink()
        if data is not None:
            packed.write_bytes(data)
        assert ask(built, copy, "import pstats; print(1)", "-I", "-B") == 1


def test_code_of_each_module_is_installed_once(payload):
    """Python would not read compiled modules beside it; pip's list of files names none."""
    installed = manifest.read_contents(payload)
    assert f"lib/python{SERIES}/modules.code" in installed
    assert [path for path in installed if path.endswith(".pyc")] == []
    (record,) = payload.glob("lib/python3*/site-packages/pip-*.dist-info/RECORD")
    listed = [line.split(",")[0] for line in record.read_text().splitlines()]
    site = record.parent.parent
    assert [name for name in listed if not (site / name).exists()] == []
