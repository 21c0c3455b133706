"""The cache must belong to the caller or root; the test has files of another user."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rezbuild.errors import MachineError
from rezbuild.files import ownership
from rezbuild.settings import Settings

OTHER = 47110
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def _error_of_check(cache: Path, *paths: Path) -> str:
    with pytest.raises(MachineError) as caught:
        ownership.check(Settings(cache), [cache, *paths])
    ownership.check(Settings(cache, trust_cache=True), [cache, *paths])
    return str(caught.value)


def test_own_and_missing_folders_are_accepted(tmp_path: Path) -> None:
    tmp_path.chmod(0o775)  # a group is the caller's own choice
    ownership.check(Settings(tmp_path), [tmp_path, tmp_path / "debug", Path("/usr")])


@as_root
@pytest.mark.parametrize("name", ["", "sources", "sources/zlib/file"])
def test_folder_of_another_user_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.mkdir(parents=True, exist_ok=True)
    os.chown(path, OTHER, OTHER)
    said = _error_of_check(tmp_path, path)
    assert f"{path} belongs to the user with the number {OTHER}" in said
    assert "REZBUILD_TRUST_CACHE=1" in said
    assert f"REZBUILD_MIRRORS={tmp_path}/sources" in said


@as_root
def test_link_of_another_user_is_refused(tmp_path: Path) -> None:
    (tmp_path / "debug").symlink_to(tmp_path)
    os.lchown(tmp_path / "debug", OTHER, OTHER)
    assert "debug belongs to" in _error_of_check(tmp_path, tmp_path / "debug")


def test_world_writable_folder_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    assert f"anyone may write {tmp_path}" in _error_of_check(tmp_path)
    tmp_path.chmod(0o1777)
    ownership.check(Settings(tmp_path), [tmp_path])


def test_trust_setting_is_read() -> None:
    assert Settings.read({"REZBUILD_TRUST_CACHE": "1", "REZBUILD_CACHE": "/c"}).trust_cache
    assert not Settings.read({"REZBUILD_CACHE": "/c"}).trust_cache
