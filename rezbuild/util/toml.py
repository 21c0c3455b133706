"""The reader for TOML: the standard library has it from Python 3.11 on."""

from __future__ import annotations

import sys
from pathlib import Path

from rezbuild.errors import CatalogueError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# A ValueError is damaged TOML, text that is not UTF-8, or a number of thousands of digits.
UNREADABLE = (OSError, ValueError, RecursionError)
loads = tomllib.loads


def unreadable(path: Path, error: Exception) -> CatalogueError:
    """The error for a file that is no TOML."""
    return CatalogueError(
        f"{path} cannot be read: {error}", advice=["docs/reference/catalogue.md describes the file"]
    )
