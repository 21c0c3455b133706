"""Virtual environments on the moved copy, as in docs/how-to/venv.md, and pip's refusal."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from moving import PYTHON_SERIES, RESOLVER, variant
from studio import Studio

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("original_gone")]
WAYS: dict[str, tuple[str, ...]] = {"links": (), "copies": ("--copies",)}
each_way = pytest.mark.parametrize("way", WAYS)

PROBE = """\
import bz2, ctypes, json, os, sqlite3, ssl, sys, sysconfig, zlib
maps = {line.split(None, 5)[5].strip() for line in open("/proc/self/maps") if "/" in line}
print(json.dumps({
    "prefix": sys.prefix,
    "base": sys.base_prefix,
    "purelib": sysconfig.get_path("purelib"),
    "program": os.readlink("/proc/self/exe"),
    "libpython": sorted(name for name in maps if "/libpython" in name),
}))
"""


class Bench:
    """Virtual environments of one Python."""

    def __init__(self, studio: Studio, root: Path, folder: Path) -> None:
        self.studio = studio
        self.root = root
        self.folder = folder

    @property
    def python(self) -> Path:
        return self.root / "bin/python3"

    def run(
        self, *argv: str | Path, ok: bool = True, **env: str
    ) -> subprocess.CompletedProcess[str]:
        own = {"HOME": str(self.folder), "VIRTUALENV_OVERRIDE_APP_DATA": str(self.folder)}
        return self.studio.run(*argv, ok=ok, cwd=self.folder, **{**RESOLVER, **own, **env})

    def venv(self, name: str, *options: str, python: Path | None = None) -> Path:
        self.run(python or self.python, "-m", "venv", *options, self.folder / name)
        return self.folder / name

    def check(self, venv: Path) -> None:
        """Assert that a folder is a venv of this Python."""
        for command in ("python", "python3"):
            seen = json.loads(self.run(venv / "bin" / command, "-c", PROBE).stdout)
            assert Path(seen["prefix"]) == venv
            assert Path(seen["base"]).resolve() == self.root.resolve()
            assert Path(seen["purelib"]).is_relative_to(venv)
            assert Path(seen["program"]).parents[1] in (self.root.resolve(), venv.resolve())
            # Up to 3.10, it is a separate file.
            for libpython in map(Path, seen["libpython"]):
                assert libpython.parent in (self.root.resolve() / "lib", venv.resolve() / "lib")

    def install(self, venv: Path, *what: str | Path, **env: str) -> None:
        self.run(venv / "bin/pip", "install", "--quiet", "--no-index", *what, **env)


@pytest.fixture
def bench(built: Studio, moved: Path, tmp_path: Path) -> Bench:
    return Bench(built, variant(moved), tmp_path)


# Packages to install.

PYPROJECT = """\
[build-system]
requires = ["setuptools>=70.1"]
build-backend = "setuptools.build_meta"
[project]
name = "{name}"
version = "1.0"
"""
SCRIPT = """\
[project.scripts]
greet = "greeting:main"
[tool.setuptools]
py-modules = ["greeting"]
"""
EXTENSION = """\
[tool.setuptools]
ext-modules = [{ name = "native", sources = ["native.c"] }]
"""
NATIVE = """\
#include <Python.h>
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "native", NULL, -1, NULL};
PyMODINIT_FUNC PyInit_native(void)
{
    PyObject *made = PyModule_Create(&module);
    PyModule_AddIntConstant(made, "answer", 42);
    return made;
}
"""


@pytest.fixture(scope="module")
def shared_bench(built: Studio, copied: Path, scratch: Path) -> Iterator[Bench]:
    """Return a shared bench, with a venv ``env`` whose pip has downloaded the test packages."""
    folder = scratch / "shared_bench"
    folder.mkdir()
    bench = Bench(built, variant(copied), folder)
    env = bench.venv("env")
    # Only this step needs the package index, so it uses the user's configuration.
    home = os.environ.get("HOME", "/")
    fetch = ("download", "--quiet", "--dest", folder / "wheels", "setuptools>=70.1", "virtualenv")
    bench.run(env / "bin/pip", *fetch, HOME=home)
    bench.install(env, "--find-links", folder / "wheels", "virtualenv")
    yield bench
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def wheel(shared_bench: Bench) -> Path:
    """Make a pure Python wheel with a command."""
    source = shared_bench.folder / "greeting"
    source.mkdir()
    (source / "pyproject.toml").write_text(PYPROJECT.format(name="greeting") + SCRIPT)
    (source / "greeting.py").write_text("def main():\n    print('hello')\n")
    options = ("--quiet", "--no-index", "--find-links", shared_bench.folder / "wheels")
    shared_bench.run(
        shared_bench.folder / "env/bin/pip",
        "wheel",
        *options,
        "--wheel-dir",
        shared_bench.folder,
        source,
    )
    return shared_bench.folder / "greeting-1.0-py3-none-any.whl"


@pytest.fixture(scope="module")
def sdist(shared_bench: Bench) -> Path:
    """Make the source distribution of a C extension."""
    source = shared_bench.folder / "native"
    source.mkdir()
    (source / "pyproject.toml").write_text(PYPROJECT.format(name="native") + EXTENSION)
    (source / "native.c").write_text(NATIVE)
    path = shared_bench.folder / "native-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(source, "native-1.0")
    return path


# Supported uses.


def directly(bench: Bench) -> list[str | Path]:
    return [bench.python]


def resolved(bench: Bench) -> list[str | Path]:
    """Return the real path of the interpreter, bin/python3.11."""
    return [bench.python.resolve()]


def by_a_link(bench: Bench) -> list[str | Path]:
    (bench.folder / "somewhere").mkdir()
    link = bench.folder / "somewhere/python3"
    link.symlink_to(bench.python)
    return [link]


def by_another_name(bench: Bench) -> list[str | Path]:
    link = bench.folder / "our-python"
    link.symlink_to(bench.python)
    return [link]


def by_path(bench: Bench) -> list[str | Path]:
    (link,) = by_a_link(bench)
    return ["env", f"PATH={Path(link).parent}:/usr/bin:/bin", "python3"]


def by_a_link_to_all(bench: Bench) -> list[str | Path]:
    link = bench.folder / "package"
    link.symlink_to(bench.root)
    return [link / "bin/python3"]


def called(name: str, bench: Bench) -> list[str | Path]:
    return ["bash", "-c", f'exec -a {name} "$0" "$@"', bench.python]


def called_otherwise(bench: Bench) -> list[str | Path]:
    return called("maya", bench)


def called_elsewhere(bench: Bench) -> list[str | Path]:
    return called("/nowhere/bin/python3", bench)


STARTS = (
    directly,
    resolved,
    by_a_link,
    by_another_name,
    by_path,
    by_a_link_to_all,
    called_otherwise,
    called_elsewhere,
)


@each_way
@pytest.mark.parametrize("start", STARTS)
def test_venv_from_each_name_of_the_interpreter_works(bench, start, way):
    venv = bench.folder / "env"
    bench.run(*start(bench), "-m", "venv", "--without-pip", *WAYS[way], venv)
    bench.check(venv)


def test_venv_in_a_rez_environment_works(bench, moved):
    venv = bench.folder / "env"
    make = ("python3", "-m", "venv", "--without-pip", venv)
    bench.studio.in_env(moved, "python", *make)
    bench.check(venv)


@each_way
def test_pip_installs_in_a_venv(bench, shared_bench, wheel, sdist, way):
    venv = bench.venv("env", *WAYS[way])
    bench.check(venv)
    bench.install(venv, wheel)
    bench.install(venv, "--find-links", shared_bench.folder / "wheels", sdist)
    assert bench.run(venv / "bin/greet").stdout == "hello\n"
    link = bench.folder / "greet"
    link.symlink_to(venv / "bin/greet")
    assert bench.run(link).stdout == "hello\n"
    code = "import native; print(native.answer)"
    assert bench.run(venv / "bin/python", "-c", code).stdout == "42\n"


@each_way
def test_python_in_a_venv_writes_nothing_into_the_payload(bench, way):
    """A copy of the program contains the modules' code and compiles none."""
    before = set(bench.root.rglob("*"))
    venv = bench.venv("env", "--without-pip", *WAYS[way])
    bench.run(venv / "bin/python", "-c", "import json, plistlib, wave")
    assert set(bench.root.rglob("*")) == before


