"""Simulate faults of system calls by a preloaded library (faults.c)."""

from __future__ import annotations

import functools
import subprocess
import tempfile
from pathlib import Path


@functools.cache
def _library() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="rezbuild-test-"))
    library = folder / "faults.so"
    source = Path(__file__).with_name("faults.c")
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, source], check=True)
    return library


def faults() -> dict[str, str]:
    """Return the variables that preload faults.c, which describes them."""
    return {"LD_PRELOAD": str(_library())}
