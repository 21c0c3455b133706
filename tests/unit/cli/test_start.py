"""Slow modules are imported only if they are needed."""

from __future__ import annotations

import subprocess
import sys

import pytest


def test_build_with_nothing_to_do_imports_no_slow_modules():
    slow = ["rez.build_process", "rezplugins"]
    code = "import sys, rezbuild.cli.main, rezbuild.run.driver, rezbuild.build.toolchain\n"
    code += f"print([name for name in {slow} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("command", "slow"), [("store", "rez"), ("versions", "requests")])
def test_command_imports_what_some_of_its_uses_need_only_for_those(command, slow):
    code = f"import sys, rezbuild.cli.{command}; print({slow!r} in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
