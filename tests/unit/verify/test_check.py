"""`rezbuild check` on a payload of one file, with a small recipe."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from rezbuild.cli.check import report
from rezbuild.errors import CatalogueError, CheckError, UsageError
from rezbuild.reporter import Reporter
from rezbuild.settings import Settings
from rezbuild.verify.check import Result, check


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "payload"
    folder.mkdir()
    (folder / "rezbuild.json").write_text(json.dumps({"name": "tool", "version": "1.0"}))
    return folder


def results(root: Path, code: str = "", **options) -> list[Result]:
    recipe = root.parent / "recipes/tool"
    recipe.mkdir(parents=True, exist_ok=True)
    if code:
        (recipe / "check.py").write_text(code)
    settings = Settings(cache=root.parent / "cache", jobs=3)
    return list(check(root, recipe.parent, settings, **options))


def names(found: list[Result], *, failed: bool) -> list[str]:
    return [result.name for result in found if bool(result.problems) is failed]


def test_package_without_checks_is_audited(root):
    (root / "link").symlink_to("/outside")
    found = results(root)
    assert names(found, failed=True) == ["audit"]
    assert "link-absolute: link: " in str(found[0])


def test_results_of_the_recipe_are_reported(root):
    found = results(root, "def quick(c):\n    yield c.result('a', 'fine')\n"
                          "    yield c.result('b', c.version, ['wrong'])\n")  # fmt: skip
    assert [str(result) for result in found[1:3]] == [
        "ok      a: fine",
        "FAILED  b: 1.0\n        wrong",
    ]


def test_caller_environment_does_not_reach_a_check(root, monkeypatch):
    monkeypatch.setenv("LD_LIBRARY_PATH", "/leaked")
    monkeypatch.setenv("PYTHONHOME", "/leaked")
    code = f"def quick(c):\n    yield c.result('env', c.run({sys.executable!r}, '-I', '-c', "
    code += "'import os; print(sorted(os.environ))').stdout)\n"
    (_, seen, _) = results(root, code)
    assert seen.detail.strip() == "['HOME', 'LANG', 'PATH', 'TERM', 'TMPDIR']"


def test_written_payload_is_named(root):
    (root / "old").write_text("old")
    code = "def quick(c):\n    (c.root / 'old').write_text('newer')\n"
    code += "    (c.root / 'new').touch()\n    yield c.result('a', '')\n"
    found = results(root, code)
    assert found[-1].problems == ("new was written", "old was written")


def test_suite_gets_names_and_jobs(root):
    code = "def quick(c):\n    return []\n"
    code += "def suite(c, tests):\n    yield c.result('suite', f'{tests} {c.jobs}')\n"
    assert [r.detail for r in results(root, code, suite=["one"])][1:-1] == ["['one'] 3"]


@pytest.mark.parametrize("code", ["", "def quick(c):\n    return []\n"])
def test_package_without_a_suite_is_refused(root, code):
    with pytest.raises(UsageError, match="tool has no test suite"):
        results(root, code, suite=[])


def test_other_folder_is_refused(tmp_path):
    with pytest.raises(UsageError, match="not a payload of rezbuild"):
        list(check(tmp_path, tmp_path, Settings(cache=tmp_path)))


@pytest.mark.parametrize(
    "record",
    ["{}", '{"name": 3, "version": "1.0"}', '{"name": "tool"}', '{"name": "../x", "version": "1"}'],
)
def test_damaged_record_is_named(root, record):
    (root / "rezbuild.json").write_text(record)
    # A field of another type invalidates the record.
    with pytest.raises(UsageError, match=r"does not name a package|missing or damaged"):
        results(root)


@pytest.mark.parametrize("listed", ["3", "[[1]]", "null"])
def test_damaged_list_of_programs_is_named(root, listed):
    text = f'{{"name": "tool", "version": "1.0", "elf": {listed}}}'
    (root / "rezbuild.json").write_text(text)
    assert "its list of programs and libraries is damaged" in str(results(root)[0])


def test_scratch_folder_is_kept_on_request(root):
    keep = root.parent / "kept"
    code = "def quick(c):\n    c.run('sh', '-c', 'echo said', log=c.scratch / 'log')\n"
    results(root, code + "    return []\n", keep=keep)
    assert (keep / "log").read_text() == "said\n"
    with pytest.raises(UsageError, match="is not empty"):
        list(check(root, root.parent / "recipes", Settings(cache=keep), keep=keep))


def test_errors_of_a_recipe_are_rezbuild_errors(root):
    with pytest.raises(CheckError, match="/not/there cannot be started"):
        results(root, "def quick(c):\n    yield c.run('/not/there')\n")
    with pytest.raises(CatalogueError, match=r"check\.py cannot be loaded: cannot import name 'x'"):
        results(root, "from . import x\n")
    with pytest.raises(CatalogueError, match=r"check\.py cannot be loaded: .*syntax"):
        results(root, "def\n")


def test_error_repeats_the_problems_of_failed_checks(capsys, tmp_path):
    """The results are on standard output, the error is on standard error."""
    found = [Result("one", "fine"), Result("two", "", ("it is damaged", "it is old"))]
    with pytest.raises(CheckError) as error:
        report(found, tmp_path, Reporter())
    assert error.value.tried == ("two: it is damaged", "two: it is old")
    assert "FAILED  two\n        it is damaged\n" in capsys.readouterr().out
