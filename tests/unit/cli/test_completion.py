"""The scripts of ``rezbuild completion`` in real shells."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from host_tools import needs_tool
from terminal import Terminal

from rezbuild.cli import completion, main

ROOT = Path(__file__).parents[3]
RECIPES = ROOT / "packages"
# The shell without the user's settings, and the commands that load the script.
SHELLS = {
    "bash": ("bash --norc --noprofile -i", ["PS1='$ '", ". ./script"]),
    "zsh": (
        "zsh -f -i",
        [
            *("PS1='$ '", "mkdir f", "cp script f/_rezbuild", "fpath=(~/f $fpath)"),
            *("autoload -U compinit", "compinit -u"),
        ],
    ),
}


def words(what: str) -> list[str]:
    found = completion._names(RECIPES) if what == "names" else completion._requests(RECIPES)
    return list(dict.fromkeys(found))


def typed(word: str, others: list[str]) -> str:
    """Return the shortest beginning of a word that no other word has."""
    lengths = range(1, len(word))
    return next(
        word[:n] for n in lengths if sum(other.startswith(word[:n]) for other in others) == 1
    )


def requests() -> tuple[str, str]:
    """Return the beginning of a request with a version, and the request."""
    one = next(w for w in words("requests") if w.startswith("zlib-") and w.count(".") == 2)
    return typed(one, words("requests")), one


# Each has the beginning of a command line, and its last word after Tab.
CASES = {
    "command": ("ver", "versions"),
    "command below a command": ("store ver", "verify"),
    "option": ("plan --pro", "--profile"),
    "choice of an option": ("plan --profile opt", "optimized"),
    "name": (f"versions {typed('python_tests', words('names'))}", "python_tests"),
    "second name": (f"versions zlib {typed('python_tests', words('names'))}", "python_tests"),
    "request": (f"build {requests()[0]}", requests()[1]),
    "request after options": (f"fetch --to dir {requests()[0]}", requests()[1]),
    "payload by request": ("audit python_tes", "python_tests"),
    "payload by path": ("audit ./some-pay", "./some-payload/"),
    "kind of the cache": ("cache clean cc", "ccache"),
    "file of an option": ("plan --svg ./some-pict", "./some-picture.svg"),
    "shell": ("completion fi", "fish"),
}


@pytest.fixture
def env(tmp_path: Path) -> Mapping[str, str]:
    """Return the environment of a user with two files in the home folder."""
    (tmp_path / "some-payload").mkdir()
    (tmp_path / "some-picture.svg").write_text("")
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.defpath}",
        "HOME": str(tmp_path),
        "TERM": "xterm",
        "LANG": "C.UTF-8",
        "REZBUILD_RECIPES": str(RECIPES),
    }


def write_script(shell: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab")
    assert main.main(["completion", shell]) == 0
    (folder / "script").write_text(capsys.readouterr().out, encoding="utf-8")


@pytest.mark.parametrize("shell", ["bash", pytest.param("zsh", marks=needs_tool("zsh"))])
def test_tab_completes_in_an_interactive_shell(shell, tmp_path, env, capsys) -> None:
    write_script(shell, tmp_path, capsys)
    argv, load = SHELLS[shell]
    with Terminal(argv.split(), env) as terminal:
        terminal.type("; ".join(["cd", *load, "clear\n"]))
        terminal.until_last("$")
        for begin, wanted in CASES.values():
            line = f"$ rezbuild {begin[: begin.rindex(' ') + 1] if ' ' in begin else ''}{wanted}"
            terminal.type(f"rezbuild {begin}\t")
            terminal.until_last(line)
            # An empty line, and a clear screen.
            terminal.type("\x15\x0c")
            terminal.until_last("$")


@needs_tool("fish")
@pytest.mark.parametrize("case", CASES)
def test_fish_completes(case, tmp_path, env, capsys) -> None:
    write_script("fish", tmp_path, capsys)
    begin, wanted = CASES[case]
    code = f"source script; complete -C 'rezbuild {begin}'"
    argv = ["fish", "--no-config", "-c", code]
    done = subprocess.run(argv, env=env, cwd=tmp_path, capture_output=True, text=True, check=True)
    found = [line.split("\t")[0] for line in done.stdout.splitlines()]
    assert wanted in found
    assert all(one.startswith(wanted) for one in found)
    assert done.stderr == ""


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_script_has_all_commands_and_asks_for_nothing_when_it_is_loaded(
    shell, tmp_path, env, capsys
) -> None:
    """A shell that starts must not wait for rezbuild."""
    write_script(shell, tmp_path, capsys)
    script = (tmp_path / "script").read_text(encoding="utf-8")
    for command in main._COMMANDS:
        assert command in script


def test_words_of_a_folder_without_recipes_are_none(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("REZBUILD_RECIPES", str(tmp_path))
    assert main.main(["completion", "names"]) == 0
    assert capsys.readouterr().out.strip() == ""
