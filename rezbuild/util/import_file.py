"""Loads the Python files of a recipe's folder, which may import one another."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

from rezbuild.errors import CatalogueError

_PACKAGE = "recipe"


def load(folder: Path, file: str) -> ModuleType:
    """The module in a file of a recipe: ``from . import …`` finds what stands beside it.

    Modules of the recipe that was loaded before are forgotten: other files may have their names.

    Raises:
        CatalogueError: The file is missing, or is not Python that can be imported.
    """
    if not (folder / file).is_file():
        raise CatalogueError(f"{folder / file} is missing")
    package = ModuleType(_PACKAGE)
    package.__path__ = [str(folder)]
    for name in [name for name in sys.modules if name.partition(".")[0] == _PACKAGE]:
        del sys.modules[name]
    sys.modules[_PACKAGE] = package
    importlib.invalidate_caches()
    try:
        return importlib.import_module(f"{_PACKAGE}.{Path(file).stem}")
    except (ImportError, SyntaxError) as error:
        raise CatalogueError(f"{folder / file} cannot be loaded: {error}") from None
