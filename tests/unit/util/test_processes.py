"""Parallel processes."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from host_tools import command_lines
from polling import wait_until

from rezbuild.util.processes import REZ, Task, wait_or_stop


def start(folder, code, name="thing-1"):
    log = folder / "build/rez.log"
    return Task(name, ["sh", "-c", code], folder, dict(os.environ), log)


def lines_until(task, seen):
    """Poll until a condition is true; return the lines."""
    lines = []
    end = time.monotonic() + 20
    while True:
        news = task.poll()
        lines += news.lines
        if seen(news.status):
            return lines
        assert time.monotonic() < end
        time.sleep(0.01)


def test_log_has_no_forced_colors(tmp_path, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    task = start(tmp_path, "echo color=$FORCE_COLOR")
    assert task.wait() == 0
    assert task.log.read_text() == "color=\n"


def test_output_arrives_in_complete_lines(tmp_path):
    code = "printf 'one\\ntw'; touch here; until test -e go; do sleep 0.02; done; printf 'o\\nlast'"
    task = start(tmp_path, code)
    assert lines_until(task, lambda _: (tmp_path / "here").exists()) in ([], ["one"])
    (tmp_path / "go").touch()
    assert lines_until(task, lambda status: status == 0)[-2:] == ["two", "last"]
    assert task.tail() == ["one", "two", "last"]
    task.wait()


def test_current_step_is_known(tmp_path):
    code = """
echo '{"kind": "step", "step": "02-make-all"}' >>"$REZBUILD_EVENTS"
until test -e go; do sleep 0.02; done
echo '{"kind": "step-end", "step": "02-make-all"}' >>"$REZBUILD_EVENTS"
sleep 60
"""
    task = start(tmp_path, code)
    lines_until(task, lambda _: task.step == "02-make-all")
    assert task.step_began >= task.began
    (tmp_path / "go").touch()
    assert lines_until(task, lambda _: task.step == "") == []
    task._process.kill()
    task.wait()


def test_log_is_replaced(tmp_path):
    first = start(tmp_path, "until test -e go; do sleep 0.02; done; echo first")
    second = start(tmp_path, "echo second")
    assert lines_until(second, lambda status: status == 0) == ["second"]
    (tmp_path / "go").touch()
    assert lines_until(first, lambda status: status == 0) == ["first"]
    assert second.tail() == ["second"]
    for each in (first, second):
        each.wait()


def test_single_task_prints_its_output(tmp_path):
    assert wait_or_stop(start(tmp_path, "exit 3")) == 3


STOP = """
import os, pathlib, sys, time
from rezbuild.util.processes import Task, become_subreaper, stop
become_subreaper()
folder = pathlib.Path(sys.argv[1])
# A process in a new session without parent, and one that starts others all the time.
codes = ["(setsid sleep 50 &); touch a; sleep 50", "touch b; while :; do sleep 50 & sleep 0; done"]
tasks = [Task(str(n), ["sh", "-c", c], folder, dict(os.environ), folder / f"{n}.log")
         for n, c in enumerate(codes)]
while not ((folder / "a").exists() and (folder / "b").exists()):
    time.sleep(0.01)
time.sleep(0.2)
stop(tasks)
print([task.wait() for task in tasks])
"""


@pytest.mark.parametrize("_", range(3))
def test_stop_ends_all_child_processes(tmp_path, _):
    argv = [sys.executable, "-c", STOP, str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[-9, -9]"
    # A killed process may run for some more milliseconds.
    wait_until(lambda: not sleepers_in(tmp_path))


def sleepers_in(folder):
    found = []
    for pid, line in command_lines().items():
        with contextlib.suppress(FileNotFoundError):
            if line == "sleep 50" and os.readlink(f"/proc/{pid}/cwd") == str(folder):
                found.append(pid)
    return found


def alive(pid):
    try:
        return Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_process_ends_with_its_parent():
    """Its children end too, although a shell between them lives."""
    code = "import os, subprocess, time; from rezbuild.util import processes as task\n"
    code += "task.exit_with_rez(); p = subprocess.Popen(['sleep', '60'], start_new_session=True)\n"
    code += "print(os.getpid(), p.pid, flush=True); time.sleep(60)"
    with subprocess.Popen(["sleep", "60"]) as rez:
        argv = [sys.executable, "-c", code]
        env = {**os.environ, REZ: str(rez.pid)}
        with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            pids = process.stdout.readline().split()
            # A zombie has ended too.
            rez.kill()
            assert process.wait(timeout=10) == 137
    # An orphan may stay a zombie for a long time.
    wait_until(lambda: not any(alive(pid) for pid in pids))
