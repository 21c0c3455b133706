"""Builds through Rez in folders whose names a shell or make would misread."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from sample_packages import Samples
from studio import Studio

pytestmark = pytest.mark.e2e

# All characters in one name, except the colon, which separates Rez's paths.
WORKS = 'it\'s "a" b;touch ran&|touch ran\\#\nß'
# The shell of Rez expands these also in double quotes.
REFUSED = ["$(touch ran)", "`touch ran`", "a $HOME"]


def _studio(folder: Path) -> Studio:
    folder.mkdir()
    studio = Studio(folder / "studio")
    samples = Samples(folder / "samples")
    studio.env |= samples.environ | {"REZBUILD_MIRRORS": shlex.quote(str(samples.mirror))}
    return studio


def test_folder_with_special_characters_builds(tmp_path: Path) -> None:
    studio = _studio(tmp_path / WORKS)
    studio.rezbuild("build", "top")
    top = studio.local / "top/2.0.0/platform-linux/arch-x86_64/bin/top"
    assert studio.run(top).stdout == "42\n"
    assert studio.in_env(studio.local, "top", "top").stdout == "42\n"
    assert not [*tmp_path.rglob("ran"), *Path.cwd().glob("ran")]


@pytest.mark.parametrize("name", REFUSED)
def test_folder_that_the_shell_of_rez_would_run_is_refused(tmp_path: Path, name: str) -> None:
    studio = _studio(tmp_path / name)
    done = studio.rezbuild("build", "low", ok=False)
    assert done.returncode == 2
    assert "Rez cannot work in" in done.stderr
    assert not [*tmp_path.rglob("ran"), *Path.cwd().glob("ran")]
    # `rezbuild export` works there, because it uses neither Rez nor a shell.
    there = tmp_path / name / "low"
    studio.rezbuild("export", "low", there)
    assert (there / "lib/liblow.so.1").is_file()
