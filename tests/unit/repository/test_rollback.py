"""The replaced packages of a repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rezbuild.errors import MachineError, ReleaseError, UsageError
from rezbuild.repository import installed, rollback


def replaced(repository: Path, name: str, *, whole: bool = True) -> Path:
    folder = repository / ".rezbuild/old" / name
    (folder / installed.variant_root(Path(), "", "")).mkdir(parents=True)
    if whole:
        (folder / "package.py").touch()
    return folder


def test_last_replaced_package_is_found(tmp_path):
    replaced(tmp_path, "low-1.0.0-5")
    last = replaced(tmp_path, "low-1.0.0-10")
    replaced(tmp_path, "low-1.0.0-99", whole=False)
    replaced(tmp_path, "low_debug-1.0.0-99")
    found = rollback.find(tmp_path, "low-1")
    assert (found.folder, found.package, found.time) == (last, "low-1.0.0", 10)
    with pytest.raises(ReleaseError, match="no replaced package for low-2"):
        rollback.find(tmp_path, "low-2")
    with pytest.raises(UsageError, match="invalid request"):
        rollback.find(tmp_path, "low-=1")


def test_several_versions_must_be_named(tmp_path):
    for version in ("1.0.0", "1.0.10"):
        replaced(tmp_path, f"low-{version}-5")
    with pytest.raises(UsageError, match=r"several replaced versions for low: 1\.0\.0, 1\.0\.10"):
        rollback.find(tmp_path, "low")
    assert rollback.find(tmp_path, "low==1.0.0").version == "1.0.0"


def test_package_of_another_user_is_refused(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root can give files to another user")
    os.chown(replaced(tmp_path, "low-1.0.0-5"), 12345, -1)
    found = rollback.find(tmp_path, "low")
    with pytest.raises(MachineError, match="not a folder of yours"), rollback.locked(found, print):
        pass
    current = tmp_path / "low/1.0.0"
    current.mkdir(parents=True)
    os.chown(current, 12345, -1)
    with rollback.locked(found, print):
        rollback.put_back(found)
    assert (current / "package.py").exists()


def test_package_with_more_variants_is_not_swapped(tmp_path):
    replaced(tmp_path, "low-1.0.0-5")
    found = rollback.find(tmp_path, "low")
    (found.payload / "rezbuild.json").touch()
    current = tmp_path / "low/1.0.0"
    for variant in ("one", "two"):
        (current / variant).mkdir(parents=True)
        (current / variant / "rezbuild.json").touch()
    with (
        rollback.locked(found, print),
        pytest.raises(ReleaseError, match="variants that the replaced package lacks: one, two"),
    ):
        rollback.put_back(found)
    assert (current / "two/rezbuild.json").exists()
