"""A dependency of a build, and the folder of placeholder prefixes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

# The folder of all placeholder prefixes. It does not exist on any machine.
PLACEHOLDER_ROOT = "/rezbuild/"


@dataclass(frozen=True)
class Dependency:
    """A package that Rez resolved for this build.

    Attributes:
        root: The root of its variant, i.e. its payload.
    """

    name: str
    version: str
    root: Path

    @property
    def include(self) -> Path:
        """The folder of its headers."""
        return self.root / "include"

    @property
    def lib(self) -> Path:
        """The folder of its libraries."""
        return self.root / "lib"
