"""python_freethreading: a moved CPython without the global interpreter lock."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from moves import copy_packages, hide, snapshot, variant
from studio import Studio

pytestmark = [pytest.mark.e2e, pytest.mark.matrix]
NAME, VERSION = "python_freethreading", "3.13.5"
PROBE = """\
import json, os, sys, sysconfig
print(json.dumps({
    "gil": sys._is_gil_enabled(),
    "prefix": os.path.realpath(sys.prefix),
    "program": os.path.basename(os.readlink("/proc/self/exe")),
    "suffix": sysconfig.get_config_var("EXT_SUFFIX"),
    "include": os.path.isfile(sysconfig.get_path("include") + "/Python.h"),
}))
"""
SETUP = """\
from setuptools import Extension, setup
setup(name="answer", version="1", ext_modules=[Extension("answer", ["answer.c"])])
"""
MODULE = """\
#include <Python.h>
static PyMethodDef methods[] = {{NULL, NULL, 0, NULL}};
static PyModuleDef_Slot slots[] = {{Py_mod_gil, Py_MOD_GIL_NOT_USED}, {0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "answer", NULL, 0, methods, slots};
PyMODINIT_FUNC PyInit_answer(void) { return PyModuleDef_Init(&module); }
"""
# Four threads import modules of the program and of modules.code at the same time.
THREADS = """\
import importlib, sys, threading
names = ["colorsys", "sched", "turtle", "wave", "argparse", "mailbox", "pydoc", "timeit"]
barrier, failed = threading.Barrier(4), []
def work():
    barrier.wait()
    try:
        for name in names:
            importlib.import_module(name)
    except BaseException as error:
        failed.append(error)
threads = [threading.Thread(target=work) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert not failed, failed
assert not sys._is_gil_enabled()
"""


@pytest.fixture(scope="module")
def repository(built: Studio, scratch: Path) -> Path:
    """Copy the package without the package python."""
    request = f"{NAME}-{VERSION}"
    assert f"ready: rez-env {NAME}=={VERSION}" in built.rezbuild("build", request).stdout
    return copy_packages(built, scratch / "free threaded", request)


@pytest.mark.parametrize("program", ["python", "python3", "python3.13", "python3.13t"])
def test_each_program_runs_without_the_gil(built, repository, program):
    with hide(built.local):
        seen = json.loads(built.in_env(repository, NAME, program, "-c", PROBE).stdout)
    assert seen == {
        "gil": False,
        "prefix": str(variant(repository, NAME, VERSION).resolve()),
        "program": "python3.13t",
        "suffix": ".cpython-313t-x86_64-linux-gnu.so",
        "include": True,
    }


def test_moved_freethreading_payload_passes_its_checks(built, repository):
    with hide(built.local):
        out = built.rezbuild("check", variant(repository, NAME, VERSION)).stdout
    assert "FAILED" not in out
    assert "read-only: nothing is written" in out


def test_threads_import_at_the_same_time(built, repository):
    for _ in range(20):
        built.in_env(repository, NAME, "python3", "-X", "gil=0", "-c", THREADS)


def test_python_and_python_without_gil_are_never_in_one_environment(built, repository):
    done = built.rez("env", NAME, "python", "--", "true", ok=False)
    assert done.returncode != 0
    assert "!python" in done.stdout + done.stderr


def test_venv_with_pip_builds_an_extension_with_the_tag_cp313t(built, repository, tmp_path):
    root = variant(repository, NAME, VERSION)
    before = snapshot(root)
    (tmp_path / "source").mkdir()
    (tmp_path / "source/setup.py").write_text(SETUP)
    (tmp_path / "source/answer.c").write_text(MODULE)
    venv = tmp_path / "venv"
    with hide(built.local):
        built.in_env(repository, NAME, "python3", "-m", "venv", venv)
        pip = (venv / "bin/python", "-m", "pip", "--quiet", "--disable-pip-version-check")
        built.run(*pip, "install", "setuptools", "wheel")
        wheels = ("--no-build-isolation", "--no-deps", "-w", tmp_path / "wheels")
        built.run(*pip, "wheel", *wheels, tmp_path / "source")
        (wheel,) = (tmp_path / "wheels").glob("*.whl")
        assert "-cp313-cp313t-linux_x86_64" in wheel.name
        built.run(*pip, "install", "--no-deps", wheel)
        code = "import answer, sys; assert not sys._is_gil_enabled()"
        built.run(venv / "bin/python3.13", "-c", code)
    assert snapshot(root) == before
