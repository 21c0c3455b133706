"""The standard library's tests, beside a python that has none.

They stand in one folder, which the package puts on PYTHONPATH: ``test``, and those that are inside
of packages (to 3.11 ``unittest.test`` and others), each at its place below the folder.
"""

import shlex
import shutil

from rezbuild.errors import BuildError

from . import contents

# Run by the payload's python. What cannot be compiled is a test of just that.
COMPILE = """\
import compileall, py_compile, sys
folder, top, jobs = sys.argv[1:]
mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
how = {"maxlevels": 20, "quiet": 2, "force": True, "workers": int(jobs)}
compileall.compile_dir(folder, stripdir=top, invalidation_mode=mode, **how)
"""
# Tests start interpreters by -I or -E, which ignore PYTHONPATH, unless this says that it is needed.
SCRIPT_HELPER = "__cached_interp_requires_environment = "


def build(b):
    """Copies the tests, and compiles their C modules against the payload's own headers."""
    target = b.payload / "python"
    contents.copy(b.source, target)
    _reach_one_another(b, target)
    _needs_environment(target / "test/support/script_helper.py")
    # Their assertions name files, of the source and of the headers.
    flags = [*shlex.split(b.env["LDFLAGS"]), f"-ffile-prefix-map={b.destdir.parent}=."]
    for _, words in contents.helpers(b.source, b.dependency("python").root, target):
        b.run(b.env["CC"], *flags, *words)


def finish(b):
    """Compiles the tests where they stand now: a read-only repository could not take .pyc files."""
    python = str(b.dependency("python").root / "bin/python3")
    target = str(b.payload / "python")
    # Of the tests' own invalid escapes nobody wants to hear.
    b.run(python, "-I", "-B", "-Wi", "-c", COMPILE, target, str(b.payload), str(b.jobs))


def _reach_one_another(b, target):
    """Whatever is imported first makes the tests inside of packages importable."""
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


def _needs_environment(path):
    text = path.read_text()
    if f"\n{SCRIPT_HELPER}None\n" not in text:
        raise BuildError(
            "script_helper.py of CPython's tests asks in an unknown way what an interpreter needs",
            advice=["packages/python_tests/recipe.py says which way is known"],
        )
    path.write_text(text.replace(f"\n{SCRIPT_HELPER}None\n", f"\n{SCRIPT_HELPER}True\n"))
