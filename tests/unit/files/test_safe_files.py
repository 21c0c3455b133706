"""Files that are written in one step."""

from __future__ import annotations

import pytest

from rezbuild.files import safe_files


def test_folder_is_not_replaced_and_the_error_names_it(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        safe_files.replace(folder, b"data")
    assert caught.value.filename == str(folder)
    assert list(tmp_path.iterdir()) == [folder]


def test_link_to_a_folder_is_replaced(tmp_path):
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    safe_files.replace(link, b"data")
    assert not link.is_symlink()
    assert link.read_bytes() == b"data"
