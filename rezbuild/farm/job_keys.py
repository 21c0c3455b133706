"""The keys of jobs at the scheduler, e.g. ``zlib-1.3.1-5e1c0fd1-4``: a build with four cores."""

from __future__ import annotations

import uuid


def make(job: object, cores: int) -> str:
    """Return a new key for an attempt to build a package."""
    return f"{job}-{uuid.uuid4().hex[:8]}-{cores}"


def package(key: str) -> str:
    """Return the package of a key, e.g. ``zlib-1.3.1``; the key itself if it is another task's."""
    name, _, rest = key.rpartition("-")
    name, _, unique = name.rpartition("-")
    return name if name and rest.isdecimal() and len(unique) == 8 else key


def cores(key: str) -> int:
    """Return the cores of a key; any other task counts as one core."""
    number = key.rpartition("-")[2]
    return int(number) if number.isdecimal() and len(number) < 6 else 1
