"""The folders that a release needs, on real small and read-only disks."""

from __future__ import annotations

import pytest
from mounts import mounts

from rezbuild.errors import MachineError
from rezbuild.run import release


def test_missing_folder_on_a_usable_disk_is_accepted(tmp_path):
    release.check_folders([tmp_path / "not/made/yet"])
    assert not list(tmp_path.iterdir())


def test_small_or_read_only_disk_is_refused_before_a_release(tmp_path):
    disk = tmp_path / "disk"
    with mounts() as space:
        space.disk(disk)
        seen = space.outer_path(disk)
        with pytest.raises(MachineError, match=r"has .* MB of free space, and .* needs 1.0 GB"):
            release.check_folders([seen / "packages"])
        space.writable(disk, to=False)
        with pytest.raises(MachineError, match="cannot be written: Read-only file system"):
            release.check_folders([seen / "packages"])
