"""The tests of the standard library, for a python payload, which has none.

All tests are in one folder that the package puts on PYTHONPATH: ``test``, and the tests inside of
packages (up to 3.11 ``unittest.test`` and others), each at its place below the folder.
"""

import shlex
import shutil
from pathlib import Path

from rezbuild.build.recipe_api import Build
from rezbuild.errors import BuildError

from . import contents

# Run by the payload's python. Some tests are files that cannot be compiled on purpose.
COMPILE = """\
import compileall, py_compile, sys
folder, top, jobs = sys.argv[1:]
mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
how = {"maxlevels": 20, "quiet": 2, "force": True, "workers": int(jobs)}
compileall.compile_dir(folder, stripdir=top, invalidation_mode=mode, **how)
"""
# Tests start interpreters with -I or -E, which ignore PYTHONPATH, unless this variable is True.
SCRIPT_HELPER = "__cached_interp_requires_environment = "


def build(b: Build) -> None:
    """Copy the tests, and compile their C modules with the payload's headers."""
    target = b.payload / "python"
    contents.copy(b.source, target)
    _reach_one_another(b, target)
    _needs_environment(target / "test/support/script_helper.py")
    # Assertions contain the names of source files and headers.
    flags = [*shlex.split(b.env["LDFLAGS"]), f"-ffile-prefix-map={b.destdir.parent}=."]
    for _, words in contents.helpers(b.source, b.dependency("python").root, target):
        b.run(b.env["CC"], *flags, *words)


def finish(b: Build) -> None:
    """Compile the tests: Python cannot write .pyc files to a read-only repository later."""
    python = str(b.dependency("python").root / "bin/python3")
    target = str(b.payload / "python")
    # -Wi: some tests contain invalid escapes on purpose.
    b.run(python, "-I", "-B", "-Wi", "-c", COMPILE, target, str(b.payload), str(b.jobs))


def _reach_one_another(b: Build, target: Path) -> None:
    """Make the tests inside of packages importable, whichever test is imported first."""
    finder = "tests_in_packages.py"
    shutil.copyfile(b.recipe / finder, target / finder)
    starts = [target / "test/__init__.py"]
    for package in target.iterdir():
        if package.name != "test":
            for kind in contents.FOLDERS:
                starts += package.glob(f"{kind}/**/__init__.py")
    for path in starts:
        up = len(path.relative_to(target).parts) - 1
        here = f"__import__('os').path.join(__path__[0], *['..'] * {up}, {finder!r})"
        path.write_text(f"{path.read_text()}\n__import__('runpy').run_path({here})\n")


def _needs_environment(path: Path) -> None:
    text = path.read_text()
    if f"\n{SCRIPT_HELPER}None\n" not in text:
        raise BuildError(
            f"{path} has no line {SCRIPT_HELPER}None",
            advice=["adapt packages/python_tests/recipe.py to this version of CPython"],
        )
    path.write_text(text.replace(f"\n{SCRIPT_HELPER}None\n", f"\n{SCRIPT_HELPER}True\n"))
