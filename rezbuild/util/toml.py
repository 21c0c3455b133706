"""TOML for all supported Pythons: the standard library has it from 3.11 on."""

from __future__ import annotations

import sys
from pathlib import Path

from rezbuild.errors import CatalogueError
from rezbuild.util import words

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# A ValueError means invalid TOML, text that is not UTF-8, or a number of thousands of digits.
UNREADABLE = (OSError, ValueError, RecursionError)
loads = tomllib.loads


def unreadable(path: Path, error: Exception) -> CatalogueError:
    """Return the error for a file that cannot be read as TOML."""
    return CatalogueError(
        f"{path} cannot be read: {words.reason(error)}", advice=["see docs/reference/catalogue.md"]
    )
