"""Folders in which programs cannot run, on a real disk that is mounted with noexec."""

from __future__ import annotations

import pytest
from mounts import mounts

from rezbuild.errors import MachineError
from rezbuild.files import noexec


def test_folder_where_programs_run_is_accepted(tmp_path):
    noexec.refuse(tmp_path, tmp_path / "not/made/yet")


def test_noexec_folder_is_refused_with_one_line(tmp_path):
    disk = tmp_path / "disk"
    with mounts() as space:
        space.disk(disk)
        space.mount("-o", "remount,noexec", disk)
        seen = space.outer_path(disk)
        assert noexec.is_noexec(seen / "missing")
        with pytest.raises(MachineError, match="mounted with noexec") as error:
            noexec.refuse(tmp_path, seen)
        assert error.value.exit_code == 10
        assert error.value.advice == ("use another folder, or mount it without noexec",)


def test_advice_for_the_temporary_folder_is_tmpdir(tmp_path, monkeypatch):
    disk = tmp_path / "disk"
    with mounts() as space:
        space.disk(disk)
        space.mount("-o", "remount,noexec", disk)
        monkeypatch.setattr("tempfile.tempdir", str(space.outer_path(disk)))
        with pytest.raises(MachineError, match="noexec") as error:
            noexec.refuse(space.outer_path(disk))
        assert error.value.advice == ("set TMPDIR to a folder where programs can run",)
