"""Change pip and setuptools: they install nothing into the payload, and write movable scripts.

Many users share a payload, so PEP 668 protects it, also from old versions of pip. rez-pip moves
what it has installed, and this Python may be moved as well: scripts search their Python on PATH.
"""

import base64
import csv
import hashlib
from collections.abc import Iterable
from pathlib import Path

from rezbuild.errors import BuildError

from . import installed

MARKER = """\
[externally-managed]
Error=This Python is a Rez package, whose files all users share, so pip does not install
 into it.

 For Rez environments, make a Rez package of NAME:
     rez-pip --install NAME
 For yourself, use a virtual environment:
     python3 -m venv DIR
     DIR/bin/pip install NAME
"""
# For pip before 23.0.1 and for setup.py, which ignore the marker.
GUARD = '''\
"""Refuse installations into the files of a managed environment (PEP 668)."""

import configparser
import os
import sys
import sysconfig


def check(error=SystemExit):
    marker = os.path.join(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED")
    if sys.prefix != sys.base_prefix or not os.path.isfile(marker):
        return
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(marker, encoding="utf-8")
    message = parser.get("externally-managed", "Error", fallback="it is managed by other means")
    # pip prints its own errors without a traceback, after "ERROR: ".
    prefix = "error: " if error is SystemExit else ""
    raise error(prefix + "externally-managed-environment\\n" + message)
'''
WITHIN = "os.path.realpath({}).startswith(os.path.realpath(sys.prefix) + os.sep)"
NOT_HERE = (
    'not (getattr(options, "dry_run", False) or options.target_dir or options.prefix_path'
    " or options.root_path)"
)
# The file, the line before which the guard is added, and the condition of the guard.
_DISTUTILS = (
    "install.py",
    "        # Obviously have to build before we can install\n",
    f"not self.root and {WITHIN.format('self.install_lib')}",
)
COMMANDS = {
    "site-packages/pip/_internal/commands": [
        (
            "install.py",
            "        if options.use_user_site and options.target_dir is not None:\n",
            NOT_HERE,
        ),
        ("uninstall.py", "        session = self.get_default_session(options)\n", "True"),
    ],
    "distutils/command": [_DISTUTILS],
    "site-packages/setuptools/_distutils/command": [_DISTUTILS],
    # easy_install, develop and the installation of eggs use this module.
    "site-packages/setuptools/command": [
        (
            "easy_install.py",
            "        instdir = normalize_path(self.install_dir)\n",
            WITHIN.format("self.install_dir"),
        ),
    ],
}
# setuptools' copy of distutils also parses the Makefile.
MAKEFILES = "site-packages/setuptools/_distutils/sysconfig.py"
# pip's module that installs wheels.
WHEEL = "site-packages/pip/_internal/operations/install/wheel.py"
SCRIPTS = {
    "sys.executable.encode(sys.getfilesystemencoding())": (
        "_interpreter().encode(sys.getfilesystemencoding())"
    ),
    "    maker = PipScriptMaker(None, scheme.scripts)\n": (
        "    maker = PipScriptMaker(None, scheme.scripts)\n"
        "    if sys.prefix == sys.base_prefix:\n"
        "        maker.executable = _interpreter()\n"
    ),
}
INTERPRETER = '''

def _interpreter() -> str:
    """Return the interpreter for scripts: a venv's has a fixed path, but this Python may move."""
    if sys.prefix != sys.base_prefix:
        return sys.executable
    return "/usr/bin/env python{}.{}".format(*sys.version_info[:2])
'''

# Run by the new interpreter: zlib of the host could pack other bytes.
LEAN_WHEELS = """\
import pathlib, sys, zipfile
for path in pathlib.Path(sys.argv[1]).glob("*.whl"):
    new = path.with_suffix(".new")
    with zipfile.ZipFile(path) as wheel, zipfile.ZipFile(new, "w") as lean:
        for item in wheel.infolist():
            data = wheel.read(item)
            if item.filename.endswith(".dist-info/RECORD"):
                data = b"".join(row for row in data.splitlines(True) if b".exe," not in row)
            if not item.filename.endswith(".exe"):
                lean.writestr(item, data, compresslevel=9)
    new.replace(path)
"""


def fix(lib: Path) -> None:
    """Write the marker, and make pip, setuptools and distutils respect it.

    Args:
        lib: The folder of the standard library.

    Raises:
        BuildError: One of them has an unknown layout.
    """
    (lib / "EXTERNALLY-MANAGED").write_text(MARKER)
    pip = (lib / "site-packages/pip/_internal/utils/misc.py").read_text()
    changed = []
    for folder, edits in COMMANDS.items():
        knows = "/pip/" in folder and "check_externally_managed" in pip
        if knows or not (lib / folder).is_dir():
            continue
        guard = lib / folder / "_externally_managed.py"
        guard.write_text(GUARD)
        changed += [guard, *(_edit(lib / folder / name, *edit) for name, *edit in edits)]
    changed.append(_movable_scripts(lib / WHEEL))
    if installed.parser(lib / MAKEFILES):
        changed.append(lib / MAKEFILES)
    for name in ("pip", "setuptools"):
        _record(lib / "site-packages", name, changed)
    # Python would read a .pth file at each start and import its module. This one only matters for
    # code that imports distutils before setuptools.
    _drop(lib / "site-packages", "*.pth")
    # Launchers of scripts for Windows; LEAN_WHEELS removes those in ensurepip's wheels.
    _drop(lib / "site-packages", "**/*.exe")


def _drop(site: Path, pattern: str) -> None:
    """Remove files, and their lines in the RECORD of their package."""
    for path in site.glob(pattern):
        path.unlink()
        name = path.relative_to(site)
        for record in site.glob("*.dist-info/RECORD"):
            rows = record.read_text().splitlines(keepends=True)
            record.write_text("".join(row for row in rows if not row.startswith(f"{name},")))


def _edit(path: Path, line: str, condition: str) -> Path:
    text = path.read_text()
    if text.count(line) != 1:
        raise BuildError(f"{path} has an unknown layout: the guard for PEP 668 does not fit")
    pip = "/pip/" in path.as_posix()
    module, error = (
        ("pip._internal.exceptions", "InstallationError") if pip else ("builtins", "SystemExit")
    )
    guard = f"""\
        if {condition}:
            from {module} import {error} as Refused
            from ._externally_managed import check

            check(Refused)
"""
    path.write_text(text.replace(line, guard + line))
    return path


def _movable_scripts(path: Path) -> Path:
    text = path.read_text()
    for old, new in SCRIPTS.items():
        if text.count(old) != 1:
            raise BuildError(f"{path} has an unknown layout: {old.strip()} is not there once")
        text = text.replace(old, new)
    path.write_text(text + INTERPRETER)
    return path


def _record(site: Path, name: str, changed: Iterable[Path]) -> None:
    """Update the checksums of changed files in a package's RECORD."""
    ours = [path for path in changed if site / name in path.parents]
    for record in site.glob(f"{name}-*.dist-info/RECORD") if ours else ():
        with record.open(newline="") as stream:
            rows = {row[0]: row for row in csv.reader(stream)}
        for path in ours:
            file, data = str(path.relative_to(site)), path.read_bytes()
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            rows[file] = [file, f"sha256={digest}", str(len(data))]
        with record.open("w", newline="") as stream:
            csv.writer(stream, lineterminator="\n").writerows(rows.values())