@each_way
def test_venv_of_a_venv_works(bench, way):
    first = bench.venv("first", "--without-pip", *WAYS[way])
    second = bench.venv("second", "--without-pip", *WAYS[way], python=first / "bin/python")
    bench.check(second)
    shutil.rmtree(first)
    bench.check(second)


@pytest.mark.parametrize(("start", "way"), [(by_a_link, "links"), (directly, "copies")])
def test_virtualenv_works(bench, shared_bench, wheel, start, way):
    venv = bench.folder / "env"
    (python,) = start(bench)
    maker = shared_bench.folder / "env/bin/virtualenv"
    bench.run(maker, "--no-download", "--python", python, *WAYS[way], venv)
    bench.check(venv)
    # It contains a pip without the old resolver.
    bench.install(venv, wheel, PIP_USE_FEATURE="")
    assert bench.run(venv / "bin/greet").stdout == "hello\n"


# After a second move.


@pytest.fixture
def movable(bench: Bench) -> Bench:
    """Return a bench on a copy (of hard links) that a test may move."""
    shutil.copytree(bench.root, bench.folder / "old", symlinks=True, copy_function=os.link)
    bench.root = bench.folder / "old"
    return bench


def move_on(bench: Bench) -> None:
    bench.root = bench.root.rename(bench.folder / "a new place")


