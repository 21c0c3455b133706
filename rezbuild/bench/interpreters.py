"""The interpreters under test: named by a user, found on the host, or moved copies."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rezbuild.build import toolchain
from rezbuild.errors import UsageError
from rezbuild.payload import manifest
from rezbuild.util.processes import capture, last_line

_FACTS = """\
import json, platform, sys, sysconfig
print(json.dumps({
    "version": platform.python_version(),
    "implementation": platform.python_implementation(),
    "compiler": platform.python_compiler(),
    "configured": sysconfig.get_config_var("CONFIG_ARGS"),
    "tag": sys.implementation.cache_tag,
}))
"""


@dataclass(frozen=True)
class Interpreter:
    """A Python that can be run.

    Attributes:
        label: The user's name for it.
        python: Its program.
        root: The root of its payload; None for any other Python.
        facts: Its ``version``, ``compiler`` and so on; for a payload also the ``profile``.
    """

    label: str
    python: Path
    root: Path | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def version(self) -> str:
        """The version, e.g. ``3.11.2``."""
        return str(self.facts["version"])

    @property
    def tag(self) -> str:
        """The cache tag of compiled modules, e.g. ``cpython-311``."""
        return str(self.facts["tag"])

    @property
    def series(self) -> tuple[int, int]:
        """The series, e.g. ``(3, 11)``."""
        major, minor = self.version.split(".")[:2]
        return int(major), int(minor)


def find(label: str, path: Path) -> Interpreter:
    """Find the interpreter at a path.

    Args:
        label: The user's name for it.
        path: An interpreter, or the root of a payload or of any other installation.

    Raises:
        UsageError: There is none, or it does not run.
    """
    python = path / "bin/python3" if path.is_dir() else path
    if not python.exists():
        raise UsageError(
            f"{label}: {python} does not exist",
            advice=["name an interpreter, a payload with bin/python3, or a Rez request"],
        )
    # Do not resolve links: an interpreter finds its files beside the name that starts it.
    python = Path(os.path.abspath(python))
    root = python.parents[1]
    record = manifest.read(root)
    facts = _facts(label, python)
    if record is None:
        return Interpreter(label, python, None, facts)
    return Interpreter(label, python, root, {**facts, "profile": record.get("profile")})


def find_on_host(like: Interpreter) -> Interpreter | None:
    """Find the host's own Python of the same series; return None if there is none."""
    name = "python{}.{}".format(*like.series)
    found = shutil.which(name, path=toolchain.SYSTEM_PATH)
    return find(found, Path(found)) if found else None


def copy_payload(interpreter: Interpreter, folder: Path) -> Interpreter:
    """Copy a payload to ``folder``, and return the copy; return other interpreters unchanged."""
    if interpreter.root is None:
        return interpreter
    root = Path(shutil.copytree(interpreter.root, folder, symlinks=True))
    python = root / interpreter.python.relative_to(interpreter.root)
    return Interpreter(interpreter.label, python, root, interpreter.facts)


def _facts(label: str, python: Path) -> dict[str, Any]:
    try:
        done = capture([python, "-I", "-c", _FACTS], env={})
        facts = json.loads(done.stdout)
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else last_line(done.stderr)
        raise UsageError(
            f"{label}: {python} does not run as Python here: {said}",
            advice=["run it by hand", "name another interpreter, a payload or a Rez request"],
        ) from None
    return dict(facts)
