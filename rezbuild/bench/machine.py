"""The machine that measurements were made on."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def gather_facts() -> dict[str, Any]:
    """Return processor, cores, kernel, glibc, system, load and time, for a report."""
    return {
        "cpu": _field("/proc/cpuinfo", "model name", ":") or platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "system": _field("/etc/os-release", "PRETTY_NAME", "=").strip('"'),
        "glibc": "".join(platform.libc_ver()[1:]),
        "load": [round(value, 2) for value in os.getloadavg()],
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def describe(found: Mapping[str, Any]) -> str:
    """Return the facts as one line."""
    load = found["load"][0]
    return (
        f"{found['cpu']}, {found['cores']} cores, load {load}; {found['system']},"
        f" Linux {found['kernel']}, glibc {found['glibc']}"
    )


def _field(path: str, key: str, separator: str) -> str:
    """Return the first value of a key in a system file; "" if there is none."""
    with contextlib.suppress(OSError):
        for text in Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = text.partition(separator)
            if name.strip() == key:
                return value.strip()
    return ""
