"""Folders from which uv installs Pythons, as it installs those of python-build-standalone.

uv reads a list of downloads (``UV_PYTHON_DOWNLOADS_JSON_URL``) and unpacks an archive. Then it
replaces the prefix ``/install`` in the variables of sysconfig, which must be a literal dictionary
below a fixed comment (crates/uv-python/src/sysconfig in uv's source). Ours computes its prefix, so
the copy in the archive gets a literal one. Lines below the dictionary compute the prefix for tools
that unpack the archive and rewrite nothing, e.g. Hatch and mise; uv drops these lines.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rezbuild.errors import RezbuildError, StoreError, UsageError
from rezbuild.files import locks, pack, safe_files, temp_folders
from rezbuild.files.hashing import sha256
from rezbuild.payload import describe, manifest
from rezbuild.util import words
from rezbuild.util.processes import capture, last_line

LIST = "downloads.json"
# The families of packages, and what uv calls the variant.
VARIANTS = {"python": None, "python_freethreading": "freethreaded"}

# The name of the list's lock file.
_LOCK = ".downloads.lock"
_PREFIX = "/install"
_HEADER = "# system configuration generated and used by the sysconfig module\n"
_COMPUTED = """
# These lines are for tools that do not replace /install above.
import os as _os

try:
    _file = __file__
except NameError:  # some tools execute the text of this file
    _file = _os.__file__
_prefix = _os.path.abspath(_os.path.join(_file, "../../.."))
for _name in {names}:
    build_time_vars[_name] = build_time_vars[_name].replace("/install", _prefix)
