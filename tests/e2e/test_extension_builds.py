"""Builds against the moved Python: extension modules by common tools, embedding programs.

The original payload and its build folder are hidden, so a path to them would fail.
"""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from extension_module import MODULE, SETUP
from moves import RESOLVER, build_folders, hide, variant
from studio import Studio

from rezbuild.build import toolchain
from rezbuild.elf import reader

pytestmark = pytest.mark.e2e

# Build tools of the tests below; rezbuild does not need them.
TOOLS = ("setuptools", "wheel", "meson", "ninja", "cmake", "pybind11", "cython", "cffi")

# A path that needs quotes. (Meson fails with other letters, because pkgconf quotes bytes.)
SPACES = "a place with spaces"


PYBIND11 = """\
#include <pybind11/pybind11.h>
PYBIND11_MODULE(by_pybind11, module) { module.def("answer", [] { return 42; }); }
"""
SETUP_PYBIND11 = """\
from pybind11.setup_helpers import Pybind11Extension
from setuptools import setup
setup(name="by-pybind11", version="1",
      ext_modules=[Pybind11Extension("by_pybind11", ["module.cpp"])])
"""
SETUP_CYTHON = """\
from Cython.Build import cythonize
from setuptools import setup
setup(name="by-cython", version="1", ext_modules=cythonize("by_cython.pyx"))
"""
SETUP_CFFI = """\
from setuptools import setup
setup(name="by-cffi", version="1", cffi_modules=["build_it.py:ffi"])
"""
BUILD_CFFI = """\
from cffi import FFI
ffi = FFI()
ffi.cdef("int answer(void);")
ffi.set_source("by_cffi", "int answer(void) { return 42; }")
"""
MESON = """\
project('by-meson', 'c')
py = import('python').find_installation(get_option('python'))
py.extension_module('by_meson', 'module.c', install: true)
executable('embedding', 'embed.c', dependencies: py.dependency(embed: true))
"""
CMAKE = """\
cmake_minimum_required(VERSION 3.18)
project(by_cmake C CXX)
find_package(Python 3 REQUIRED COMPONENTS Interpreter Development.Module Development.Embed)
Python_add_library(by_cmake MODULE WITH_SOABI module.c)
add_executable(embedding embed.c)
target_link_libraries(embedding PRIVATE Python::Python)
message(STATUS "found ${Python_EXECUTABLE};${Python_INCLUDE_DIRS};${Python_LIBRARIES}")
"""
# C and C++; the outputs are compared.
EMBED = """\
#include <Python.h>
int main(void)
{
    Py_Initialize();
    int failed = PyRun_SimpleString(
        "import ctypes, json, sqlite3, ssl, sys, sysconfig\\n"
        "print(json.dumps([sys.prefix, sys.exec_prefix, sys.path, sys.version.split()[0],\\n"
        "                  sysconfig.get_config_var('LIBDIR')]))\\n");
    return Py_FinalizeEx() < 0 || failed;
}
"""


@pytest.fixture(scope="module")
def moved_copy(built: Studio, scratch: Path) -> Iterator[Path]:
    """Copy the payload into a folder, while the original is hidden."""
    folder = scratch / "building"
    folder.mkdir()
    shutil.copytree(variant(built.local), folder / "payload", symlinks=True)
    with hide(built.local, *build_folders()):
        yield folder


@pytest.fixture(scope="module")
def venv(built: Studio, moved_copy: Path) -> Path:
    """Install the tools into a virtual environment of the copy."""
    payload = moved_copy / SPACES / "payload"
    shutil.copytree(moved_copy / "payload", payload, symlinks=True)
    folder = moved_copy / "venv"
    built.run(payload / "bin/python3", "-m", "venv", folder)
    install = ("install", "--quiet", "--disable-pip-version-check", *TOOLS)
    built.run(folder / "bin/pip", *install, **RESOLVER)
    return folder


def project(moved_copy: Path, name: str, **files: str) -> Path:
    folder = moved_copy / name
    folder.mkdir()
    for file, text in files.items():
        path = folder / file.replace("__", ".")
        path.write_text(text.replace("NAME", name), encoding="utf-8")
    return folder


