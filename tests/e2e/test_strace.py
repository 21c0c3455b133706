"""Files of the host that the moved Python opens during all imports, by strace."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from host_tools import require_tool
from studio import ROOT

from rezbuild.elf import reader
from rezbuild.elf.host_libraries import host_libraries
from rezbuild.util import strace
from rezbuild.util.strace import Call

pytestmark = pytest.mark.e2e
LIBRARY = ROOT / "packages/python/host/stdlib.py"

# Files that every program of the host reads: no libraries, no data of other packages.
HOST = {
    r"/dev/(null|tty|u?random)": "devices",
    r"/proc/|/sys/": "the kernel",
    r"/etc/ld\.so\.(cache|preload)": "glibc's loader",
    r"/etc/(nsswitch\.conf|passwd|group|host\.conf|resolv\.conf|hosts|services)": "glibc's nss",
    r"/usr/(lib/locale|share/locale)/": "glibc's locales",
    r"(/usr)?/lib(64)?(/[^/]+)?/gconv/": "glibc's character sets",
    r"(/etc|/lib|/usr/lib|/usr/share)/terminfo(/|$)": "the terminal's description",
    r"/etc/inputrc": "the host's key bindings; readline reads them in each program",
    r"/usr/share/zoneinfo|/etc/localtime": "the time zone",
    r"/nowhere/bin/": "programs; none is found in these tests",
    r"/etc/mime\.types": "mimetypes reads the host's, where it is asked for",
    r"/etc/(ssl|pki)/|/var/lib/ca-certificates": "the host's certificates",
}
# Tk uses the host's X11: a client library must match the server's fonts and extensions.
X11 = {
    "libX11.so.6",
    "libXext.so.6",
    "libXft.so.2",
    "libXrender.so.1",
    "libXss.so.1",
    "libfontconfig.so.1",
}
# glibc loads this library when a thread is cancelled (pthread_cancel(3)).
UNWINDER = {"libgcc_s.so.1"}
_OPENS = ("open", "openat", "openat2", "execve")


@pytest.fixture
def trace(payload, tmp_path) -> list[Call]:
    return trace_code(payload, tmp_path, LIBRARY.read_text())


def trace_code(payload: Path, folder: Path, code: str) -> list[Call]:
    require_tool("strace")
    home = folder / "home"
    home.mkdir()
    argv = (payload / "bin/python3", "-I", "-B", "-c", code)
    # IDLE runs file(1) on the interpreter at import; with this PATH, it finds no program.
    env = {"HOME": str(home), "TMPDIR": str(home), "TERM": "xterm", "PATH": "/nowhere/bin"}
    # Other tests check missing modules and the exit code.
    calls = strace.trace(argv, env=env, cwd=home).calls
    # Calls on open files do not matter here.
    return [call for call in calls if call.path]


def host_calls(trace: list[Call], payload: Path, folder: Path) -> Iterator[Call]:
    """Return the calls about files of the host."""
    own = (str(payload.resolve()), str(payload), str(folder))
    for call in trace:
        if not os.path.normpath(call.path).startswith(own) and not is_above(call.path, own):
            yield call


def is_above(path: str, own: tuple[str, ...]) -> bool:
    """Return whether a path is a parent folder, which realpath(3) reads."""
    return any(place.startswith(path.rstrip("/") + "/") for place in own)


def is_allowed_file(path: str) -> bool:
    return any(re.match(pattern, path) for pattern in HOST)


def allowed_libraries(paths: list[str]) -> set[str]:
    """Return sonames of glibc, and of X11 with its dependencies."""
    needs = {}
    for path in (Path(path).resolve() for path in paths):
        if reader.is_elf(path):
            data = reader.read(path)
            needs[data.soname] = set(data.needed)
    reached, todo = set(), set(X11)
    while todo:
        name = todo.pop()
        reached.add(name)
        todo |= needs.get(name, set()) - reached
    return reached | host_libraries().glibc | UNWINDER


def host_files(trace: list[Call], payload: Path, folder: Path) -> list[str]:
    """Return opened files of the host that do not belong to glibc, the kernel or X11."""
    opened = [
        call.path
        for call in host_calls(trace, payload, folder)
        if call.worked and call.name in _OPENS and not is_allowed_file(call.path)
    ]
    files = [path for path in dict.fromkeys(opened) if not Path(path).is_dir()]
    allowed = allowed_libraries(files)
    return [path for path in files if Path(path).name not in allowed]


def test_imports_read_only_the_payload(payload, tmp_path, trace):
    files = (".py", ".pyc", ".so")
    assert len([call for call in trace if call.path.endswith(files)]) > 300
    assert host_files(trace, payload, tmp_path) == []


# CPython's getpath.py walks up from the executable (search_up of ZIP_LANDMARK) before it looks for
# the library itself.
ZIP = re.compile(r"(.*)/lib/python3\d+\.zip")


def missing_paths(trace: list[Call], payload: Path, folder: Path) -> set[str]:
    """Return the paths of the host that were not found."""
    failed = {call.path for call in host_calls(trace, payload, folder) if not call.worked}
    failed = {path for path in failed if not is_allowed_file(path)}
    places = ((path, ZIP.fullmatch(path)) for path in failed)
    above = {path for path, zipped in places if zipped and is_above(zipped[1], (str(payload),))}
    # readlink(2) fails for other files.
    return {path for path in failed - above if not Path(path).exists()}


def test_start_searches_only_the_payload(payload, tmp_path, trace):
    """Neither the placeholder prefix nor the host's Python folders are searched."""
    assert missing_paths(trace, payload, tmp_path) == set()


def test_strace_sees_files_of_the_host(payload, tmp_path, scratch):
    """This proves that the previous tests trace calls."""
    library = scratch / "libforeign.so.1"
    words = ["cc", "-shared", "-x", "c", "-", "-o", library]
    subprocess.run(words, input=b"int none;", check=True)
    code = f"import ctypes; ctypes.CDLL({str(library)!r}); open('/etc/hostname')\n"
    code += "open('/rezbuild/python/lib')"
    found = trace_code(payload, tmp_path, code)
    assert {str(library), "/etc/hostname"} <= set(host_files(found, payload, tmp_path))
    assert missing_paths(found, payload, tmp_path) == {"/rezbuild/python/lib"}
