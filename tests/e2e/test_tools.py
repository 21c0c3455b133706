"""Tools that start, copy or freeze a Python work with the moved payload."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from moves import PYTHON, RESOLVER, hide

pytestmark = pytest.mark.e2e

CODE = """\
import bz2, ctypes, lzma, sqlite3, ssl, sys, zlib
assert sqlite3.connect(":memory:").execute("select 6*7").fetchone() == (42,)
assert ssl.create_default_context().get_ciphers()
assert lzma.decompress(lzma.compress(b"a")) == bz2.decompress(bz2.compress(b"a")) == b"a"
print("%d.%d.%d" % sys.version_info[:3], ssl.OPENSSL_VERSION.split()[1], zlib.ZLIB_RUNTIME_VERSION)
"""


def run(*argv: str | Path, cwd: Path, **env: str) -> str:
    words = [str(word) for word in argv]
    outer = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        words, cwd=cwd, env={**outer, **env}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def tools(scratch: Path) -> Path:
    """Install uv, tox and virtualenv into a venv of the tests' Python; return their commands."""
    folder = scratch / "tools"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    install = [folder / "bin/python", "-m", "pip", "install", "-q", "uv", "tox", "virtualenv"]
    subprocess.run(install, check=True)
    return folder / "bin"


def test_uv_uses_the_package(payload, tools, tmp_path):
    python = payload / "bin/python3"
    offline = {"UV_OFFLINE": "1", "UV_PYTHON_DOWNLOADS": "never", "UV_NO_CONFIG": "1"}
    env = {**offline, "UV_CACHE_DIR": str(tmp_path / "cache")}
    run(tools / "uv", "venv", "--python", python, "venv", cwd=tmp_path, **env)
    said = run(tmp_path / "venv/bin/python", "-c", CODE, cwd=tmp_path)
    assert said.startswith(f"{PYTHON} ")
    found = run(tools / "uv", "python", "find", "--system", python, cwd=tmp_path, **env)
    assert Path(found.strip()).resolve().parent == (payload / "bin").resolve()


def test_tox_uses_the_package(payload, tools, tmp_path):
    (tmp_path / "code.py").write_text(CODE)
    (tmp_path / "tox.ini").write_text(
        "[tox]\nskipsdist = true\n[testenv:it]\nskip_install = true\n"
        f"base_python = {payload / 'bin/python3'}\ncommands = python code.py\n"
    )
    said = run(tools / "tox", "-e", "it", "--workdir", tmp_path / "work", cwd=tmp_path)
    assert f"{PYTHON} " in said


def test_virtualenv_finds_tk_beside_tcl(payload, tools, tmp_path):
    """If TCL_LIBRARY is set, its activate script sets TCL_LIBRARY and TK_LIBRARY."""
    python = payload / "bin/python3"
    ask = "import tkinter; print(tkinter.Tcl().eval('info library'))"
    tcl = Path(run(python, "-c", ask, cwd=tmp_path).strip())
    env = {"TCL_LIBRARY": str(tcl), "VIRTUALENV_OVERRIDE_APP_DATA": str(tmp_path / "cache")}
    run(tools / "virtualenv", "--no-download", "-p", python, "venv", cwd=tmp_path, **env)
    show = '. venv/bin/activate; echo "$TCL_LIBRARY:$TK_LIBRARY"'
    found = run("bash", "-c", show, cwd=tmp_path).strip()
    assert found == f"{tcl}:{tcl.with_name('tk8.6')}"


@pytest.mark.parametrize("mode", ["--onedir", "--onefile"])
def test_pyinstaller_freezes_a_program(built, copied, payload, tmp_path_factory, tmp_path, mode):
    """The frozen program runs without the payload."""
    venv = tmp_path_factory.getbasetemp() / "pyinstaller"
    if not venv.exists():
        run(payload / "bin/python3", "-m", "venv", venv, cwd=tmp_path)
        pip = (venv / "bin/python", "-m", "pip", "install", "-q")
        run(*pip, "pyinstaller", cwd=tmp_path, **RESOLVER)
    (tmp_path / "mine.py").write_text("import inspect\n")
    (tmp_path / "app.py").write_text(f"import mine\n{CODE}")
    run(venv / "bin/pyinstaller", "--noconfirm", mode, "app.py", cwd=tmp_path)
    program = tmp_path / ("dist/app/app" if mode == "--onedir" else "dist/app")
    with hide(copied):
        done = subprocess.run([program], env={}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{PYTHON} ")