def read_extension(path: Path) -> reader.Elf:
    """Return an extension module's ELF data, and assert that it needs no libpython and no rpath."""
    data = reader.read(path)
    assert not [name for name in data.needed if "python" in name]
    assert (data.rpath, data.runpath) == ((), ())
    return data


def import_and_ask(studio: Studio, venv: Path, name: str, cwd: Path, call: str = "answer()") -> str:
    code = f"import {name}; print({name}.{call}); print({name}.__file__)"
    answer, file = studio.run(venv / "bin/python", "-c", code, cwd=cwd).stdout.split("\n")[:2]
    assert answer == "42"
    return file


@pytest.mark.parametrize(
    ("name", "call", "files"),
    [
        ("by_setuptools", "answer()", {"module__c": MODULE, "setup__py": SETUP}),
        ("by_pybind11", "answer()", {"module__cpp": PYBIND11, "setup__py": SETUP_PYBIND11}),
        (
            "by_cython",
            "answer()",
            {"by_cython__pyx": "def answer():\n    return 42\n", "setup__py": SETUP_CYTHON},
        ),
        ("by_cffi", "lib.answer()", {"build_it__py": BUILD_CFFI, "setup__py": SETUP_CFFI}),
    ],
)
def test_pip_builds_an_extension(built, moved_copy, venv, name, call, files):
    folder = project(moved_copy, name, **files)
    built.run(
        *(venv / "bin/pip", "install", "--quiet", "--no-build-isolation", "--no-index", folder),
        PIP_DISABLE_PIP_VERSION_CHECK="1",
    )
    read_extension(Path(import_and_ask(built, venv, name, moved_copy, call)))


def test_pip_builds_in_isolation(built, moved_copy, venv):
    """pip downloads the build tools, as most users do."""
    setup = SETUP.replace("by_s", "i_s").replace("by-s", "i-s")
    folder = project(moved_copy, "isolated", module__c=MODULE, setup__py=setup)
    (folder / "module.c").write_text(MODULE.replace("NAME", "i_setuptools"))
    (folder / "pyproject.toml").write_text('[build-system]\nrequires = ["setuptools"]\n')
    install = ("install", "--quiet", "--disable-pip-version-check", folder)
    built.run(venv / "bin/pip", *install, **RESOLVER)
    import_and_ask(built, venv, "i_setuptools", moved_copy)


def test_meson_builds_an_extension_and_an_embedding_program(built, moved_copy, venv):
    folder = project(moved_copy, "by_meson", module__c=MODULE, embed__c=EMBED, meson__build=MESON)
    (folder / "meson_options.txt").write_text("option('python', type: 'string')\n")
    path = f"{venv / 'bin'}:{built.env['PATH']}"
    setup = ("meson", "setup", "out", f"-Dpython={venv / 'bin/python'}")
    built.run(*setup, cwd=folder, PATH=path)
    built.run("ninja", "-C", "out", cwd=folder, PATH=path)
    (module,) = (folder / "out").glob("by_meson*.so")
    read_extension(module)
    import_and_ask(built, venv, "by_meson", folder / "out")
    assert_own_payload(built, folder / "out/embedding", moved_copy / SPACES / "payload")


def test_cmake_builds_an_extension_and_an_embedding_program(built, moved_copy, venv):
    folder = project(
        moved_copy, "by_cmake", module__c=MODULE, embed__c=EMBED, CMakeLists__txt=CMAKE
    )
    path = f"{venv / 'bin'}:{built.env['PATH']}"
    payload = moved_copy / SPACES / "payload"
    # FindPython searches by the root of an installation, or by an interpreter.
    for way, root in {"root": payload, "interpreter": venv}.items():
        hint = {
            "root": f"-DPython_ROOT_DIR={payload}",
            "interpreter": f"-DPython_EXECUTABLE={venv / 'bin/python'}",
        }[way]
        out = built.run("cmake", "-S", ".", "-B", way, hint, cwd=folder, PATH=path).stdout
        (found,) = [line for line in out.splitlines() if line.startswith("-- found ")]
        assert found.count(str(payload)) >= 2, found
        assert str(root) in found
        built.run("cmake", "--build", way, cwd=folder, PATH=path)
        (module,) = (folder / way).glob("by_cmake*.so")
        read_extension(module)
        import_and_ask(built, venv, "by_cmake", folder / way)
        assert_own_payload(built, folder / way / "embedding", payload)


