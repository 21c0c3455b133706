"""python_tests: tests of the standard library run on a moved python without tests."""

from __future__ import annotations

import pytest
from moves import PYTHON, PYTHON_SERIES, copy_packages, hide, snapshot, variant

pytestmark = pytest.mark.e2e

# Plain tests, tests with their own C modules, and, up to 3.11, tests inside packages.
NAMES = ["test_json", "test_unittest", "test_ctypes", "test_call"]
INSIDE = {"distutils.tests", "idlelib.idle_test", "lib2to3.tests", "unittest.test"}


@pytest.fixture(scope="module")
def repository(built, scratch):
    """Copy the package and its python, both read-only."""
    request = f"python_tests-{PYTHON}"
    assert f"ready: rez-env python_tests=={PYTHON}" in built.rezbuild("build", request).stdout
    return copy_packages(built, scratch / "tests repository", f"python-{PYTHON}", request)


def test_tests_of_the_package_run(built, repository, tmp_path):
    before = snapshot(variant(repository, "python_tests"))
    with hide(built.local):
        run = ("python3", "-m", "test", "--tempdir", tmp_path, *NAMES)
        said = built.in_env(repository, "python_tests", *run).stdout
    assert f"All {len(NAMES)} tests OK." in said
    assert snapshot(variant(repository, "python_tests")) == before


@pytest.mark.skipif(PYTHON_SERIES != (3, 11), reason="they have moved since")
def test_tests_inside_packages_are_found(built, repository):
    code = f"import importlib, test\nfor name in {sorted(INSIDE)}: importlib.import_module(name)"
    built.in_env(repository, "python_tests", "python3", "-W", "ignore", "-c", code)


def test_test_support_is_importable(built, repository):
    code = "import _testcapi, _testbuffer; print(_testcapi.INT_MAX)"
    assert built.in_env(repository, "python_tests", "python3", "-c", code).stdout.strip() == str(
        2**31 - 1
    )


def test_python_without_the_package_has_no_tests(built, repository):
    done = built.in_env(repository, "python", "python3", "-c", "import test", ok=False)
    assert "No module named 'test'" in done.stderr


def test_python_tests_payload_passes_its_checks(built, repository):
    out = built.rezbuild("check", variant(repository, "python_tests")).stdout
    assert "FAILED" not in out
