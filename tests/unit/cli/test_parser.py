"""Unknown options and commands: the nearest one, or the argument that an option means."""

from __future__ import annotations

import argparse

import pytest

from rezbuild.cli import main


def refusal(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """Return the last line of a usage error."""
    with pytest.raises(SystemExit, match="2"):
        main.main(argv)
    said = capsys.readouterr()
    assert said.out == ""
    return said.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        ("build zlib --prifile fast", "build: error: --prifile is unknown; is it --profile?"),
        ("build zlib --prof fast", "build: error: --prof is unknown; is it --profile?"),
        ("build --jbos=4", "build: error: --jbos is unknown; is it --jobs?"),
        # An argument is missing, too: its error would hide the cause.
        ("lock --strct", "lock: error: --strct is unknown; is it --strict?"),
        ("cache clean --dryrun", "cache clean: error: --dryrun is unknown; is it --dry-run?"),
        (
            "worker --scheduler tcp://a:1",
            "worker: error: --scheduler is unknown; give ADDRESS alone: rezbuild worker ADDRESS",
        ),
        (
            "worker --adress=tcp://a:1",
            "worker: error: --adress is unknown; give ADDRESS alone: rezbuild worker ADDRESS",
        ),
        (
            "farm drain --worker one",
            "farm drain: error: --worker is unknown; give WORKER alone: rezbuild farm drain WORKER",
        ),
        (
            "farm --json status",
            "farm: error: --json is unknown; options follow the command: rezbuild farm COMMAND",
        ),
        (
            "--jobs 4 build zlib",
            "error: --jobs is unknown; options follow the command: rezbuild COMMAND",
        ),
        ("biuld zlib", "error: biuld is unknown; is it build?"),
        ("farm statsu", "farm: error: statsu is unknown; is it status?"),
        ("--verison", "error: --verison is unknown; is it --version?"),
        ("build zlib --nonsense", "build: error: --nonsense is unknown"),
        ("build zlib -x", "build: error: unknown arguments: -x"),
        ("doctor zlib", "doctor: error: unknown arguments: zlib"),
    ],
)
def test_unknown_option_names_the_nearest_one(capsys, argv, line):
    found = refusal(capsys, *argv.split())
    assert found.replace("rezbuild: ", "rezbuild ", 1) == f"rezbuild {line}"


def commands(parser: argparse.ArgumentParser, *words: str) -> list[tuple[str, ...]]:
    """Return the words of each command that has no commands below it."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            below = action.choices.items()
            return [found for name, one in below for found in commands(one, *words, name)]
    return [words]


@pytest.mark.parametrize("words", commands(main.make_parser()), ids=" ".join)
def test_each_command_has_hints(capsys, words):
    wanted = f"rezbuild {' '.join(words)}: error: --verbos is unknown; is it --verbose?"
    assert refusal(capsys, *words, "--verbos") == wanted


def test_word_after_two_dashes_is_no_option(capsys):
    assert main.main(["lock", "--", "--strct"]) == 2
    assert "'--strct' is not a Rez request" in capsys.readouterr().err