def assert_own_payload(
    studio: Studio, program: Path, payload: Path, cwd: str | Path = "/", **env: str
) -> None:
    """Assert that an embedding program uses this payload only."""
    # An embedding program also uses the user's own site-packages.
    done = studio.run(program, cwd=cwd, HOME="/nowhere", **env)
    prefix, exec_prefix, path, _, libdir = json.loads(done.stdout)
    assert (prefix, exec_prefix) == (str(payload), str(payload))
    assert [entry for entry in path if entry and not entry.startswith(f"{payload}/")] == []
    assert libdir == f"{payload}/lib"
    assert done.stderr == ""


def flags(studio: Studio, way: str, payload: Path, *, cflags: bool) -> list[str]:
    """Return the words that a Makefile would get."""
    if way == "python3-config":
        option = "--cflags" if cflags else "--ldflags"
        command = [payload / "bin/python3-config", "--embed", option]
        text = studio.run(*command).stdout
    else:
        option = "--cflags" if cflags else "--libs"
        folder = str(payload / "lib/pkgconfig")
        text = studio.run("pkg-config", option, "python3-embed", PKG_CONFIG_PATH=folder).stdout
    return shlex.split(text)


@pytest.mark.parametrize("language", ["c", "c++"])
@pytest.mark.parametrize("way", ["python3-config", "pkg-config"])
def test_embedding_program_runs(built, moved_copy, way, language):
    payload = moved_copy / "payload"
    compiler, suffix = {"c": ("cc", "c"), "c++": ("c++", "cpp")}[language]
    folder = moved_copy / f"{way}-{suffix}"
    # A program in a folder like the host's, beside another Python's library.
    (folder / "bin").mkdir(parents=True)
    version = (payload / "lib/pkgconfig/python3.pc").resolve().stem.split("-")[1]
    decoy = folder / f"lib/python{version}"
    decoy.mkdir(parents=True)
    (decoy / "os.py").write_text("raise SystemExit('this is the wrong library')\n")
    (folder / f"main.{suffix}").write_text(EMBED)
    program = folder / "bin/program"
    built.run(
        *(compiler, *flags(built, way, payload, cflags=True), folder / f"main.{suffix}"),
        *("-o", program, *flags(built, way, payload, cflags=False)),
    )
    assert not reader.read(program).rpath
    elsewhere = moved_copy / f"second-{way}-{suffix}"
    shutil.copytree(payload, elsewhere, symlinks=True)
    # The user says where the library is; everything else is beside it.
    assert_own_payload(built, program, payload, LD_LIBRARY_PATH=str(payload / "lib"))
    with hide(payload):
        assert_own_payload(built, program, elsewhere, LD_LIBRARY_PATH=str(elsewhere / "lib"))
        # Through a link to the folder or to the library, as in installations of DCCs.
        link = folder / "link"
        link.symlink_to(elsewhere)
        assert_own_payload(built, program, elsewhere, LD_LIBRARY_PATH=str(link / "lib"))
        (library,) = (elsewhere / "lib").glob("libpython3.*.so.1.0")
        (folder / "bin" / library.name).symlink_to(library)
        assert_own_payload(built, program, elsewhere, cwd=folder / "bin", LD_LIBRARY_PATH=".")
        # The usual rpath, and a link at its target.
        (folder / "lib" / library.name).symlink_to(library)
        built.run(toolchain.patchelf(), "--set-rpath", "$ORIGIN/../lib", program)
        assert_own_payload(built, program, elsewhere)


def test_pythonhome_overrides_the_home_of_an_embedding_program(built, moved_copy):
    """An explicit home overrides the search beside libpython."""
    payload = moved_copy / "payload"
    folder = moved_copy / "home"
    folder.mkdir()
    (folder / "main.c").write_text(EMBED)
    words = [*flags(built, "pkg-config", payload, cflags=True), folder / "main.c"]
    libraries = flags(built, "pkg-config", payload, cflags=False)
    built.run("cc", *words, "-o", folder / "program", *libraries)
    home, env = moved_copy / "another", {"LD_LIBRARY_PATH": str(payload / "lib")}
    shutil.copytree(payload, home, symlinks=True)
    done = built.run(folder / "program", PYTHONHOME=str(home), **env)
    assert json.loads(done.stdout)[0] == str(home)


