"""The interpreter and curses at a terminal, with terminfo in different folders."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from moves import PYTHON_SERIES, variant
from other_host import on_host
from terminal import Terminal

pytestmark = pytest.mark.e2e
# Debian uses the first three, other distributions the third; the fourth is an old link to it.
FOLDERS = ("/etc/terminfo", "/lib/terminfo", "/usr/share/terminfo", "/usr/lib/terminfo")
TERMS = ("xterm-256color", "screen", "screen-256color", "tmux-256color")
# No program has a built-in description of this terminal.
FOREIGN = "other-256color"
COLORS = {**dict.fromkeys((*TERMS, FOREIGN), 256), "screen": 8}

BACKSPACE, DELETE, TAB, ENTER, END_OF_FILE = "\x7f", "\x1b[3~", "\t", "\r", "\x04"
UP, DOWN, RIGHT, LEFT = (f"\x1b[{letter}" for letter in "ABCD")


def home_and_end(term: str) -> tuple[str, str]:
    """Return the bytes of the keys, which differ between screen, tmux and xterm."""
    return ("\x1b[H", "\x1b[F") if term.startswith("xterm") else ("\x1b[1~", "\x1b[4~")


class TerminalHost:
    """Our python on a host with terminfo in some folders or none.

    Attributes:
        entries: Compiled descriptions from the folders of this machine.
    """

    def __init__(self, python: Path, folder: Path) -> None:
        self.python = python
        self.tree = folder / "host"
        self.tree.mkdir()
        self.home = folder

    def describe(self, folder: str) -> None:
        """Write descriptions of all terminals into one folder of the host."""
        entries = {term: host_entry(term) for term in TERMS}
        # The file also contains the name. A name of equal length keeps all offsets valid.
        entries[FOREIGN] = entries["xterm-256color"].replace(b"xterm-256color", FOREIGN.encode())
        for term, data in entries.items():
            place = self.tree / folder[1:] / term[0] / term
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)

    def env(self, term: str) -> dict[str, str]:
        return {"TERM": term, "HOME": str(self.home), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}

    def command(self, *words: str) -> list[str]:
        return [*on_host(self.tree, FOLDERS), str(self.python), *words]

    def run(self, code: str, term: str) -> subprocess.CompletedProcess[str]:
        argv, env = self.command("-c", code), self.env(term)
        return subprocess.run(argv, env=env, capture_output=True, text=True, check=False)

    def open_terminal(self, term: str, *words: str, **env: str) -> Terminal:
        return Terminal(self.command(*words), {**self.env(term), **env})


def host_entry(term: str) -> bytes:
    for folder in FOLDERS:
        path = Path(folder, term[0], term)
        if path.is_file():
            return path.read_bytes()
    pytest.skip(f"this host has no description of {term} to lend: install ncurses-base or ncurses")


@pytest.fixture
def terminal_host(moved: Path, tmp_path: Path) -> TerminalHost:
    return TerminalHost(variant(moved) / "bin/python3", tmp_path)


def use_usual_folder(terminal_host: TerminalHost) -> None:
    terminal_host.describe("/usr/share/terminfo")


def use_no_folder(terminal_host: TerminalHost) -> None:
    pass


HOSTS: dict[str, Callable[[TerminalHost], None]] = {
    "usual": use_usual_folder,
    "nowhere": use_no_folder,
}
on_each = pytest.mark.parametrize("host", HOSTS)
for_each = pytest.mark.parametrize("term", TERMS)

SETUP = "import curses; curses.setupterm(); print(curses.tigetnum('colors'))"


@pytest.mark.parametrize("folder", FOLDERS)
def test_each_terminfo_folder_is_searched(terminal_host, folder):
    """If /lib is a link to /usr/lib, two of the folders are the same."""
    terminal_host.describe(folder)
    done = terminal_host.run(SETUP, FOREIGN)
    assert done.stdout == f"{COLORS[FOREIGN]}\n", done.stderr


@for_each
def test_host_without_terminfo_uses_built_in_terminals(terminal_host, term):
    done = terminal_host.run(SETUP, term)
    assert done.stdout == f"{COLORS[term]}\n", done.stderr


def test_unknown_terminal_needs_the_host(terminal_host):
    """This proves that the previous test reads the folders."""
    code = SETUP.replace(
        "curses.setupterm()", "\ntry: curses.setupterm()\nexcept curses.error: 1/0"
    )
    argv = terminal_host.command("-c", code)
    done = subprocess.run(
        argv, env=terminal_host.env(FOREIGN), capture_output=True, text=True, check=False
    )
    assert "ZeroDivisionError" in done.stderr


@on_each
@for_each
def test_keys_work_in_the_interpreter(terminal_host, host, term):
    HOSTS[host](terminal_host)
    home, end = home_and_end(term)
    # From 3.13 on, the prompt does not use readline; test_new_prompt_works covers it.
    with terminal_host.open_terminal(term, "-q", PYTHON_BASIC_REPL="1") as terminal:
        # The typed keys, the line on the screen, and the printed result.
        for typed, line, answer in (
            ("6*78" + BACKSPACE, "6*7", "42"),
            ("max(1, 2)" + LEFT + BACKSPACE + "5" + RIGHT, "max(1, 5)", "5"),
            (UP * 2 + BACKSPACE + "3", "6*3", "18"),
            (UP * 3 + DOWN, "max(1, 5)", "5"),
            ("x'" + home + "'" + end + "*2", "'x'*2", "'xx'"),
            ("abs(-17)" + LEFT * 3 + DELETE, "abs(-7)", "7"),
            ("len.__na" + TAB, "len.__name__", "'len'"),
        ):
            terminal.until_last(">>>")
            terminal.type(typed)
            terminal.until_last(f">>> {line}")
            terminal.type(ENTER)
            terminal.until(lambda lines, answer=answer: lines[-2:] == [answer, ">>>"], answer)
        # Move in a line that is longer than the screen, where a wrong description shows most.
        terminal.type("y" * 100)
        terminal.until(lambda lines: lines[-2:] == [">>> " + "y" * 76, "y" * 24], "a wrapped line")
        terminal.type(BACKSPACE * 98)
        terminal.until_last(">>> yy")


@pytest.mark.skipif(PYTHON_SERIES < (3, 13), reason="CPython 3.13 brought it")
@on_each
def test_new_prompt_works(terminal_host, host):
    HOSTS[host](terminal_host)
    with terminal_host.open_terminal("xterm-256color", "-q") as terminal:
        terminal.until_last(">>>")
        terminal.type("6*78" + BACKSPACE + ENTER)
        terminal.until(lambda lines: "42" in lines, "42")
        # The prompt has switched the keys to application mode (smkx).
        terminal.type("\x1bOA")
        terminal.until_last(">>> 6*7")


DRAW = """\
import curses

