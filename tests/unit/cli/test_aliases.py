"""Old names of commands, options and settings work for one more release, with a notice."""

from __future__ import annotations

import pytest

from rezbuild.cli import aliases, main


def test_old_names_become_current_names():
    words = ["-q", "stage", "stage", "--training=a", "--training", "--trainings"]
    assert aliases.replace_old_names(words) == [
        *("-q", "export", "stage", "--pgo-profile=a", "--pgo-profile", "--trainings")
    ]
    assert aliases.replace_old_names(["build", "stage"]) == ["build", "stage"]


def test_current_names_give_no_notice():
    environ = {"REZBUILD_READ_TIMEOUT": "1", "HOME": "/"}
    assert list(aliases.notices(["export", "zlib", "/x"], environ)) == []


def test_old_command_and_setting_give_a_notice(capsys, monkeypatch):
    monkeypatch.setenv("REZBUILD_SILENCE_TIMEOUT", "5")
    assert main.main(["stage", "zlib", "/etc"]) == 2
    said = capsys.readouterr().err
    assert "notice: stage is deprecated; use export\n" in said
    assert "notice: REZBUILD_SILENCE_TIMEOUT is deprecated; use REZBUILD_READ_TIMEOUT\n" in said
    with pytest.raises(SystemExit):
        main.main(["export"])
    assert "rezbuild export" in capsys.readouterr().err
