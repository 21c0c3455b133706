"""Commands whose settings name a folder that does not exist, e.g. a missing mount."""

from __future__ import annotations

from pathlib import Path

import pytest

from rezbuild.cli import main
from rezbuild.errors import MachineError
from rezbuild.run import named_folders
from rezbuild.settings import Settings

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("argv", ["build zlib", "plan zlib", "fetch zlib", "export zlib {}/out"])
@pytest.mark.parametrize("variable", ["REZBUILD_STORE", "REZBUILD_MIRRORS"])
def test_missing_folder_ends_a_command_before_it_begins(
    argv, variable, tmp_path, monkeypatch, capsys
):
    missing = tmp_path / "mount/of nothing"
    monkeypatch.setenv(variable, f"'{missing}'" if variable == "REZBUILD_MIRRORS" else str(missing))
    monkeypatch.setenv("REZBUILD_RECIPES", str(ROOT / "packages"))
    assert main.main(argv.format(tmp_path).split()) == 10
    said = capsys.readouterr().err
    assert f"{variable} names a folder that does not exist: {missing}" in said
    assert f"mkdir -p '{missing}'" in said
    assert not missing.exists()


def test_missing_store_ends_the_command_store(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("REZBUILD_STORE", str(tmp_path / "store"))
    assert main.main(["store", "list"]) == 10
    assert "REZBUILD_STORE names a folder that does not exist" in capsys.readouterr().err


def test_doctor_lists_missing_folders(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("REZBUILD_STORE", f"file://{tmp_path}/store")
    monkeypatch.setenv(
        "REZBUILD_MIRRORS", f"https://example.invalid/x {tmp_path}/mirror {tmp_path}"
    )
    assert main.main(["doctor"]) == 10
    out = capsys.readouterr().out
    assert f"REZBUILD_STORE: {tmp_path}/store does not exist" in out
    assert f"REZBUILD_MIRRORS: {tmp_path}/mirror does not exist" in out
    assert f"ok        REZBUILD_MIRRORS: {tmp_path}\n" in out


def test_folder_that_fetch_creates_may_be_a_mirror(tmp_path):
    settings = Settings(cache=tmp_path, mirrors=(str(tmp_path / "new"),))
    named_folders.require(settings, created=tmp_path / "new")
    with pytest.raises(MachineError):
        named_folders.require(settings, created=tmp_path / "other")
