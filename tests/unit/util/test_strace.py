"""Output of strace, and strace on small programs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from host_tools import needs_tool

from rezbuild.errors import MachineError
from rezbuild.util import strace
from rezbuild.util.strace import Call, parse

WITH_STRACE = needs_tool("strace")
RECORD = r"""execve("/bin/x", ["/bin/x", "a = 3"], 0x7ffd /* 0 vars */) = 0
access("/etc/ld.so.preload", R_OK) = -1 ENOENT (No such file or directory)
openat(AT_FDCWD, "lib/\"x\" = -1", O_RDONLY|O_CLOEXEC) = 3
openat(4, "inside", O_RDONLY) = 5
newfstatat(3, "", {st_mode=S_IFREG|0755, st_size=26, ...}, AT_EMPTY_PATH) = 0
readlink("/bin/x", 0x7fff0, 4096) = -1 EINVAL (Invalid argument) (DELAYED)
readlink("/proc/self/exe", "/bin/x"..., 4096) = 6 (DELAYED)
utimensat(3, NULL, NULL, 0) = 0
--- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=5} ---
stat("/gone", <unfinished ...>) = ?
+++ exited with 0 +++
"""


def test_each_call_is_read():
    assert list(parse(RECORD, Path("/here"))) == [
        Call("execve", "/bin/x", True),
        Call("access", "/etc/ld.so.preload", False),
        Call("openat", r"/here/lib/\"x\" = -1", True),
        Call("openat", "", True),
        Call("newfstatat", "", True),
        Call("readlink", "/bin/x", False),
        Call("readlink", "/proc/self/exe", True),
        Call("utimensat", "", True),
        Call("stat", "/gone", False),
    ]


def run_traced(*argv: str, cwd: Path) -> strace.Trace:
    return strace.trace(argv, env={"PATH": "/usr/bin:/bin"}, cwd=cwd)


@WITH_STRACE
def test_calls_of_children_are_read(tmp_path):
    (tmp_path / "there").touch()
    found = run_traced("/bin/sh", "-c", "cat there; cat not-there & wait; exit 3", cwd=tmp_path)
    assert found.status == 3
    assert "not-there" in found.output
    asked = {call.path: call.worked for call in found.calls if call.name.startswith("open")}
    assert asked[str(tmp_path / "there")] is True
    assert asked[str(tmp_path / "not-there")] is False
    assert str(tmp_path / "not-there") in [call.path for call in found.failed]


@WITH_STRACE
def test_counts_agree_with_strace(tmp_path):
    argv = (sys.executable, "-I", "-B", "-c", "import json")
    subprocess.run(argv, env={}, check=True)
    summary = tmp_path / "summary"
    options = ("-f", "-c", "-o", str(summary), "-e", "trace=%file")
    subprocess.run(["strace", *options, *argv], env={"PATH": "/usr/bin:/bin"}, cwd=tmp_path,
                   check=True)  # fmt: skip
    total = next(line.split() for line in summary.read_text().splitlines() if "total" in line)
    found = run_traced(*argv, cwd=tmp_path)
    assert [len(found.calls), len(found.failed)] == [int(n) for n in total if n.isdecimal()][-2:]


@WITH_STRACE
def test_killed_program_is_reported(tmp_path):
    assert run_traced("/bin/sh", "-c", "kill -9 $$", cwd=tmp_path).status == 137


@WITH_STRACE
def test_missing_program_is_reported(tmp_path):
    with pytest.raises(MachineError, match=r"strace cannot trace here: .*no-such-program"):
        run_traced("/no-such-program", cwd=tmp_path)


def test_missing_strace_is_reported(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineError, match="strace is not installed") as caught:
        run_traced("/bin/true", cwd=tmp_path)
    assert "install strace" in caught.value.advice[0]
