"""The glibc of this host, and comparisons of versions of glibc."""

from __future__ import annotations

import os
import re

# e.g. 2.34, or 2.2.5, the first version on x86-64.
PATTERN = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4}){1,3}")


def host_glibc() -> str:
    """Return the glibc version of this host, e.g. ``2.36``; "" if it has another C library."""
    try:
        # confstr(3): "glibc 2.36".
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").rpartition(" ")[2]
    except (ValueError, OSError):
        return ""


def number(version: str) -> tuple[int, ...]:
    """Return the numbers of a version, for comparisons."""
    return tuple(map(int, version.split(".")))
