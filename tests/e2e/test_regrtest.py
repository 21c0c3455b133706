"""CPython's own tests on the moved copy, by ``rezbuild check --regrtest``."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from moves import DEFAULTS

pytestmark = pytest.mark.e2e

# Tests of the libraries, of the installed folders, and of the code that our patches change. They
# take two minutes on two cores.
TELLING = (
    "test_bz2",
    "test_capi",
    "test_ctypes",
    "test_dbm_gnu",
    "test_frozen",
    "test_gc",
    "test_getpath",
    "test_hashlib",
    "test_imp",
    "test_import",
    "test_importlib",
    "test_inspect",
    "test_lzma",
    "test_pkgutil",
    "test_readline",
    "test_runpy",
    "test_site",
    "test_sqlite3",
    "test_ssl",
    "test_sys",
    "test_sysconfig",
    "test_tcl",
    "test_threading",
    "test_tracemalloc",
    "test_venv",
    "test_zipimport",
    "test_zlib",
)


def test_moved_payload_passes_its_checks(built, payload):
    out = built.rezbuild("check", payload).stdout
    assert "FAILED" not in out
    assert "read-only: nothing is written" in out


def test_short_selection_of_the_suite_passes(built, payload):
    out = built.rezbuild("check", payload, "--regrtest", *TELLING).stdout
    assert f"test suite: {len(TELLING)} files, " in out


def test_long_keep_folder_leaves_socket_paths_short(built, payload, tmp_path):
    """A socket's path has at most 107 bytes (unix(7)); multiprocessing makes sockets in TMPDIR."""
    options = ("--regrtest", "test_multiprocessing_main_handling", "--keep")
    out = built.rezbuild("check", payload, *options, tmp_path / ("long" * 30)).stdout
    assert "test suite: 1 file, " in out


@pytest.mark.matrix
def test_whole_suite_passes(built, payload):
    """Half an hour on two cores; known-failures.toml lists all exceptions."""
    done = built.rezbuild("check", payload, "--regrtest")
    assert "test suite: 4" in done.stdout, "about 430 files of tests"


def copy_payload(payload: Path, folder: Path) -> Path:
    root = folder / "broken"
    shutil.copytree(payload, root, symlinks=True)
    return root


def test_library_of_another_version_fails_the_check(built, payload, scratch):
    root = copy_payload(payload, scratch / "other version")
    record = json.loads((root / "rezbuild.json").read_text())
    record["built_against"]["zlib"] = "1.2.99"
    (root / "rezbuild.json").write_text(json.dumps(record))
    done = built.rezbuild("check", root, ok=False)
    assert done.returncode == 12
    assert f"zlib is {DEFAULTS['zlib']}, and rezbuild.json says 1.2.99" in done.stdout


def test_missing_module_fails_the_check(built, payload, scratch):
    """The quick checks and the suite find it; a test file that skips for this reason fails."""
    root = copy_payload(payload, scratch / "lost module")
    (module,) = root.glob("lib/python3*/lib-dynload/readline.*")
    module.unlink()
    done = built.rezbuild("check", root, "--regrtest", "test_readline", ok=False)
    assert done.returncode == 12
    lost = module.relative_to(root)
    assert f"FAILED  {lost} is missing" in done.stdout
    assert "test_readline: skipped: No module named 'readline'" in done.stdout


def test_failed_test_is_named(built, payload, scratch):
    root = copy_payload(payload, scratch / "wrong result")
    (module,) = root.glob("lib/python3*/colorsys.py")
    # Another size, so that Python ignores the code that was compiled before (up to 3.10, a .pyc).
    module.write_text(module.read_text().replace("0.30*r", "0.310*r"))
    for cached in module.parent.glob("__pycache__/colorsys.*"):
        cached.unlink()
    done = built.rezbuild("check", root, "--regrtest", "test_colorsys", ok=False)
    assert done.returncode == 12
    assert "test.test_colorsys.ColorsysTest.test_yiq_values: " in done.stdout
    assert os.fspath(root) in done.stderr
