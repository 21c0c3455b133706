"""A program that embeds the payload's libpython behaves as with the stock one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from comparison import compare, find_unexpected, load_intended, replace_prefix
from inspection import SERIES, embedding_program
from moves import LIBRARY_SIZE, PYTHON_SERIES

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(PYTHON_SERIES < (3, 11), reason="the program uses the interface of 3.11"),
]
WAYS = (
    "plain",
    "repeated",
    "subinterpreter",
    "isolated",
    "program name",
    "paths",
    "no site",
    "config",
)
CODE = """\
import sys, _csv, ssl, sqlite3, argparse, wave, textwrap
print(sys.prefix, sys.exec_prefix, sys.base_prefix)
print(sys.path)
print(type(argparse.__loader__).__name__, argparse.__file__, wave.__file__)
print(_csv.__file__, type(_csv.__loader__).__name__, ssl.OPENSSL_VERSION)
print(sys.flags, sys.argv, sys.orig_argv, sys.builtin_module_names)
"""


def run(prefix: Path, folder: Path, way: str) -> dict[str, list[str]]:
    program = embedding_program(prefix, folder)
    # Without a Python on PATH, the stock library uses the prefix of configure.
    env = {"PATH": "/nowhere", "HOME": str(folder), "LIBRARY": f"{prefix}/lib/python{SERIES}"}
    done = subprocess.run(
        [program, way, CODE], env=env, cwd=folder, capture_output=True, text=True, check=False
    )
    text = replace_prefix(f"{done.returncode}\n{done.stdout}{done.stderr}", prefix)
    return {"said": text.splitlines()}


@pytest.mark.parametrize("way", WAYS)
def test_embedding_program_reports_the_same_paths(stock, payload, tmp_path, way):
    answers = [run(prefix, tmp_path, way) for prefix in (stock, payload)]
    found = find_unexpected(compare(f"embedding {way}", *answers), load_intended())
    assert not found, "\n".join(map(str, found))


def test_link_to_the_payload_works_like_its_path(payload, tmp_path):
    """Repositories are often behind links, which must not look like a virtual environment."""
    link = tmp_path / "link"
    link.symlink_to(payload)
    code = "import sys; print(sys.prefix, sys.base_prefix, sys.executable, sys._base_executable)"
    argv = [link / "bin/python3", "-c", code]
    out = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    assert out == [str(link), str(link), f"{link}/bin/python3", f"{link}/bin/python3"]


@pytest.mark.parametrize("way", ["first on PATH", "PYTHONHOME"])
def test_other_libpython_with_the_payload_as_home_imports_every_module(
    stock, payload, tmp_path, way
):
    """E.g. a program of the host that embeds the host's libpython, in rez-env."""
    files = (payload / f"lib/python{SERIES}/lib-dynload").glob("*.so")
    names = sorted(file.name.split(".")[0] for file in files if file.stat().st_size < LIBRARY_SIZE)
    assert "_ssl" in names
    code = f"import sys, warnings; warnings.simplefilter('ignore'); import {', '.join(names)}; "
    code += "print(sys.prefix, open('/proc/self/maps').read())"
    env = {"HOME": str(tmp_path), "PATH": f"{payload}/bin"}
    argv = [embedding_program(stock, tmp_path), "plain", code]
    if way == "PYTHONHOME":
        argv, env = [stock / "bin/python3", "-c", code], {"PYTHONHOME": str(payload)}
    done = subprocess.run(argv, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{payload} ")
    assert f"{stock}/lib/python{SERIES}/lib-dynload/_ssl" in done.stdout
    assert f"{payload}/lib/libpython" not in done.stdout


def test_module_that_the_other_libpython_lacks_is_replace_prefix(stock, payload, tmp_path):
    lonely = tmp_path / "lonely"
    shutil.copytree(stock, lonely, symlinks=True)
    for file in lonely.glob("lib/python3*/lib-dynload/_ssl.*"):
        file.unlink()
    env = {"PYTHONHOME": str(payload), "LD_LIBRARY_PATH": f"{lonely}/lib"}
    argv = [lonely / "bin/python3", "-c", "import ssl"]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    said = f"ImportError: {lonely}/lib/libpython{SERIES}.so.1.0 has no module _ssl"
    assert done.stderr.rstrip().splitlines()[-1].startswith(said), done.stderr
