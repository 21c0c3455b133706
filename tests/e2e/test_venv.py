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
from moves import PYTHON_SERIES, RESOLVER, variant
from studio import Studio

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("hidden_original")]
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


class Venvs:
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
def venvs(built: Studio, moved: Path, tmp_path: Path) -> Venvs:
    return Venvs(built, variant(moved), tmp_path)


# Packages to install

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
def shared_venvs(built: Studio, copied: Path, scratch: Path) -> Iterator[Venvs]:
    """Return a folder with a venv ``env``, whose pip has downloaded the test packages."""
    folder = scratch / "shared_bench"
    folder.mkdir()
    venvs = Venvs(built, variant(copied), folder)
    env = venvs.venv("env")
    # Only this step needs the package index, so it uses the user's configuration.
    home = os.environ.get("HOME", "/")
    fetch = ("download", "--quiet", "--dest", folder / "wheels", "setuptools>=70.1", "virtualenv")
    venvs.run(env / "bin/pip", *fetch, HOME=home)
    venvs.install(env, "--find-links", folder / "wheels", "virtualenv")
    yield venvs
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def wheel(shared_venvs: Venvs) -> Path:
    """Make a pure Python wheel with a command."""
    source = shared_venvs.folder / "greeting"
    source.mkdir()
    (source / "pyproject.toml").write_text(PYPROJECT.format(name="greeting") + SCRIPT)
    (source / "greeting.py").write_text("def main():\n    print('hello')\n")
    options = ("--quiet", "--no-index", "--find-links", shared_venvs.folder / "wheels")
    shared_venvs.run(
        shared_venvs.folder / "env/bin/pip",
        "wheel",
        *options,
        "--wheel-dir",
        shared_venvs.folder,
        source,
    )
    return shared_venvs.folder / "greeting-1.0-py3-none-any.whl"


@pytest.fixture(scope="module")
def sdist(shared_venvs: Venvs) -> Path:
    """Make the source distribution of a C extension."""
    source = shared_venvs.folder / "native"
    source.mkdir()
    (source / "pyproject.toml").write_text(PYPROJECT.format(name="native") + EXTENSION)
    (source / "native.c").write_text(NATIVE)
    path = shared_venvs.folder / "native-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(source, "native-1.0")
    return path


# Supported uses


def own_path(venvs: Venvs) -> list[str | Path]:
    return [venvs.python]


def real_path(venvs: Venvs) -> list[str | Path]:
    """Return the real path of the interpreter, bin/python3.11."""
    return [venvs.python.resolve()]


def link_in_another_folder(venvs: Venvs) -> list[str | Path]:
    (venvs.folder / "somewhere").mkdir()
    link = venvs.folder / "somewhere/python3"
    link.symlink_to(venvs.python)
    return [link]


def link_of_another_name(venvs: Venvs) -> list[str | Path]:
    link = venvs.folder / "our-python"
    link.symlink_to(venvs.python)
    return [link]


def name_on_path(venvs: Venvs) -> list[str | Path]:
    (link,) = link_in_another_folder(venvs)
    return ["env", f"PATH={Path(link).parent}:/usr/bin:/bin", "python3"]


def link_to_the_payload(venvs: Venvs) -> list[str | Path]:
    link = venvs.folder / "package"
    link.symlink_to(venvs.root)
    return [link / "bin/python3"]


def argv0(name: str, venvs: Venvs) -> list[str | Path]:
    return ["bash", "-c", f'exec -a {name} "$0" "$@"', venvs.python]


def argv0_without_folder(venvs: Venvs) -> list[str | Path]:
    return argv0("maya", venvs)


def argv0_of_another_folder(venvs: Venvs) -> list[str | Path]:
    return argv0("/nowhere/bin/python3", venvs)


STARTS = (
    own_path,
    real_path,
    link_in_another_folder,
    link_of_another_name,
    name_on_path,
    link_to_the_payload,
    argv0_without_folder,
    argv0_of_another_folder,
)


@each_way
@pytest.mark.parametrize("start", STARTS)
def test_venv_from_each_name_of_the_interpreter_works(venvs, start, way):
    venv = venvs.folder / "env"
    venvs.run(*start(venvs), "-m", "venv", "--without-pip", *WAYS[way], venv)
    venvs.check(venv)


def test_venv_in_a_rez_environment_works(venvs, moved):
    venv = venvs.folder / "env"
    make = ("python3", "-m", "venv", "--without-pip", venv)
    venvs.studio.in_env(moved, "python", *make)
    venvs.check(venv)


