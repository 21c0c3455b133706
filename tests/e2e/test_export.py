"""``rezbuild export`` builds the payload that Rez installs, without Rez."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

# Rez's own files in a variant.
OF_REZ = {"build.rxt", "variant.json"}


def tree(root: Path) -> dict[str, object]:
    """Return bytes and modes of files below a folder, and targets of links."""
    found: dict[str, object] = {}
    for path in root.rglob("*"):
        place = path.relative_to(root).as_posix()
        if path.is_symlink():
            found[place] = os.readlink(path)
        elif path.is_file():
            found[place] = (stat.S_IMODE(path.stat().st_mode), path.read_bytes())
    return found


def test_export_equals_the_installed_payload(studio, samples, tmp_path):
    folder = tmp_path / "a folder/top"
    out = studio.rezbuild("export", "top", folder, "--work", tmp_path / "work").stdout
    assert f"ready: {folder} is the payload of top-2.0.0" in out
    # No repository was changed.
    assert not studio.local.exists()
    studio.rezbuild("build", "top")
    (installed,) = (studio.local / "top/2.0.0").glob("platform-*/arch-*")
    by_rez = tree(installed)
    assert by_rez.keys() >= OF_REZ
    assert tree(folder) == {name: v for name, v in by_rez.items() if name not in OF_REZ}
    said = subprocess.run([folder / "bin/top"], capture_output=True, text=True, check=True)
    assert said.stdout == "42\n"
    studio.rezbuild("audit", folder)


@pytest.mark.parametrize("name", ["bzip2", pytest.param("python", marks=pytest.mark.matrix)])
def test_export_of_a_real_package_equals_the_installed_one(built, tmp_path, name):
    """The builds are in different folders; all bytes except Rez's own files are equal."""
    built.rezbuild("export", name, tmp_path / name, "--work", tmp_path / "work")
    (installed,) = (built.local / name).glob("*/platform-*/arch-*")
    by_rez = {place: v for place, v in tree(installed).items() if place not in OF_REZ}
    staged = tree(tmp_path / name)
    assert staged.keys() == by_rez.keys()
    assert [place for place, what in staged.items() if what != by_rez[place]] == []


def test_export_reuses_a_finished_build(studio, samples, tmp_path):
    work = ("--work", tmp_path / "work")
    studio.rezbuild("export", "top", tmp_path / "one", *work)
    out = studio.rezbuild("export", "top", tmp_path / "two", *work).stdout
    assert "low 1.0.0: already built from the same inputs" in out
    assert "top 2.0.0: already built from the same inputs" in out
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_export_replaces_older_payloads_only(studio, samples, tmp_path):
    folder, work = tmp_path / "top", ("--work", tmp_path / "work")
    studio.rezbuild("export", "top", folder, *work)
    (folder / "only-in-the-old-one").touch()
    studio.rezbuild("export", "top", folder, *work)
    assert not (folder / "only-in-the-old-one").exists()
    before = tree(folder)
    samples.edit("top/recipe.py", "    b.install", "    b.run('false')\n#")
    assert studio.rezbuild("export", "top", folder, *work, ok=False).returncode == 7
    assert tree(folder) == before
    done = studio.rezbuild("export", "low", folder, *work, ok=False)
    assert done.returncode == 2
    assert "is not empty, and holds no payload of low" in done.stderr
    (tmp_path / "file").touch()
    done = studio.rezbuild("export", "low", tmp_path / "file", *work, ok=False)
    assert done.returncode == 2
    assert tree(folder) == before


def test_export_imports_no_rez():
    code = (
        "import sys\n"
        "class Refused:\n"
        "    def find_spec(self, name, *_):\n"
        "        assert name.partition('.')[0] not in ('rez', 'rezplugins'), name\n"
        "sys.meta_path.insert(0, Refused())\n"
        "import rezbuild.build.pipeline, rezbuild.build.recipe_api\n"
        "import rezbuild.payload.relocate, rezbuild.verify.check\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
