"""The interpreters under test: what a user names, what the host has, and the moved copy."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rezbuild.build import toolchain
from rezbuild.errors import UsageError
from rezbuild.payload import manifest

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
        label: What the user calls it.
        python: Its program.
        root: The payload it is in, or None for any other Python.
        facts: What it says of itself: ``version``, ``compiler`` and so on; of a payload its
            ``profile`` as well.
    """

    label: str
    python: Path
    root: Path | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def version(self) -> str:
        """As in ``3.11.2``."""
        return str(self.facts["version"])

    @property
    def tag(self) -> str:
        """What names compiled modules of this version, as in ``cpython-311``."""
        return str(self.facts["tag"])

    @property
    def series(self) -> tuple[int, int]:
        """As in ``(3, 11)``."""
        major, minor = self.version.split(".")[:2]
        return int(major), int(minor)


def find(label: str, path: Path) -> Interpreter:
    """The interpreter that a path leads to: the program itself, or a folder with ``bin/python3``.

    Args:
        label: What the user calls it.
        path: An interpreter, or the root of a payload or of any other installation.

    Raises:
        UsageError: There is none, or it does not run.
    """
    python = path / "bin/python3" if path.is_dir() else path
    if not python.exists():
        raise UsageError(
            f"{label}: there is no {python}",
            advice=["name an interpreter, a payload with bin/python3, or a Rez request"],
        )
    # Made absolute, but no link resolved: an interpreter looks beside the name it is called by.
    python = Path(os.path.abspath(python))
    root = python.parents[1]
    record = manifest.read(root)
    facts = _facts(label, python)
    if record is None:
        return Interpreter(label, python, None, facts)
    return Interpreter(label, python, root, {**facts, "profile": record.get("profile")})


def of_the_host(like: Interpreter) -> Interpreter | None:
    """The host's own Python of the same series, or None."""
    name = "python{}.{}".format(*like.series)
    found = shutil.which(name, path=toolchain.SYSTEM_PATH)
    return find(found, Path(found)) if found else None


def moved(interpreter: Interpreter, folder: Path) -> Interpreter:
    """A copy of the payload that stands in ``folder``; what is no payload stays where it is."""
    if interpreter.root is None:
        return interpreter
    root = Path(shutil.copytree(interpreter.root, folder, symlinks=True))
    python = root / interpreter.python.relative_to(interpreter.root)
    return Interpreter(interpreter.label, python, root, interpreter.facts)


def _facts(label: str, python: Path) -> dict[str, Any]:
    try:
        done = subprocess.run(
            [python, "-I", "-c", _FACTS],
            env={},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        facts = json.loads(done.stdout)
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else done.stderr.strip()[-200:]
        raise UsageError(
            f"{label}: {python} is no Python that runs here: {said or 'it says nothing of itself'}",
            advice=["try it by hand", "name another interpreter, a payload or a Rez request"],
        ) from None
    return dict(facts)
