"""Tests and limits that apply to each chain."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from studio import ROOT, Studio

# Bytes (80 MB) and files, as `rezbuild bench` counts them; without tests and debug data.
MOST = (80_000_000, 2_500)
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
    "test_python.py",
    "test_moves.py",
    "test_rez.py",
    "test_rez_pip.py",
    "test_tools.py",
    "test_environment.py",
    "test_program_code.py",
    "test_extension_builds.py",
    "test_certificates.py",
    "test_terminal.py",
    "test_venv.py",
    "test_stdlib.py",
    "test_strace.py",
)
# Options for them: rez-build and failed builds do not depend on the chain.
OTHERS = ("-m", "not matrix", "-k", "not by_hand_in_each and not failed_build")


def pass_tests(
    studio: Studio, request: str, files: Iterable[str], *options: str, **env: str
) -> None:
    """Run end-to-end tests with the chain of a studio.

    A new process is needed, because the chain under test is read at import.

    Args:
        studio: The studio whose repository has the chain.
        request: The Rez request for its python.
        files: Files or folders in tests/e2e.
        options: Options of pytest.
        env: More variables of its environment.
    """
    env |= {"REZBUILD_TEST_REQUEST": request, "REZBUILD_TEST_CHAIN": str(studio.folder)}
    words = [sys.executable, "-m", "pytest", "-q", *options]
    words += [str(ROOT / "tests/e2e" / file) for file in files]
    done = studio.run(*words, ok=False, **env)
    assert done.returncode == 0, done.stdout[-20000:]
