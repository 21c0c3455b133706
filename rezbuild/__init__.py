"""rezbuild: CPython and its native dependencies as Rez packages that can be moved."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rezbuild.rez_plugin.package_definition import package, platform

__all__ = ["__version__", "package", "platform"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Return the functions for a ``package.py`` without `define`: ``rezbuild.package()``."""
    if name not in ("package", "platform"):
        raise AttributeError(f"module 'rezbuild' has no attribute {name!r}")
    from rezbuild.rez_plugin import package_definition  # noqa: PLC0415 (it needs Rez)

    return getattr(package_definition, name)
