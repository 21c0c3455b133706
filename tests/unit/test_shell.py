"""No shell command contains a name or a path; no temporary name is predictable."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = [*(ROOT / "rezbuild").rglob("*.py"), *(ROOT / "packages").glob("*/*.py")]
# These functions start a shell.
BY_SHELL = {"system", "popen", "getoutput", "getstatusoutput", "create_subprocess_shell"}
SHELLS = {"sh", "bash", "dash", "/bin/sh", "/bin/bash"}


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def problems(text: str) -> Iterator[str]:
    """Find calls that start a shell with words that are not constant."""
    for call in _calls(ast.parse(text)):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        name = call.func.id if isinstance(call.func, ast.Name) else name
        line = f"line {call.lineno}: "
        if name in BY_SHELL:
            yield f"{line}{name}()"
        for keyword in call.keywords:
            off = isinstance(keyword.value, ast.Constant) and not keyword.value.value
            if keyword.arg == "shell" and not off:
                yield f"{line}shell="
    for node in ast.walk(ast.parse(text)):
        words = node.args if isinstance(node, ast.Call) else getattr(node, "elts", None)
        if words:
            yield from _given_to_a_shell(words)


def _given_to_a_shell(words: list[ast.expr]) -> Iterator[str]:
    """Find ``sh -c WORDS``, as arguments or in a list, whose WORDS are not constant."""
    values = [word.value if isinstance(word, ast.Constant) else None for word in words]
    for shell, option, script in zip(values, values[1:], words[2:]):
        fixed = isinstance(script, ast.Constant)
        if shell in SHELLS and option == "-c" and not fixed:
            yield f"line {script.lineno}: sh -c {ast.unparse(script)}"


def search_files(search: Callable[[str], Iterable[str]]) -> set[str]:
    """Return the problems that a function finds in the texts of all modules."""
    return {
        f"{path.relative_to(ROOT)}: {problem}"
        for path in FILES
        for problem in search(path.read_text(encoding="utf-8"))
    }


def test_no_shell_command_contains_a_name() -> None:
    assert not search_files(problems)


def test_shell_commands_with_names_are_found() -> None:
    text = """
import os, subprocess
os.system("ls")
subprocess.run("ls", shell=True)
subprocess.run(["ls"], shell=False)
b.run("sh", "-c", f"cd {folder}")
run(["sh", "-c", "fixed"])
run(["sh", "-c", "cd " + folder])
"""
    assert [problem.split(": ")[0] for problem in problems(text)] == [
        "line 3",
        "line 4",
        "line 6",
        "line 8",
    ]


def predictable_names(text: str) -> Iterator[str]:
    """Find predictable names of temporary files."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute) and node.attr in ("mktemp", "gettempdir"):
            yield f"line {node.lineno}: {node.attr}()"
        if isinstance(node, ast.Constant) and re.match(r"/(var/)?tmp\b", str(node.value)):
            yield f"line {node.lineno}: {node.value}"


def test_temporary_folders_are_private() -> None:
    """mkdtemp(3) makes them with mode 700 and a unique name; nothing else is used."""
    found = search_files(predictable_names)
    # These files read the names, and create only what mkdtemp creates. rezbuild refuses the folder
    # of this host's locks if it belongs to another user.
    allowed = {
        "rezbuild/bench/__init__.py",
        "rezbuild/build/pipeline.py",
        "rezbuild/files/locks.py",
        "rezbuild/files/noexec.py",
        "rezbuild/files/temp_folders.py",
        "rezbuild/rez_plugin/build_command.py",
        "rezbuild/rez_plugin/build_process.py",
        "rezbuild/run/driver.py",
        "rezbuild/run/machine_check.py",
        "rezbuild/verify/check.py",
    }
    assert {text.partition(":")[0] for text in found} <= allowed, found


def test_predictable_temporary_names_are_found() -> None:
    text = 'open("/tmp/rezbuild.log")\ntempfile.mktemp()\nopen("/tmpfile")\n'
    assert len(list(predictable_names(text))) == 2
