"""python_debug: gdb shows functions, lines and Python code of a moved python."""

from __future__ import annotations

from pathlib import Path

import pytest
from host_tools import require_tool
from moves import PYTHON, copy_packages, hide, variant
from studio import Studio

from rezbuild.elf import reader
from rezbuild.settings import Settings

pytestmark = pytest.mark.e2e

# CPython's own tests of its gdb commands stop here too.
SCRIPT = """\
def inner(number):
    id(number)
def outer():
    inner(42)
outer()
"""
COMMANDS = ("set breakpoint pending on", "break builtin_id", "run", "bt", "frame 0", "py-bt")


@pytest.fixture(scope="module")
def repository(built: Studio, scratch: Path) -> Path:
    """Copy the package and its python into a folder with a space in its name."""
    request = f"python_debug-{PYTHON}"
    assert f"ready: rez-env python_debug=={PYTHON}" in built.rezbuild("build", request).stdout
    return copy_packages(built, scratch / "debug repository", f"python-{PYTHON}", request)


def test_each_file_of_the_payload_has_debug_data(repository):
    root, more = (variant(repository, name) for name in ("python", "python_debug"))
    own = [path for path in reader.walk(root) if root / "deps" not in path.parents]
    ids = {reader.build_id(path) for path in own}
    data = list(reader.walk(more))
    assert {reader.build_id(path) for path in data} == ids
    for path in data:
        build_id = reader.build_id(path)
        assert path == more / f"lib/debug/.build-id/{build_id[:2]}/{build_id[2:]}.debug"


def test_gdb_shows_python_code_of_a_moved_python(built, repository, tmp_path):
    require_tool("gdb")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    orders = [word for command in COMMANDS for word in ("-ex", command)]
    with hide(built.local):
        said = built.in_env(
            *(repository, "python_debug", "gdb-python", "-batch", *orders),
            *("--args", "python3", "-I", script),
        ).stdout
    assert "Breakpoint 1, builtin_id (" in said
    # A line of the source.
    assert "builtin_id(PyModuleDef *self, PyObject *v)" in said or "PyLong_FromVoidPtr" in said
    assert "at /usr/src/debug/python/Python/bltinmodule.c:" in said
    assert " in main " in said or "main (" in said
    for line, name in ((2, "inner"), (4, "outer"), (5, "<module>")):
        assert f'File "{script}", line {line}, in {name}' in said


def test_missing_debug_data_stops_the_build(built, repository, tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "sources").symlink_to(Settings.read(built.env).cache / "sources")
    done = built.rezbuild(
        "build", f"python_debug-{PYTHON}", "--force", ok=False, REZBUILD_CACHE=str(cache)
    )
    assert done.returncode == 7
    assert f"the debug data of python-{PYTHON} is not in the cache" in done.stderr
    assert f"rezbuild build python-{PYTHON} --force" in done.stderr
    assert variant(built.local, "python_debug").is_dir()
