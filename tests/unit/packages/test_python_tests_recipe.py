"""packages/python_tests makes a folder of tests from a source tree."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path

import pytest

from rezbuild.errors import BuildError
from rezbuild.util import import_file

FOLDER = Path(__file__).parents[3] / "packages/python_tests"
FILES = {
    "Lib/test/__init__.py": "# Dummy\n",
    "Lib/test/test_x/tests/deep.py": "",
    "Lib/email/__init__.py": "",
    "Lib/email/Grammar.txt": "",
    "Lib/email/tests/__init__.py": "",
    "Lib/email/tests/test_y.py": "NAME = __name__\n",
    "Lib/email/tests/more/__init__.py": "",
    "Lib/json/tool.py": "",
}


@pytest.fixture
def recipe():
    return import_file.load(FOLDER, "recipe.py")


@pytest.fixture
def target(recipe, tmp_path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    folder = tmp_path / "a b/target"
    recipe.contents.copy(tmp_path / "source", folder)
    return folder


def test_only_tests_and_their_data_are_copied(target):
    found = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
    left_out = {"Lib/email/__init__.py", "Lib/json/tool.py"}
    assert found == {name[len("Lib/") :] for name in FILES if name not in left_out}


@pytest.mark.parametrize("first", ["test", "email.tests.more"])
def test_tests_inside_packages_are_importable(recipe, target, first):
    """``email`` is the interpreter's own package."""
    recipe._reach_one_another(types.SimpleNamespace(recipe=FOLDER), target)
    code = (
        f"import sys, runpy; sys.path.insert(0, {str(target)!r})\n"
        f"start = {str(target)!r} + '/' + {first!r}.replace('.', '/')\n"
        "runpy.run_path(start + '/__init__.py', init_globals={'__path__': [start]})\n"
        "import email, email.tests.test_y, test\n"
        "print(email.tests.test_y.NAME, len([f for f in sys.meta_path if hasattr(f, 'top')]))\n"
        "import email.tests.no_such\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["email.tests.test_y", "1"], done.stderr
    assert "No module named 'email.tests.no_such'" in done.stderr


def test_changed_script_helper_stops_the_build(recipe, tmp_path):
    path = tmp_path / "script_helper.py"
    path.write_text("import os\n__cached_interp_requires_environment = None\n")
    recipe._needs_environment(path)
    assert path.read_text().endswith("_environment = True\n")
    with pytest.raises(BuildError, match="has no line __cached_interp_requires_environment = None"):
        recipe._needs_environment(path)
