"""Temporary folders are private, and are removed at the end or by the next run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from rezbuild.files import temp_folders

LONG = "import time; from rezbuild.files import temp_folders as scratch\n"
LONG += "with scratch.folder() as f: print(f, flush=True); time.sleep(60)"


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_temporary_files_are_inside_the_folder(temporary: Path) -> None:
    with temp_folders.folder() as folder:
        assert folder.parent == temporary
        assert folder.stat().st_mode & 0o777 == 0o700
        assert os.environ["TMPDIR"] == tempfile.gettempdir() == str(folder)
        Path(tempfile.mkdtemp(), "left").touch()
    assert list(temporary.iterdir()) == []
    assert os.environ["TMPDIR"] == tempfile.gettempdir() == str(temporary)


def test_folders_of_killed_processes_are_removed(temporary: Path) -> None:
    for name in ("rezbuild-of-something-else", "other"):
        (temporary / name).mkdir()
    running = [
        subprocess.Popen([sys.executable, "-c", LONG], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    places = [Path(process.stdout.readline().strip()) for process in running if process.stdout]
    running[0].send_signal(signal.SIGKILL)
    running[0].wait()
    assert all(place.is_dir() for place in places)
    with temp_folders.folder():
        assert [place.is_dir() for place in places] == [False, True]
    running[1].terminate()
    for process in running:
        process.communicate()
    assert (temporary / "rezbuild-of-something-else").is_dir()
    assert (temporary / "other").is_dir()


def test_folder_is_removed_after_an_error(temporary: Path) -> None:
    with pytest.raises(ValueError), temp_folders.folder():
        raise ValueError
    assert list(temporary.iterdir()) == []
