"""The stock CPython that the payload is compared with."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import stock as stock_build
from moving import DEFAULTS, PYTHON, variant
from studio import Studio

from rezbuild import catalogue


@pytest.fixture(scope="session")
def stock(built: Studio) -> Path:
    """The prefix of a stock build of the same archive, on the same libraries."""
    release = catalogue.load(stock_build.RECIPE).release(PYTHON)
    needed = [request.partition("-")[0] for request in release.requires]
    roots = [variant(built.local, name, DEFAULTS[name]) for name in needed]
    return stock_build.build(PYTHON, roots)


@pytest.fixture
def payload(payload: Path, scratch: Path) -> Path:
    """A copy of the moved payload: probes without compiled code leave .pyc files in it."""
    copy = scratch / "compared with stock"
    if not copy.exists():
        shutil.copytree(payload, copy, symlinks=True)
    return copy