def starts(bench: Bench, venv: Path) -> bool:
    try:
        return bench.run(venv / "bin/python", "-c", "pass", ok=False).returncode == 0
    except FileNotFoundError:
        return False


@each_way
def test_venv_breaks_after_a_move_and_can_be_created_again(movable, way):
    venv = movable.venv("env", "--without-pip", *WAYS[way])
    (site,) = venv.glob("lib/python*/site-packages")
    (site / "installed.py").touch()
    move_on(movable)
    assert not starts(movable, venv)
    movable.venv("env", "--without-pip", "--clear", *WAYS[way])
    movable.check(venv)
    assert not (site / "installed.py").exists()


@each_way
def test_venv_is_upgraded_after_a_move(movable, wheel, way):
    venv = movable.venv("env", *WAYS[way])
    movable.install(venv, wheel)
    move_on(movable)
    assert not starts(movable, venv)
    mend = (movable.python, "-m", "venv", "--upgrade", *WAYS[way], venv)
    if way == "links":
        assert movable.run(*mend, ok=False).returncode != 0
        assert not starts(movable, venv)
        for link in (venv / "bin").glob("python*"):
            link.unlink()
    movable.run(*mend)
    movable.check(venv)
    assert movable.run(venv / "bin/greet").stdout == "hello\n"
    assert "greeting" in movable.run(venv / "bin/pip", "list").stdout


def test_venv_by_a_fixed_link_survives_a_move(movable):
    link = movable.folder / "packages"
    link.symlink_to(movable.root)
    venv = movable.venv("env", "--without-pip", python=link / "bin/python3")
    movable.check(venv)
    move_on(movable)
    assert not starts(movable, venv)
    link.unlink()
    link.symlink_to(movable.root)
    movable.check(venv)


# pip and the package itself. The requested package does not exist, so nothing is installed.


@pytest.mark.parametrize("options", [(), ("--user",), ("--upgrade", "--force-reinstall")])
def test_pip_does_not_install_into_the_package(bench, options):
    install = ("install", "--no-index", *options, "no-such-name")
    for command in ((bench.python, "-m", "pip"), (bench.root / "bin/pip",)):
        refuses(bench.run(*command, *install, ok=False))


