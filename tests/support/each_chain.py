"""Tests and limits that apply to each chain."""

from __future__ import annotations

# Bytes (80 MB) and files, as `rezbuild bench` counts them; without tests and debug data.
MOST = (80_000_000, 3_500)
BY_PATH = """\
import ctypes, json, os, sys, sysconfig
path = os.path.join(*map(sysconfig.get_config_var, ("LIBDIR", "INSTSONAME")))
library = ctypes.PyDLL(path)
library.Py_GetVersion.restype = ctypes.c_char_p
import csv, decimal, wave
print(json.dumps([library.Py_GetVersion().decode() == sys.version, os.path.isfile(path)]))
"""
# Tests of the default chain that the other chains must pass too.
SAME = (
    "python",
    "moves",
    "rez",
    "rez_pip",
    "tools",
    "environment",
    "program_code",
    "extension_builds",
    "certificates",
    "terminal",
    "venv",
    "stdlib",
    "strace",
)