@each_way
def test_pip_installs_in_a_venv(venvs, shared_venvs, wheel, sdist, way):
    venv = venvs.venv("env", *WAYS[way])
    venvs.check(venv)
    venvs.install(venv, wheel)
    venvs.install(venv, "--find-links", shared_venvs.folder / "wheels", sdist)
    assert venvs.run(venv / "bin/greet").stdout == "hello\n"
    link = venvs.folder / "greet"
    link.symlink_to(venv / "bin/greet")
    assert venvs.run(link).stdout == "hello\n"
    code = "import native; print(native.answer)"
    assert venvs.run(venv / "bin/python", "-c", code).stdout == "42\n"


@each_way
def test_python_in_a_venv_writes_nothing_into_the_payload(venvs, way):
    """A copy of the program contains the modules' code and compiles none."""
    before = set(venvs.root.rglob("*"))
    venv = venvs.venv("env", "--without-pip", *WAYS[way])
    venvs.run(venv / "bin/python", "-c", "import json, plistlib, wave")
    assert set(venvs.root.rglob("*")) == before


@each_way
def test_venv_of_a_venv_works(venvs, way):
    first = venvs.venv("first", "--without-pip", *WAYS[way])
    second = venvs.venv("second", "--without-pip", *WAYS[way], python=first / "bin/python")
    venvs.check(second)
    shutil.rmtree(first)
    venvs.check(second)


@pytest.mark.parametrize(
    ("start", "way"), [(link_in_another_folder, "links"), (own_path, "copies")]
)
def test_virtualenv_works(venvs, shared_venvs, wheel, start, way):
    venv = venvs.folder / "env"
    (python,) = start(venvs)
    maker = shared_venvs.folder / "env/bin/virtualenv"
    venvs.run(maker, "--no-download", "--python", python, *WAYS[way], venv)
    venvs.check(venv)
    # It contains a pip without the old resolver.
    venvs.install(venv, wheel, PIP_USE_FEATURE="")
    assert venvs.run(venv / "bin/greet").stdout == "hello\n"


# After a second move


@pytest.fixture
def movable_venvs(venvs: Venvs) -> Venvs:
    """Return environments of a copy (of hard links) that a test may move."""
    shutil.copytree(venvs.root, venvs.folder / "old", symlinks=True, copy_function=os.link)
    venvs.root = venvs.folder / "old"
    return venvs


def move_python(venvs: Venvs) -> None:
    venvs.root = venvs.root.rename(venvs.folder / "a new place")


def venv_starts(venvs: Venvs, venv: Path) -> bool:
    try:
        return venvs.run(venv / "bin/python", "-c", "pass", ok=False).returncode == 0
    except FileNotFoundError:
        return False


@each_way
def test_venv_breaks_after_a_move_and_can_be_created_again(movable_venvs, way):
    venv = movable_venvs.venv("env", "--without-pip", *WAYS[way])
    (site,) = venv.glob("lib/python*/site-packages")
    (site / "installed.py").touch()
    move_python(movable_venvs)
    assert not venv_starts(movable_venvs, venv)
    movable_venvs.venv("env", "--without-pip", "--clear", *WAYS[way])
    movable_venvs.check(venv)
    assert not (site / "installed.py").exists()


@each_way
def test_venv_is_upgraded_after_a_move(movable_venvs, wheel, way):
    venv = movable_venvs.venv("env", *WAYS[way])
    movable_venvs.install(venv, wheel)
    move_python(movable_venvs)
    assert not venv_starts(movable_venvs, venv)
    mend = (movable_venvs.python, "-m", "venv", "--upgrade", *WAYS[way], venv)
    if way == "links":
        assert movable_venvs.run(*mend, ok=False).returncode != 0
        assert not venv_starts(movable_venvs, venv)
        for link in (venv / "bin").glob("python*"):
            link.unlink()
    movable_venvs.run(*mend)
    movable_venvs.check(venv)
    assert movable_venvs.run(venv / "bin/greet").stdout == "hello\n"
    assert "greeting" in movable_venvs.run(venv / "bin/pip", "list").stdout


def test_venv_by_a_fixed_link_survives_a_move(movable_venvs):
    link = movable_venvs.folder / "packages"
    link.symlink_to(movable_venvs.root)
    venv = movable_venvs.venv("env", "--without-pip", python=link / "bin/python3")
    movable_venvs.check(venv)
    move_python(movable_venvs)
    assert not venv_starts(movable_venvs, venv)
    link.unlink()
    link.symlink_to(movable_venvs.root)
    movable_venvs.check(venv)