"""
_VERSION = re.compile(r"^(\d+)\.(\d+)\.(\d+)(.*)$")
_READ = """\
import json, sys, sysconfig
data = __import__(sysconfig._get_sysconfigdata_name())
print(json.dumps({"prefix": sys.prefix, "file": data.__file__, "values": data.build_time_vars}))
"""


def check(payload: Path) -> None:
    """Check that uv can install a payload.

    Raises:
        UsageError: It is no payload, no Python, or its record is damaged.
    """
    record = describe.load(payload)
    version, machine = (str(record.get(key)) for key in ("version", "machine"))
    if record.get("name") not in VARIANTS:
        raise UsageError(
            f"{payload} is not a payload of python, so uv cannot install it",
            advice=[f"name a package: {' or '.join(VARIANTS)}"],
        )
    if not _VERSION.match(version) or machine.count("-") != 2:
        raise UsageError(
            f"the record of {payload} is damaged: version {version!r}, machine {machine!r}",
            advice=["build the package again, then export it"],
        )


def add(payload: Path, folder: Path, url: str, say: Callable[[str], None]) -> str:
    """Pack a payload into ``folder``, and add it to the list there.

    An older entry of the same version is replaced. Its archive stays, since somebody may be
    reading it.

    Args:
        payload: A payload that `check` has accepted.
        folder: The folder of the archives and the list; created if it is missing.
        url: The address at which uv finds ``folder``.
        say: Prints a line if another process holds the folder.

    Returns:
        uv's name of this Python, e.g. ``cpython-3.11.2-linux-x86_64-gnu``.

    Raises:
        RezbuildError: The payload does not run, or the list is damaged.
        OSError: ``folder`` cannot be written.
    """
    record = manifest.read(payload) or {}
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as tree,
        temp_folders.private(folder, ".export-") as staging,
    ):
        copy = Path(tree, "python")
        of_rez = shutil.ignore_patterns(*pack.OF_REZ)
        shutil.copytree(payload, copy, symlinks=True, ignore=of_rez)
        _make_literal(payload, copy)
        packed = staging / "python.tar.zst"
        with packed.open("wb") as stream:
            pack.pack(Path(tree), stream)
        entry = entry_of(record, sha256(packed))
        key = key_of(entry)
        archive = f"{key}-{entry['build']}.tar.zst"
        packed.chmod(0o644)
        packed.rename(folder / archive)
    entry["url"] = f"{url.rstrip('/')}/{archive}"
    with locks.open_lock(folder / _LOCK, say):
        listed = {**_read_list(folder / LIST), key: entry}
        text = json.dumps(listed, indent=2, sort_keys=True) + "\n"
        safe_files.replace(folder / LIST, text.encode())
    return key


def literal(values: Mapping[str, Any], prefix: str) -> str:
    """Return the module with the variables of sysconfig in uv's form.

    Args:
        values: The variables.
        prefix: The prefix in the variables.

    Raises:
        RezbuildError: A variable has no such form.
    """
    lines, placed = [], []
    for name, value in sorted(values.items()):
        if isinstance(value, str) and prefix in value:
            placed.append(name)
        text = repr(value.replace(prefix, _PREFIX) if isinstance(value, str) else value)
        # uv's parser knows texts and whole numbers, and these three escapes.
        if not isinstance(value, (str, int)) or re.search(r"\\[^\\'\"]", text.replace("\\\\", "")):
            raise RezbuildError(
                f"the variable {name} of sysconfig has a form that uv does not read: {text}",
                advice=["report this: packages/python/installed.py must change it"],
            )
        lines.append(f"    {name!r}: {text},\n")
    computed = _COMPUTED.format(names=placed)
    return f"{_HEADER}build_time_vars = {{\n{''.join(lines)}}}\n{computed}"


def entry_of(record: Mapping[str, Any], sum_: str) -> dict[str, Any]:
    """Return the entry of uv's list for a payload's record, without the address.

    Args:
        record: The record, see `manifest.read`.
        sum_: The SHA-256 of the archive.
    """
    # e.g. 3.11.2 or 3.15.0rc1
    ((major, minor, patch, prerelease),) = re.findall(_VERSION, record["version"])
    machine, system, libc = record["machine"].split("-")
    return {
        "name": "cpython",
        "arch": {"family": machine, "variant": None},
        "os": system,
        "libc": libc,
        "major": int(major),
        "minor": int(minor),
        "patch": int(patch),
        "prerelease": prerelease,
        "sha256": sum_,
        "variant": VARIANTS[record["name"]],
        "build": sum_[:12],
    }


def key_of(entry: Mapping[str, Any]) -> str:
    """Return uv's name of the Python of an entry."""
    version = "{major}.{minor}.{patch}{prerelease}".format_map(entry)
    variant = f"+{entry['variant']}" if entry["variant"] else ""
    return f"cpython-{version}{variant}-{entry['os']}-{entry['arch']['family']}-{entry['libc']}"


def _make_literal(payload: Path, copy: Path) -> None:
    """Replace the copy's module with the variables of sysconfig by a literal one, in uv's form.

    Raises:
        RezbuildError: The payload's Python does not run, or `literal` fails.
    """
    done = capture([payload / "bin/python3", "-I", "-B", "-c", _READ])
    if done.returncode != 0:
        raise RezbuildError(
            f"{payload / 'bin/python3'} does not run: {last_line(done.stderr)}",
            advice=["build it on a host on which it runs"],
        )
    found = json.loads(done.stdout)
    module = copy / os.path.relpath(found["file"], found["prefix"])
    module.write_text(literal(found["values"], found["prefix"]))
    for compiled in module.parent.glob(f"__pycache__/{module.stem}.*"):
        compiled.unlink()


def _read_list(path: Path) -> dict[str, Any]:
    """Return the entries of a list; none if there is no list.

    Raises:
        StoreError: The file is no list of downloads.
    """
    try:
        listed = safe_files.parse_json(safe_files.read(path))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise StoreError(
            f"{path} is not a list of downloads: {words.reason(error)}",
            advice=["remove it, and export again"],
        ) from None
    if not isinstance(listed, dict):
        raise StoreError(
            f"{path} is not a list of downloads", advice=["remove it, and export again"]
        )
    return listed
