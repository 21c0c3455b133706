"""Notices for old names, which work for one more release, and for unknown settings."""

from __future__ import annotations

import re
from pathlib import Path

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


def test_unknown_setting_gives_a_notice_with_the_nearest_name(capsys, monkeypatch):
    monkeypatch.setenv("REZBUILD_PROFIL", "fast")
    monkeypatch.setenv("REZBUILD_QUX", "1")
    monkeypatch.setenv("REZBUILD_ZLIB_VERSION", "1.3.1")
    assert main.main(["export", "zlib", "/etc"]) == 2
    said = capsys.readouterr().err
    assert "notice: REZBUILD_PROFIL is unknown; is it REZBUILD_PROFILE?\n" in said
    assert "notice: REZBUILD_QUX is unknown\n" in said
    assert "VERSION is unknown" not in said


def test_all_variables_of_the_code_are_known():
    code = Path(aliases.__file__).parents[1].rglob("*.py")
    text = "".join(path.read_text(encoding="utf-8") for path in code)
    names = set(re.findall(r"\bREZBUILD(?:_[A-Z]+)+\b", text))
    assert len(names) > 30
    assert list(aliases.unknown_settings(dict.fromkeys(names, ""))) == []