def main(screen):
    screen.addstr(3, 10, "plain")
    screen.addstr(3, 20, "bold", curses.A_BOLD)
    if curses.has_colors():
        curses.init_pair(1, curses.COLOR_RED, curses.COLOR_BLACK)
        screen.addstr(3, 30, "red", curses.color_pair(1))
    screen.addstr(curses.LINES - 1, 0, "last line")
    for row in range(5, 11):
        screen.addstr(row, 10, screen.getkey())
    screen.getkey()

curses.wrapper(main)
print("after")
"""


@on_each
@for_each
def test_curses_draws(terminal_host, host, term):
    HOSTS[host](terminal_host)
    with terminal_host.open_terminal(term, "-c", DRAW) as terminal:
        terminal.until(lambda lines: lines[-1] == "last line", "the first picture")
        assert terminal.lines()[3] == " " * 10 + "plain     bold      red"
        assert not terminal.screen.buffer[3][10].bold
        assert terminal.screen.buffer[3][20].bold
        assert terminal.screen.buffer[3][30].fg == "red"
        # curses has switched the keys to application mode (smkx), so arrows send other bytes.
        home, end = ("\x1bOH", "\x1bOF") if term.startswith("xterm") else home_and_end(term)
        keys = {
            "KEY_UP": "\x1bOA",
            "KEY_LEFT": "\x1bOD",
            "KEY_HOME": home,
            "KEY_END": end,
            "KEY_BACKSPACE": BACKSPACE,
            "KEY_DC": DELETE,
        }
        for row, (name, key) in enumerate(keys.items(), 5):
            terminal.type(key)
            terminal.until(lambda lines, row=row, name=name: lines[row].strip() == name, name)
        terminal.type(ENTER)
        terminal.until(lambda lines: "after" in lines[-1], "the end")
