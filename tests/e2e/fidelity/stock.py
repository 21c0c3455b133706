"""Build the stock CPython: upstream's archive and configure defaults, without our patches.

It uses copies of the payload's libraries, so all differences are in CPython.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from studio import OWN, ROOT

from rezbuild.catalogue import sources_toml
from rezbuild.files import unpack
from rezbuild.settings import Settings
from rezbuild.sources.fetch import Fetcher
from rezbuild.util.processes import capture

RECIPE = ROOT / "packages/python"
OPTIONS = (
    "--enable-shared",
    "--with-ensurepip=install",
    # Options of the payload that are not defaults of configure.
    "--enable-loadable-sqlite-extensions",
    "--with-dbmliborder=gdbm",
    "--with-system-expat",
    "--with-system-libmpdec",
)
# Up to 3.11, setup.py finds no curses if the path of libtinfo contains this word.
SETUP_3_11 = """\
*shared*
_curses _cursesmodule.c -DHAVE_NCURSESW -lncursesw
_curses_panel _curses_panel.c -DHAVE_NCURSESW -lpanelw -lncursesw
"""


def build(version: str, dependencies: Iterable[Path]) -> Path:
    """Return the prefix of a stock build on these libraries; build it if the cache has none."""
    roots = sorted(dependencies)
    settings = Settings.read()
    release = sources_toml.load(RECIPE).release(version)
    fetched = Fetcher(settings).fetch(release)
    key = _key(fetched.path, roots)
    prefix = settings.cache / "stock" / f"python-{version}-{key}"
    if not (prefix / "complete").is_file():
        shutil.rmtree(prefix, ignore_errors=True)
        prefix.mkdir(parents=True)
        with tempfile.TemporaryDirectory(prefix="stock-") as work:
            source = unpack.unpack(fetched.path, Path(work, "source"))
            if (source / "setup.py").exists():
                (source / "Modules/Setup.local").write_text(SETUP_3_11)
            _build(source, prefix, _libraries(prefix / "deps", roots))
        (prefix / "complete").touch()
    return prefix


def _key(archive: Path, roots: list[Path]) -> str:
    """Return a hash of all inputs: the archive, this file, the libraries and the compiler."""
    key = hashlib.sha256(archive.read_bytes() + Path(__file__).read_bytes())
    key.update((RECIPE / "bluetooth.h").read_bytes())
    for root in roots:
        # The content of each file.
        key.update((root / "rezbuild-files.json").read_bytes())
    key.update(subprocess.run(["gcc", "--version"], capture_output=True, check=True).stdout)
    return key.hexdigest()[:16]


def _libraries(folder: Path, roots: list[Path]) -> Path:
    for root in roots:
        shutil.copytree(root, folder, symlinks=True, dirs_exist_ok=True)
    headers = folder / "include/bluetooth"
    headers.mkdir()
    for name in ("bluetooth", "hci", "l2cap", "rfcomm", "sco"):
        shutil.copyfile(RECIPE / "bluetooth.h", headers / f"{name}.h")
    return folder


def _build(source: Path, prefix: Path, libraries: Path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith(OWN)}
    env |= {
        "CC": "ccache gcc" if shutil.which("ccache") else "gcc",
        "CPPFLAGS": " ".join(f"-I{libraries}/include/{part}" for part in ("", "uuid", "ncursesw")),
        "LDFLAGS": f"-L{libraries}/lib -Wl,-rpath,{prefix}/lib -Wl,-rpath,{libraries}/lib",
        "PKG_CONFIG_PATH": f"{libraries}/lib/pkgconfig",
    }
    commands = (
        ["./configure", f"--prefix={prefix}", f"--with-openssl={libraries}", *OPTIONS],
        ["make", f"-j{os.cpu_count()}"],
        ["make", "install"],
    )
    for command in commands:
        done = capture(command, cwd=source, env=env, merge=True)
        if done.returncode:
            pytest.fail(f"{command} of the stock CPython failed:\n{done.stdout[-4000:]}")