@pytest.mark.parametrize("command", ["install", "develop"])
@pytest.mark.parametrize("tool", ["setuptools", "distutils.core"])
def test_setup_py_does_not_install_into_the_package(bench, tool, command):
    """Older instructions use it; from 3.12 on the payload has neither tool."""
    there = bench.run(bench.python, "-c", f"import {tool}", ok=False).returncode == 0
    if not there or (tool, command) == ("distutils.core", "develop"):
        pytest.skip(f"{command} by {tool}: there is no such thing here")
    folder = bench.folder / f"oops-{tool}-{command}"
    folder.mkdir()
    (folder / "oops.py").write_text("x = 1\n")
    setup = f"from {tool} import setup\nsetup(name='oops', version='1', py_modules=['oops'])\n"
    (folder / "setup.py").write_text(setup)
    argv = (bench.python, "-W", "ignore", "setup.py", command)
    refuses(bench.studio.run(*argv, cwd=folder, ok=False))
    assert list(bench.root.glob("lib/python3*/site-packages/*oops*")) == []


def refuses(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode != 0, done.stdout
    for word in ("externally-managed-environment", "rez-pip", "-m venv"):
        assert word in done.stderr


def test_pip_does_not_uninstall_from_the_package(bench):
    # The package is not installed, so a missing refusal does no harm.
    refuses(bench.run(bench.python, "-m", "pip", "uninstall", "-y", "greeting", ok=False))


def test_pip_refuses_users_without_write_access(bench):
    """pip would use --user for them."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    other = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    install = ("install", "--no-index", "no-such-name")
    done = subprocess.run(
        [*other, bench.python, "-m", "pip", *install],
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    refuses(done)


def test_pip_reports_what_it_would_install(bench, wheel):
    """A dry run installs nothing, so pip allows it."""
    if PYTHON_SERIES < (3, 11):
        pytest.skip("pip before 22.2 has no dry run")
    report = bench.folder / "report.json"
    options = ("--dry-run", "--ignore-installed", "--no-index", "--report", report)
    bench.run(bench.python, "-m", "pip", "install", *options, wheel)
    (found,) = json.loads(report.read_text())["install"]
    assert found["metadata"]["name"] == "greeting"
    assert list(bench.root.glob("lib/python3*/site-packages/greeting*")) == []


def test_setup_py_installs_below_another_prefix(bench):
    """Build systems of studios do this; from 3.12 on the payload has no setuptools."""
    if bench.run(bench.python, "-c", "import setuptools", ok=False).returncode:
        pytest.skip("there is no setuptools here")
    folder, elsewhere = bench.folder / "elsewhere", bench.folder / "prefix"
    folder.mkdir()
    (folder / "there.py").write_text("x = 1\n")
    setup = "from setuptools import setup\nsetup(name='there', version='1', py_modules=['there'])\n"
    (folder / "setup.py").write_text(setup)
    options = ("--single-version-externally-managed", f"--record={folder}/files")
    argv = (bench.python, "-W", "ignore", "setup.py", "install", f"--prefix={elsewhere}", *options)
    bench.studio.run(*argv, cwd=folder)
    assert list(elsewhere.glob("lib/python3*/site-packages/there.py"))


def test_pip_target_option_works(bench, wheel):
    target = bench.folder / "target"
    bench.run(bench.python, "-m", "pip", "install", "--no-index", "--target", target, wheel)
    assert (target / "greeting.py").is_file()


def test_venv_with_system_packages_can_be_installed_into(bench, wheel):
    venv = bench.venv("env", "--system-site-packages", "--without-pip")
    bench.run(venv / "bin/python", "-m", "pip", "install", "--quiet", "--no-index", wheel)
    assert bench.run(venv / "bin/greet").stdout == "hello\n"
