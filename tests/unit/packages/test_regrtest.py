"""Results of CPython's own test suite, as the check reads them."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from rezbuild.errors import CheckError
from rezbuild.util import import_file

# Output of regrtest in 3.11 and 3.13.
LOG = """\
0:00:26 load avg: 3.39 [ 1/7] test_bz2 passed
0:00:26 load avg: 3.39 [ 2/7] test_asdl skipped
test_asdl skipped -- test irrelevant for an installed Python
0:03:26 load avg: 4.60 [ 3/7/1] test_cppext failed (2 errors) -- running: test_ssl (1 min 2 sec)
0:03:35 load avg: 5.43 [4/7/1] test_curses skipped (resource denied)
0:03:36 load avg: 5.43 [5/7/2] test_dead crashed (Exit code -11)
0:03:37 load avg: 5.43 [6/7/2] test_env failed (env changed)
0:11:05 load avg: 10.77 [7/7/3] test_multi failed (2 failures) (2 min 40 sec) -- running (1): test_x
FAIL: test_one (test.test_cppext.T.test_one) (subtest=1)
Doc.
----------------------------------------------------------------------
Traceback (most recent call last):
KeyError: 1

During handling of the above exception, another exception occurred:

ValueError: one

Stdout:
OSError: not this one
======================================================================
ERROR: test_two (test.test_multi.T)
----------------------------------------------------------------------
subprocess.CalledProcessError: two
Ran 2 tests in 0.1s
RuntimeError: nor this one
test test_cppext failed
0:00:00 load avg: 18.22 [1/1] test_regrtest_sigint ran no tests
"""
XML = """<testsuites><testsuite>
<testcase name="test.test_bz2.T.test_three"><skipped>no</skipped></testcase>
<testcase name="test.test_bz2.T.test_four"></testcase>
<testcase></testcase>
</testsuite></testsuites>"""


@pytest.fixture(scope="module")
def regrtest() -> ModuleType:
    return import_file.load(Path(__file__).parents[3] / "packages/python", "check_regrtest.py")


@pytest.fixture
def results(regrtest, tmp_path):
    xml = tmp_path / "junit.xml"
    xml.write_text(XML)
    return regrtest.read(LOG, xml)


def test_every_outcome_is_read(results):
    assert results.files == {
        "test_bz2": "passed",
        "test_asdl": "skipped",
        "test_cppext": "failed",
        "test_curses": "skipped",
        "test_dead": "crashed",
        "test_env": "passed",
        "test_multi": "failed",
    }
    assert results.denied == {"test_curses"}
    assert (results.tests, results.tests_skipped) == (3, 1)
    assert results.failures["test.test_cppext.T.test_one"] == "ValueError: one"


@pytest.mark.parametrize(
    ("line", "name", "state"),
    [
        (
            "worker non-zero exit code (Exit code -11 (SIGSEGV))",
            "test_x",
            "worker non-zero exit code",
        ),
        ("failed (1 error, 2 failures) (1 min 2 sec)", "test_x", "failed"),
        ("timed out (20 min)", "test_x", "timed out"),
    ],
)
def test_lines_of_newer_versions_are_read(regrtest, tmp_path, line, name, state):
    found = regrtest.read(f"0:00:01 load avg: 1.00 [1/1/1] {name} {line}\n", tmp_path / "none.xml")
    assert found.files == {name: state}


def test_test_in_a_function_has_its_own_name(regrtest, tmp_path):
    line = "0:00:01 load avg: 1.00 [1/1/1] test_x failed (1 error)\n"
    text = line + "ERROR: test_b (test.test_x.f.<locals>.U.test_b)\n---\nValueError: one\n"
    found = regrtest.read(text, tmp_path / "none.xml")
    assert found.failures == {"test.test_x.f.<locals>.U.test_b": "ValueError: one"}


class InterruptedCheck:
    """A check whose program writes a log and ends too early."""

    jobs = 1

    def __init__(self, scratch: Path, text: str) -> None:
        self.scratch, self.text = scratch, text

    def run(self, *argv: object, log: Path) -> None:
        log.write_text(self.text)


def test_killed_suite_fails(regrtest, tmp_path):
    text = "".join(LOG.splitlines(keepends=True)[:2]) + "Killed\n"
    with pytest.raises(CheckError, match="ended after 2 of 7 files"):
        regrtest.run(InterruptedCheck(tmp_path, text), "python3", [], "suite")


def test_unknown_failure_is_a_problem(regrtest, results):
    assert regrtest.unknown(results, {"failure": {}, "skip": {}}) == {
        "test.test_cppext.T.test_one": "ValueError: one",
        "test.test_multi.T.test_two": "subprocess.CalledProcessError: two",
        "test_asdl": "skipped: test irrelevant for an installed Python",
        "test_dead": "crashed",
    }


def test_crashed_file_is_not_explained_by_a_known_failure(regrtest, results):
    results.files["test_multi"] = "crashed"
    known = {"failure": {"test.test_multi.T.test_two": "why"}, "skip": {}}
    assert regrtest.unknown(results, known)["test_multi"] == "crashed"


def test_known_failure_is_no_problem_and_passing_one_is_reported(regrtest, results):
    known = {
        "failure": {"test.test_cppext.T.test_one": "why", "test_dead": "why", "test_bz2": "why"},
        "skip": {"test_asdl": "why", "test_other": "why"},
    }
    suite, now = regrtest.judge(results, known, [])
    assert suite.problems == ("test.test_multi.T.test_two: subprocess.CalledProcessError: two",)
    assert now.detail.endswith(": test_bz2")


# 3.12 and newer name all files of a folder, or the folder.
@pytest.mark.parametrize("prefix", ["test.", ""])
def test_files_in_folders_have_one_name(regrtest, tmp_path, prefix):
    text = (
        f"0:00:01 load avg: 1.00 [1/2] {prefix}test_asyncio.test_events failed (1 error)\n"
        f"0:00:01 load avg: 1.00 [2/2] {prefix}test_gdb.test_misc skipped\n"
        f"{prefix}test_gdb.test_misc skipped -- source builds only\n"
        "ERROR: test_b (test.test_asyncio.test_events.C.test_b)\n---\nValueError: one\n"
    )
    found = regrtest.read(text, tmp_path / "none.xml")
    assert found.files == {"test_asyncio.test_events": "failed", "test_gdb.test_misc": "skipped"}
    assert regrtest.unknown(found, {"failure": {}, "skip": {}}) == {
        "test.test_asyncio.test_events.C.test_b": "ValueError: one",
        "test_gdb.test_misc": "skipped: source builds only",
    }
    assert regrtest.file_of("test.test_asyncio.test_events.C.test_b", found.files)
    assert not regrtest.file_of("test.test_asyncio_more.C.test_b", ["test_asyncio"])


def test_unknown_test_is_named(regrtest, tmp_path):
    (tmp_path / "test_ssl.py").touch()
    (tmp_path / "test_asyncio").mkdir()
    known = ["test_ssl", "test.test_ssl", "test_asyncio.test_events", "-unetwork"]
    assert regrtest.unknown_tests(tmp_path, [*known, "test_nonexistent"]) == ["test_nonexistent"]
