"""Import of the Python files of a recipe, which may import each other."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

from rezbuild.errors import CatalogueError
from rezbuild.util import words

_PACKAGE = "recipe"


def load(folder: Path, file: str) -> ModuleType:
    """Import a file of a recipe; ``from . import …`` imports the files beside it.

    Modules of another recipe are removed from ``sys.modules``: their files have the same names.

    Raises:
        CatalogueError: The file is missing or cannot be imported.
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
        raise CatalogueError(f"{folder / file} cannot be loaded: {words.reason(error)}") from None
