"""Errors of the file system, and what they name."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from rezbuild.errors import BuildError, MachineError
from rezbuild.files import disk_space


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_error_lists_the_space_of_each_folder(tmp_path: Path, number: int) -> None:
    """The error of write(2) names no file; the folders need not exist."""
    places = (tmp_path, tmp_path / "not/there")
    error = disk_space.explain(OSError(number, os.strerror(number)), places)
    assert error.exit_code == 10
    assert [line.partition(": ")[0] for line in error.tried] == [
        f"free space in {p}" for p in places
    ]
    assert "free some space there" in error.advice[-1]


def test_step_output_about_a_full_disk_is_recognized(tmp_path: Path) -> None:
    step = BuildError("as: can't write: No space left on device", advice=["look"])
    error = disk_space.explain(step, [tmp_path])
    assert error is step
    assert error.tried
    assert error.advice[0] == "look"


def test_other_errors_are_unchanged(tmp_path: Path) -> None:
    assert disk_space.explain(BuildError("no"), [tmp_path]).tried == ()
    error = disk_space.explain(PermissionError(errno.EACCES, "Permission denied", "x"), [tmp_path])
    assert str(error).startswith("x: Permission denied")
    assert error.tried == ()


def test_failed_copy_is_a_short_error(tmp_path: Path) -> None:
    """shutil lists every file, with two paths and the text of the error."""
    for name in ("a", "b"):
        (tmp_path / "from" / name).mkdir(parents=True)
        (tmp_path / "from" / name / "link").symlink_to("nowhere")
    with pytest.raises(shutil.Error) as caught:
        shutil.copytree(tmp_path / "from", tmp_path / "to")
    said = str(MachineError.from_os_error(caught.value))
    assert f"{tmp_path}/to/" in said
    assert "and 1 more: No such file or directory\n" in said
