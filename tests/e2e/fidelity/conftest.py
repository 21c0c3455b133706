"""Fixtures of the fidelity tests: the stock CPython, the payload, and tools for both."""

from __future__ import annotations

import shutil
from pathlib import Path

import inspection
import pytest
import stock as stock_build
from inspection import Pair
from moves import DEFAULTS, PYTHON, variant
from studio import Studio

from rezbuild.catalogue import sources_toml


@pytest.fixture(scope="session")
def stock(built: Studio) -> Path:
    """Return the prefix of a stock build of the same archive and libraries."""
    release = sources_toml.load(stock_build.RECIPE).release(PYTHON)
    needed = [request.partition("-")[0] for request in release.requires]
    roots = [variant(built.local, name, DEFAULTS[name]) for name in needed]
    return stock_build.build(PYTHON, roots)


@pytest.fixture
def payload(payload: Path, scratch: Path) -> Path:
    """Copy the moved payload, because probes without compiled code leave .pyc files in it."""
    copy = scratch / "compared with stock"
    if not copy.exists():
        shutil.copytree(payload, copy, symlinks=True)
    return copy


@pytest.fixture
def pair(stock: Path, hidden_original: None, copied: Path, scratch: Path) -> Pair:
    """Return the stock build and the moved payload, for tools that inspect processes of both.

    The payload is copied once more, because austin cannot read a path with a space.
    """
    copy = scratch / "payload"
    if not copy.exists():
        shutil.copytree(variant(copied), copy, symlinks=True)
    return Pair(stock, copy, scratch)


@pytest.fixture
def tools(scratch: Path) -> Path:
    """Return the commands of py-spy and austin."""
    return inspection.tools(scratch)


@pytest.fixture(scope="session")
def debug_data(built: Studio, scratch: Path) -> Path:
    """Copy python_debug, which has the names of all functions of the payload."""
    built.rezbuild("build", f"python_debug-{PYTHON}")
    copy = scratch / "debug data"
    shutil.copytree(variant(built.local, "python_debug"), copy, symlinks=True)
    return copy
