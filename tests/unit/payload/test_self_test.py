"""The test inside each payload loads programs and libraries."""

from __future__ import annotations

import subprocess
from pathlib import Path

from rezbuild.payload import self_test


def test_objects_and_debug_data_are_not_loaded(tmp_path: Path) -> None:
    """CPython 3.9 installs an object file for embedding programs."""
    payload = tmp_path / "payload"
    payload.mkdir()
    (tmp_path / "a.c").write_text("int a(void) { return 1; }\n")
    gcc = ("gcc", "-g", "-fPIC", str(tmp_path / "a.c"), "-o")
    subprocess.run([*gcc, str(payload / "a.o"), "-c"], check=True)
    subprocess.run([*gcc, str(payload / "liba.so"), "-shared"], check=True)
    debug = (str(payload / "liba.so"), str(payload / "liba.so.debug"))
    subprocess.run(["objcopy", "--only-keep-debug", *debug], check=True)
    self_test.write(payload, tmp_path, "1.0")
    folder = payload / self_test.FOLDER
    assert (folder / "files").read_text() == "liba.so\n"
    subprocess.run(["sh", str(folder / self_test.RUN)], check=True)
