"""The newest versions of Python packages, asked with the pip of this environment.

pip reads its own configuration and environment, e.g. the address of the studio's index.
"""

from __future__ import annotations

import re
import sys

from rezbuild.errors import FetchError
from rezbuild.util.processes import capture

_VERSIONS = re.compile(r"^Available versions: ([^,\s]+)", re.MULTILINE)


class PythonIndex:
    """Ask for each package once."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], str] = {}

    def newest(self, name: str, python: str) -> str:
        """Return the newest version of a package, e.g. ``pip``.

        Args:
            name: The package.
            python: The series of Python that it must support, e.g. ``3.11``; "": that of rezbuild.

        Raises:
            FetchError: pip finds no version.
        """
        key = (name, python)
        if key not in self._found:
            self._found[key] = _ask(name, python)
        return self._found[key]


def _ask(name: str, python: str) -> str:
    fitting = ["--python-version", python] if python else []
    command = [sys.executable, "-I", "-m", "pip", "index", "versions", "--no-input", *fitting]
    done = capture([*command, "--", name])
    found = _VERSIONS.search(done.stdout)
    if found:
        return found[1]
    said = [line for line in done.stderr.splitlines() if line.strip()]
    raise FetchError(
        f"the versions of the Python package {name} cannot be read",
        tried=[f"pip index versions {name}: {line}" for line in said[-1:]],
        advice=["look at pip's settings: pip config list"],
    )
