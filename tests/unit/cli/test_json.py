"""Outputs of ``--json`` agree with docs/reference/json.md, and standard output has nothing else."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import json_page
import pytest
from payloads import payload

from rezbuild.cli import main
from rezbuild.util import json_output


def commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield child
                yield from commands(child)


def test_page_has_a_section_for_each_command_with_json() -> None:
    found = {
        command.prog
        for command in commands(main.make_parser())
        if any("--json" in action.option_strings for action in command._actions)
    }
    documented = set()
    for title, _, _ in json_page.sections().values():
        first, *others = title.split(" --")[0].split(", ")
        documented |= {first, *(f"{first.rpartition(' ')[0]} {name}" for name in others)}
    assert documented == found


def test_text_names_the_schema_first_and_replaces_a_foreign_one() -> None:
    found = json.loads(json_output.text("rezbuild-x", {"b": 1, "schema": "evil"}, version=3))
    assert list(found) == ["schema", "b"]
    assert found["schema"] == {"name": "rezbuild-x", "version": 3}


def test_json_of_any_text_is_printed_unchanged(tmp_path, capsys) -> None:
    """Reporters escape control characters; a file name may hold any."""
    name = "a\x7f\x1b\u202e\udcff\n\té"
    (tmp_path / name).symlink_to("/usr/bin/env")
    assert main.main(["audit", "--json", str(tmp_path)]) == 9
    found = json_page.read(capsys.readouterr().out)["findings"]
    assert name in {finding["path"] for finding in found}


@pytest.mark.parametrize(
    "argv",
    [
        ("versions", "zlib", "python_debug", "vfxplatform"),
        ("versions", "--outdated", "zlib"),
        ("doctor", "--tests"),
    ],
)
def test_output_has_the_documented_keys(argv, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("REZBUILD_CACHE", str(tmp_path))
    monkeypatch.setenv("REZBUILD_UNKNOWN", "causes a notice")
    main.main([*argv, "--json"])
    said = capsys.readouterr()
    assert json_page.read(said.out)
    assert "REZBUILD_UNKNOWN" in said.err


def test_manifest_has_the_record_of_the_payload(tmp_path: Path, capsys) -> None:
    root = payload(tmp_path / "root")
    assert main.main(["manifest", "--json", str(root)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found.pop("schema") == {"name": "rezbuild-manifest", "version": 1}
    assert found == json.loads((root / "rezbuild.json").read_text(encoding="utf-8"))
