"""Publication of a payload in one step, without loss."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rezbuild.errors import MachineError
from rezbuild.files import atomic_swap


def make(folder: Path, content: str) -> Path:
    (folder / "lib").mkdir(parents=True)
    (folder / "lib/file").write_text(content)
    (folder / "link").symlink_to("lib/file")
    return folder


def read(folder: Path) -> str:
    return (folder / "link").read_text()


def test_payload_moves_into_an_empty_place(tmp_path):
    target = tmp_path / "repo/thing/1.0/variant"
    atomic_swap.move_into_place(make(tmp_path / "staging", "new"), target)
    assert read(target) == "new"
    assert [path.name for path in target.parent.iterdir()] == ["variant"]
    assert not (tmp_path / "staging").exists()


def test_old_folder_is_replaced_completely(tmp_path):
    target = make(tmp_path / "repo/variant", "old")
    (target / "only-in-old").write_text("x")
    atomic_swap.move_into_place(make(tmp_path / "staging", "new"), target)
    assert read(target) == "new"
    assert not (target / "only-in-old").exists()
    assert [path.name for path in target.parent.iterdir()] == ["variant"]


def test_reader_always_finds_a_folder(tmp_path):
    """A process reads all the time while the payload is replaced again and again."""
    target = make(tmp_path / "repo/variant", "0")
    code = (
        "import os, sys\n"
        "count = 0\n"
        "while not os.path.exists(sys.argv[2]):\n"
        "    open(sys.argv[1] + '/lib/file').close()\n"
        "    count += 1\n"
        "print(count)\n"
    )
    stop = tmp_path / "stop"
    argv = [sys.executable, "-I", "-S", "-c", code, str(target), str(stop)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as reader:
        time.sleep(0.3)
        for number in range(200):
            atomic_swap.move_into_place(make(tmp_path / f"staging{number}", str(number)), target)
        stop.write_text("")
        out, err = reader.communicate(timeout=60)
    assert (reader.returncode, err) == (0, b"")
    assert int(out) > 100


def test_payload_moves_from_another_file_system(tmp_path):
    other = Path("/dev/shm") / f"rezbuild-test-{os.getpid()}"
    if other.parent.stat().st_dev == tmp_path.stat().st_dev:
        other = tmp_path / "same"  # nothing else is at hand; the rename is tested then
    target = make(tmp_path / "repo/variant", "old")
    atomic_swap.move_into_place(make(other, "new"), target)
    assert read(target) == "new"
    assert not other.exists()


def test_unwritable_repository_is_an_error(tmp_path):
    (tmp_path / "repo").write_text("a file where a folder should be")
    staging = make(tmp_path / "staging", "new")
    with pytest.raises(MachineError, match="cannot be written") as caught:
        atomic_swap.move_into_place(staging, tmp_path / "repo/variant")
    assert caught.value.advice
    assert read(staging) == "new"