# pip and the package itself. The requested package does not exist, so nothing is installed.


@pytest.mark.parametrize("options", [(), ("--user",), ("--upgrade", "--force-reinstall")])
def test_pip_does_not_install_into_the_package(venvs, options):
    install = ("install", "--no-index", *options, "no-such-name")
    for command in ((venvs.python, "-m", "pip"), (venvs.root / "bin/pip",)):
        assert_refused(venvs.run(*command, *install, ok=False))


@pytest.mark.parametrize("command", ["install", "develop"])
@pytest.mark.parametrize("tool", ["setuptools", "distutils.core"])
def test_setup_py_does_not_install_into_the_package(venvs, tool, command):
    """Older instructions use it; from 3.12 on the payload has neither tool."""
    there = venvs.run(venvs.python, "-c", f"import {tool}", ok=False).returncode == 0
    if not there or (tool, command) == ("distutils.core", "develop"):
        pytest.skip(f"{command} by {tool}: there is no such thing here")
    folder = venvs.folder / f"oops-{tool}-{command}"
    folder.mkdir()
    (folder / "oops.py").write_text("x = 1\n")
    setup = f"from {tool} import setup\nsetup(name='oops', version='1', py_modules=['oops'])\n"
    (folder / "setup.py").write_text(setup)
    argv = (venvs.python, "-W", "ignore", "setup.py", command)
    assert_refused(venvs.studio.run(*argv, cwd=folder, ok=False))
    assert list(venvs.root.glob("lib/python3*/site-packages/*oops*")) == []


def assert_refused(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode != 0, done.stdout
    for word in ("externally-managed-environment", "rez-pip", "-m venv"):
        assert word in done.stderr
    assert "Traceback" not in done.stderr


def test_pip_does_not_uninstall_from_the_package(venvs):
    # The package is not installed, so a missing refusal does no harm.
    assert_refused(venvs.run(venvs.python, "-m", "pip", "uninstall", "-y", "greeting", ok=False))


def test_pip_refuses_users_without_write_access(venvs):
    """pip would use --user for them."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    other = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    install = ("install", "--no-index", "no-such-name")
    done = subprocess.run(
        [*other, venvs.python, "-m", "pip", *install],
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert_refused(done)


def test_pip_reports_what_it_would_install(venvs, wheel):
    """A dry run installs nothing, so pip allows it."""
    if PYTHON_SERIES < (3, 11):
        pytest.skip("pip before 22.2 has no dry run")
    report = venvs.folder / "report.json"
    options = ("--dry-run", "--ignore-installed", "--no-index", "--report", report)
    venvs.run(venvs.python, "-m", "pip", "install", *options, wheel)
    (found,) = json.loads(report.read_text())["install"]
    assert found["metadata"]["name"] == "greeting"
    assert list(venvs.root.glob("lib/python3*/site-packages/greeting*")) == []


def test_setup_py_installs_below_another_prefix(venvs):
    """Build systems of studios do this; from 3.12 on the payload has no setuptools."""
    if venvs.run(venvs.python, "-c", "import setuptools", ok=False).returncode:
        pytest.skip("there is no setuptools here")
    folder, elsewhere = venvs.folder / "elsewhere", venvs.folder / "prefix"
    folder.mkdir()
    (folder / "there.py").write_text("x = 1\n")
    setup = "from setuptools import setup\nsetup(name='there', version='1', py_modules=['there'])\n"
    (folder / "setup.py").write_text(setup)
    options = ("--single-version-externally-managed", f"--record={folder}/files")
    argv = (venvs.python, "-W", "ignore", "setup.py", "install", f"--prefix={elsewhere}", *options)
    venvs.studio.run(*argv, cwd=folder)
    assert list(elsewhere.glob("lib/python3*/site-packages/there.py"))


def test_pip_target_option_works(venvs, wheel):
    target = venvs.folder / "target"
    venvs.run(venvs.python, "-m", "pip", "install", "--no-index", "--target", target, wheel)
    assert (target / "greeting.py").is_file()


def test_venv_with_system_packages_can_be_installed_into(venvs, wheel):
    venv = venvs.venv("env", "--system-site-packages", "--without-pip")
    venvs.run(venv / "bin/python", "-m", "pip", "install", "--quiet", "--no-index", wheel)
    assert venvs.run(venv / "bin/greet").stdout == "hello\n"