TRUE = """\
import json, os, sys, sysconfig
names = json.loads(sys.argv[1])
values = sysconfig.get_config_vars()
print(json.dumps({
    "missing": [name for name in names if not os.path.exists(values[name])],
    "values": {name: value for name, value in values.items() if isinstance(value, str)},
    "paths": sysconfig.get_paths(),
    "makefile": sysconfig.get_makefile_filename(),
    "header": sysconfig.get_config_h_filename(),
}))
"""
PLACES = ("LIBDIR", "LIBPL", "INCLUDEPY", "BINDIR", "LIBDEST", "DESTSHARED", "LIBPC", "prefix")
# Flags of our build that must not reach extension builders.
OF_OUR_BUILD = (
    "-flto",
    "-fprofile",
    "/rezbuild/",
    "-ffile-prefix-map",
    "gcc-ar",
    "LD_LIBRARY_PATH",
)


@pytest.mark.parametrize("where", ["payload", f"{SPACES}/payload", "späces/payload"])
def test_sysconfig_paths_exist_after_a_move(built, moved_copy, venv, where):
    payload = moved_copy / where
    if not payload.exists():
        shutil.copytree(moved_copy / "payload", payload, symlinks=True)
    done = built.run(payload / "bin/python3", "-I", "-c", TRUE, json.dumps(PLACES))
    said = json.loads(done.stdout)
    values = said["values"]
    assert said["missing"] == []
    assert values["prefix"] == str(payload)
    assert Path(values["LIBDIR"], values["INSTSONAME"]).is_file()
    assert Path(values["LIBDIR"], values["LDLIBRARY"]).is_file()
    for name in ("makefile", "header"):
        assert Path(said[name]).is_file()
        assert said[name].startswith(f"{payload}/")
    wrong = {n: v for n, v in values.items() if any(word in v for word in OF_OUR_BUILD)}
    assert wrong == {}
    assert (values["CC"].split()[0], values["CXX"].split()[0]) == ("cc", "c++")
    assert values["LDSHARED"].split()[:2] == ["cc", "-shared"]
    outside = [p for p in said["paths"].values() if not f"{p}/".startswith(f"{payload}/")]
    assert outside == []


def test_python3_config_works_by_a_link_and_with_spaces(built, moved_copy, venv):
    payload = moved_copy / SPACES / "payload"
    link = moved_copy / "my-python3-config"
    link.symlink_to(payload / "bin/python3-config")
    for program in (payload / "bin/python3-config", link):
        assert built.run(program, "--prefix", cwd="/").stdout == f"{payload}\n"
        assert f"-I{payload}/include/python3" in built.run(program, "--includes").stdout
    module = moved_copy / "payload/bin/python3"
    suffix = built.run(module, "-c", "import sysconfig as s; print(s.get_config_var('EXT_SUFFIX'))")
    assert built.run(link, "--extension-suffix").stdout == suffix.stdout


def test_makefile_computes_its_paths(built, moved_copy):
    (makefile,) = (moved_copy / "payload/lib").glob("python3*/config-*/Makefile")
    text = makefile.read_text()
    assert [word for word in OF_OUR_BUILD if word in text] == []
    rule = "show: ; @echo $(LIBDIR) $(INCLUDEPY) $(CC)"
    out = built.run("make", "--no-print-directory", "-f", makefile, f"--eval={rule}", "show").stdout
    libdir, include, compiler = out.split()
    assert (libdir, compiler) == (f"{moved_copy}/payload/lib", "cc")
    assert Path(include, "Python.h").is_file()


def test_sysconfigdata_works_when_its_text_is_executed(built, moved_copy):
    """Cross-compilers (PyO3's, crossenv) read the file without an import."""
    (data,) = (moved_copy / "payload/lib").glob("python3*/_sysconfigdata_*.py")
    code = f"exec(open({str(data)!r}).read()); print(build_time_vars['SOABI'])"
    assert "cpython" in built.run(moved_copy / "payload/bin/python3", "-I", "-c", code).stdout
