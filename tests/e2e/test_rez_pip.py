"""Packages that each rez-pip makes from PyPI, used before and after a move."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import rez_install
from host_tools import require_tool
from moves import PYTHON, RESOLVER, build_folders, hide, variant
from studio import Studio

pytestmark = pytest.mark.e2e

SERIES = ".".join(PYTHON.split(".")[:2])
# A pure package, one with a compiled extension, and one with scripts.
WANTED = ("requests", "numpy", "black")
USES = {
    "requests": "import requests; print(requests.Session().get_adapter('https://a') is not None)",
    "numpy": "import numpy; print(numpy.linalg.solve([[2.0, 0], [0, 4]], [2, 4]).tolist())",
    "black": "import black; print(black.format_str('x=1', mode=black.Mode()).strip())",
}
SAID = {"requests": "True", "numpy": "[1.0, 1.0]", "black": "x = 1"}


@pytest.fixture(scope="session")
def rez_pip(scratch: Path) -> Path:
    """Install rez-pip from PyPI beside its own Rez, and return its command."""
    rez_install.install(scratch / "rez-pip", "rez-pip")
    return scratch / "rez-pip/bin/rez-pip2"


def built_in(studio: Studio, _: Path, *names: str) -> None:
    for name in names:
        studio.rez("pip", "--install", name, "--python-version", SERIES, **RESOLVER)


def from_pypi(studio: Studio, program: Path, *names: str) -> None:
    studio.run(program, *names, "--python-version", SERIES)


WAYS: dict[str, Callable[..., None]] = {"built in": built_in, "from PyPI": from_pypi}


def studio_of(folder: Path, python: Path) -> Studio:
    """Return a studio with Python in one repository and rez-pip's packages in another."""
    studio = Studio(folder)
    shutil.copytree(python, studio.released, symlinks=True, dirs_exist_ok=True)
    return studio


def use(studio: Studio, *repositories: Path) -> None:
    paths = ":".join(map(str, repositories))
    for name, code in USES.items():
        argv = ("env", "--paths", paths, name, "python", "--", "python3", "-c", code)
        assert studio.rez(*argv, cwd=studio.folder).stdout.splitlines()[-1] == SAID[name]
    script = ("env", "--paths", paths, "black", "python", "--", "black", "--version")
    assert f"Python (CPython) {PYTHON}" in studio.rez(*script, cwd=studio.folder).stdout


@pytest.mark.parametrize("way", WAYS)
def test_package_and_rez_pip_package_are_moved(built, copied, rez_pip, tmp_path, way):
    studio = studio_of(tmp_path / "studio", copied)
    WAYS[way](studio, rez_pip, *WANTED)
    use(studio, studio.local, studio.released)
    moved = [folder.rename(tmp_path / folder.name) for folder in (studio.local, studio.released)]
    with hide(built.local, copied, *build_folders()):
        use(studio, *moved)
    # rez-pip may not write into the package of Python.
    (root,) = (moved[1] / "python").glob("*/platform-*/arch-*")
    studio.rezbuild("audit", root)


OFFSCREEN = """\
from PySide6 import QtCore, QtGui, QtWidgets
from pxr import Usd, UsdGeom
app = QtWidgets.QApplication([])
stage = Usd.Stage.CreateInMemory()
UsdGeom.Sphere.Define(stage, "/ball")
assert stage.GetPrimAtPath("/ball").IsValid()
print(app.platformName(), QtCore.qVersion(), Usd.GetVersion())
"""
# Libraries that Qt needs from a host with a display; its wheels do not contain them.
QT_NEEDS = ("libEGL.so.1", "libGL.so.1", "libxkbcommon.so.0", "libdbus-1.so.3")


@pytest.mark.matrix
def test_usd_and_qt_wheels_import(built, copied, rez_pip, tmp_path):
    require_tool(*QT_NEEDS)
    studio = studio_of(tmp_path / "studio", copied)
    built_in(studio, rez_pip, "PySide6-Essentials", "usd-core")
    request = ("usd_core", "PySide6_Essentials", "python")
    with hide(built.local, copied, *build_folders()):
        done = studio.rez(
            *("env", *request, "--", "python3", "-c", OFFSCREEN), QT_QPA_PLATFORM="offscreen"
        )
    assert done.stdout.splitlines()[-1].startswith("offscreen 6.")


# Qt Designer runs the files register*.py. This one ends it.
PLUGIN = """\
import os, ssl, sys
from PySide6.QtDesigner import QPyDesignerCustomWidgetCollection
maps = open("/proc/self/maps").read().split()
(library,) = {one for one in maps if "/libpython3." in one}
with open(os.environ["SEEN"], "w") as stream:
    print(sys.prefix, library, sep="\\n", file=stream)
os._exit(0)
"""


@pytest.mark.matrix
def test_qt_designer_loads_python_plugins_with_the_payloads_library(
    built, copied, rez_pip, tmp_path
):
    """Run the command of docs/how-to/building.md."""
    require_tool(*QT_NEEDS)
    studio = studio_of(tmp_path / "studio", copied)
    built_in(studio, rez_pip, "PySide6-Essentials")
    (tmp_path / "register_thing.py").write_text(PLUGIN)
    command = 'LD_LIBRARY_PATH="$REZ_PYTHON_ROOT/lib" pyside6-designer'
    studio.rez(
        *("env", "PySide6_Essentials", "python", "--", "sh", "-c", command),
        QT_QPA_PLATFORM="offscreen",
        PYSIDE_DESIGNER_PLUGINS=str(tmp_path),
        SEEN=str(tmp_path / "seen"),
    )
    prefix, library = (tmp_path / "seen").read_text().splitlines()
    assert Path(prefix) == Path(library).parents[1] == variant(studio.released)
