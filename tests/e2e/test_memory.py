"""Memory and file system calls of the program."""

from __future__ import annotations

import json
import mmap
import platform
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from host_tools import require_tool
from moves import PYTHON_SERIES

from rezbuild.payload import manifest
from rezbuild.util import strace
from rezbuild.util.import_file import load

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(PYTHON_SERIES < (3, 11), reason="3.11 on"),
]
KERNEL = tuple(int(part) for part in re.findall(r"\d+", platform.release())[:2])
# A jump through a table at a fixed address, as in `jmp *table(,%rax,8)`: Intel's manual, volume 2,
# FF /4 with a SIB byte, scale 8, no base. Position-independent code has none.
TABLE = re.compile(rb"\xff\x24[\xc5\xcd\xd5\xdd\xe5\xed\xf5\xfd]")
# Older versions of strace do not know the name.
CALL = re.compile(r"madvise\(\w+, (\d+), (?:MADV_POPULATE_WRITE|0x17\b.*?)\) += (\S+)")


def test_program_is_compiled_for_a_fixed_address(payload):
    """LTO would generate position-independent code, which slows down each opcode."""
    if manifest.read(payload)["profile"] != "optimized" or platform.machine() != "x86_64":
        pytest.skip("the fast profile has no LTO; the machine code is that of x86_64")
    with (payload / "bin/python3").open("rb") as stream:
        file = ELFFile(stream)
        assert file["e_type"] == "ET_EXEC"
        code = file.get_section_by_name(".text").data()
    assert len(TABLE.findall(code)) > 100


def test_one_call_maps_the_data(payload):
    require_tool("strace")
    argv = ["strace", "-e", "trace=madvise", payload / "bin/python3", "-I", "-c", "pass"]
    done = subprocess.run(argv, env={}, capture_output=True, text=True, check=True)
    found = CALL.findall(done.stderr)
    assert len(found) == 1, done.stderr
    size, result = found[0]
    assert int(size) > 1 << 19
    if KERNEL >= (5, 14):
        assert result == "0"


# Counts the written pages between two addresses, see proc_pid_pagemap(5): bit 63 is "present", bit
# 61 is "page of a file".
WRITTEN = """\
import mmap, struct, sys
first, end = (int(word) // mmap.PAGESIZE for word in sys.argv[1:])
with open("/proc/self/pagemap", "rb") as stream:
    stream.seek(first * 8)
    pages = struct.unpack(f"{end - first}Q", stream.read((end - first) * 8))
print(sum(page >> 63 and not page >> 61 & 1 for page in pages))
"""


def test_start_uses_no_data_of_libraries(built, payload):
    """In one section with CPython's, equal strings would be one: a start would use all pages."""
    with (payload / "bin/python3").open("rb") as stream:
        file = ELFFile(stream)
        section = file.get_section_by_name
        ours, theirs = (section(f".rodata.{name}").data() for name in ("strings", "libraries"))
        assert b"SQLite format 3\0" not in section(".rodata").data() + ours
        data = section(".data.libraries")
        begin, size = data["sh_addr"], data["sh_size"]
    assert b"SQLite format 3\0" in theirs
    assert b"__reduce_ex__\0" in ours
    # The first page also has data of CPython.
    pages = (str(begin + mmap.PAGESIZE), str(begin + size))
    written = built.run(payload / "bin/python3", "-I", "-c", WRITTEN, *pages).stdout
    assert int(written) < size / mmap.PAGESIZE / 4


IMPORTED = """\
import sys
specs = [module.__spec__ for module in sys.modules.values()]
print(*[spec.name for spec in specs if spec and spec.has_location])
"""


def test_code_of_a_start_is_first_in_the_table(built, payload):
    """Then it is on few pages of the program."""
    freeze = load(Path(__file__).parents[2] / "packages/python", "freeze.py")
    lib = payload / f"lib/python{PYTHON_SERIES[0]}.{PYTHON_SERIES[1]}"
    first = [name for name, *_ in freeze.modules(str(lib))][:4]
    imported = built.run(payload / "bin/python3", "-I", "-c", IMPORTED).stdout.split()
    assert "encodings.utf_8" in imported
    assert set(imported) <= set(first)


PLACES = """\
import json, os, sys, zipimport
folder, missing, archive = sys.path[1:4]
import first
try:
    import later
except ImportError:
    pass
kinds = [type(sys.path_importer_cache[p]).__name__ for p in (folder, missing, archive)]
# A listed folder is read again after a change of its time or invalidate_caches().
with open(os.path.join(folder, "later.py"), "w") as stream:
    stream.write("value = 2")
import importlib
importlib.invalidate_caches()
import later
# A folder that was only checked is listed at the first search.
new = os.path.join(folder, "new")
os.mkdir(new)
finder = sys.path_hooks[1](new)
with open(os.path.join(new, "fresh.py"), "w"):
    pass
import zipped
print(json.dumps({
    "kinds": kinds,
    "found": [first.value, later.value, zipped.value],
    "fresh": finder.find_spec("fresh") is not None,
    "zip": zipped.__loader__.archive == archive,
    "hooks": sys.path_hooks[0] is zipimport.zipimporter,
}))
"""


def test_folders_and_zip_files_on_the_path_are_found(built, payload, tmp_path):
    """The finder checks a folder once before it lists it.

    Zip files come first in sys.path_hooks, as in CPython; PyInstaller adds its hook after them.
    """
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "first.py").write_text("value = 1")
    archive = tmp_path / "modules.zip"
    with zipfile.ZipFile(archive, "w") as stream:
        stream.writestr("zipped.py", "value = 3")
    path = f"{folder}:{tmp_path}/missing:{archive}"
    done = built.run(payload / "bin/python3", "-c", PLACES, cwd="/", PYTHONPATH=path)
    assert json.loads(done.stdout) == {
        "kinds": ["FileFinder", "NoneType", "zipimporter"],
        "found": [1, 2, 3],
        "fresh": True,
        "zip": True,
        "hooks": True,
    }


BESIDE = """\
import json, sys
import inside, below
kinds = [type(sys.path_importer_cache[p]).__name__ for p in sys.path[1:4]]
print(json.dumps([inside.value, below.value, kinds]))
"""


def test_zip_files_beside_the_library_are_found(built, payload, tmp_path):
    """The zip finder does not check the folder of the library: it is no zip file."""
    copy = tmp_path / "payload"
    shutil.copytree(payload, copy, symlinks=True)
    zipped = copy / f"lib/python{PYTHON_SERIES[0]}{PYTHON_SERIES[1]}.zip"
    with zipfile.ZipFile(zipped, "w") as stream:
        stream.writestr("inside.py", "value = 1")
        stream.writestr("folder/below.py", "value = 2")
    path = f"{zipped}/folder:{copy}/lib/missing.zip:{copy}/lib/python-missing/x.zip"
    done = built.run(copy / "bin/python3", "-c", BESIDE, cwd="/", PYTHONPATH=path)
    assert json.loads(done.stdout) == [1, 2, ["zipimporter", "NoneType", "NoneType"]]


USER = """\
import json, site
print(json.dumps([site.ENABLE_USER_SITE, site.USER_BASE, site.USER_SITE]))
"""


def test_user_folders_are_looked_up_on_demand(built, payload, tmp_path):
    """If HOME is not set, e.g. in a farm's service, the look-up may ask a directory server."""
    python = payload / "bin/python3"
    there = json.loads(built.run(python, "-c", USER, HOME=str(tmp_path)).stdout)
    site = f"{tmp_path}/.local/lib/python{PYTHON_SERIES[0]}.{PYTHON_SERIES[1]}/site-packages"
    assert there == [True, f"{tmp_path}/.local", site]
    assert json.loads(built.run(python, "-I", "-c", USER, HOME=str(tmp_path)).stdout) == [
        False,
        *there[1:],
    ]
    homeless = subprocess.run([python, "-I", "-c", USER], env={}, capture_output=True, check=True)
    assert all(isinstance(place, str) for place in json.loads(homeless.stdout)[1:])
    if shutil.which("strace"):
        traced = strace.trace((python, "-I", "-c", "pass"), env={}, cwd=Path("/"))
        assert not [call.path for call in traced.calls if call.path == "/etc/passwd"]
