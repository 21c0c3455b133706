"""``rezbuild lock``, and commands with ``--locked``, with builds of a second."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import json_page
import pytest
from moves import PYTHON, REQUEST
from sample_packages import LOW
from studio import ROOT
from terminal import Terminal, at_terminal
from trees import tree

pytestmark = pytest.mark.e2e


@pytest.fixture
def lock(studio, samples, tmp_path) -> Path:
    """Lock top 2.0.0 and low 1.0.0; then low 1.0.1 appears."""
    path = tmp_path / "rezbuild.lock"
    said = studio.rezbuild("lock", "top", "-o", path).stdout
    assert f"{path}: 2 packages, for glibc 2." in said
    samples.add("low", "1.0.1", LOW)
    return path


def test_locked_build_ignores_newer_versions(studio, samples, lock, tmp_path):
    before = lock.read_bytes()
    out = studio.rezbuild("build", "--locked", lock, "--strict").stdout
    assert "ready: rez-env top==2.0.0" in out
    assert "wanted" not in out
    assert [path.name for path in (studio.local / "low").glob("[0-9]*")] == ["1.0.0"]
    assert studio.in_env(studio.local, "top", "top").stdout == "42\n"
    # The default name of the file is in the current folder. An installed package is not built.
    again = studio.run(sys.executable, "-m", "rezbuild", "build", "--locked", cwd=tmp_path)
    assert "building" not in again.stdout
    assert "low-1.0.1" in studio.rezbuild("build", "top").stdout
    assert lock.read_bytes() == before


def test_locked_build_of_a_changed_recipe_is_refused(studio, samples, lock):
    samples.edit("low/recipe.py", "def build", "# changed\ndef build")
    for command in ("plan", "build", "fetch"):
        done = studio.rezbuild(command, "--locked", lock, ok=False)
        assert (done.returncode, done.stdout) == (16, "")
        assert "  tried: the recipe or rezbuild has changed since: low-1.0.0\n" in done.stderr
        assert "rezbuild lock top --glibc 2." in done.stderr
    studio.rezbuild("lock", "top-2.0.0", "-o", lock)
    assert "low-1.0.1: installed" in studio.rezbuild("build", "--locked", lock).stdout


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('requests = ["top"]', 'requests = ["top", "zlib"]', "requests: no recipe for zlib"),
        ("glibc = ", 'glibc = "" #', "glibc is not a version"),
    ],
)
def test_file_that_was_edited_by_hand_is_refused(studio, samples, lock, old, new, said):
    lock.write_text(lock.read_text("utf-8").replace(old, new), encoding="utf-8")
    for command in ("plan", "build", "fetch"):
        done = studio.rezbuild(command, "--locked", lock, ok=False)
        assert (done.returncode, done.stdout) == (16, "")
        assert str(lock) in done.stderr
        assert said in done.stderr
        assert "next:  restore it from version control" in done.stderr


def test_locked_build_without_a_source_builds_nothing(studio, samples, lock):
    (samples.mirror / "low-1.0.0.tar.gz").unlink()
    shutil.rmtree(Path(samples.environ["REZBUILD_CACHE"]) / "sources")
    for command in ("plan", "build"):
        done = studio.rezbuild(command, "--locked", lock, ok=False)
        assert (done.returncode, "building" in done.stdout) == (4, False)
        assert "no version of low in 'low-1' can be fetched here\n  tried: 1.0.0: " in done.stderr
    assert not (studio.local / "top").exists()


def test_locked_build_checks_all_packages_before_the_first_build(studio, samples, lock):
    """Both packages are installed, and must be built again; one of them has no source."""
    studio.rezbuild("build", "--locked", lock)
    (samples.mirror / "top-2.0.0.tar.gz").unlink()
    shutil.rmtree(Path(samples.environ["REZBUILD_CACHE"]) / "sources")
    done = studio.rezbuild("build", "--locked", lock, "--profile", "optimized", ok=False)
    assert (done.returncode, "building" in done.stdout) == (4, False)
    assert "the source archive of top 2.0.0 could not be downloaded" in done.stderr


def test_locked_sources_fill_a_mirror_for_another_machine(studio, samples, lock, tmp_path):
    studio.rezbuild("fetch", "--locked", lock, "--to", tmp_path / "carried")
    found = {path.name for path in (tmp_path / "carried").rglob("*.gz")}
    assert found == {"low-1.0.0.tar.gz", "top-2.0.0.tar.gz"}
    away = {"REZBUILD_CACHE": str(tmp_path / "away"), "REZBUILD_MIRRORS": str(tmp_path / "carried")}
    assert "ready:" in studio.rezbuild("build", "--locked", lock, **away).stdout


def test_locked_build_of_the_whole_chain_has_nothing_to_do(built, tmp_path):
    """Its own lock file fits the chain; a changed recipe does not fit, and nothing is built."""
    recipes, path = tmp_path / "packages", tmp_path / "chain.lock"
    shutil.copytree(ROOT / "packages", recipes, ignore=shutil.ignore_patterns("build"))
    words = ("--recipes", recipes, "-q")
    built.rezbuild("lock", REQUEST, "-o", path, *words)
    before = tree(built.local)
    argv = (sys.executable, "-m", "rezbuild", "build", "--locked", path, "--recipes", recipes)
    env = at_terminal(built.env)
    with Terminal(list(map(str, argv)), env, 100) as terminal:
        terminal.until(lambda lines: lines[-1].startswith("ready: "), "ready")
        (line,) = terminal.lines()
    line, _, note = line.partition(" (")
    assert f"python=={PYTHON}" in line.split()
    assert re.fullmatch(r"nothing to do, \d+ packages installed\)", note)
    planned = built.rezbuild("plan", "--locked", path, "--json", "--recipes", recipes).stdout
    jobs = json_page.read(planned)["jobs"]
    assert len(jobs) == path.read_text("utf-8").count("[[package]]") > 15
    assert all(job["built"] for job in jobs)

    with (recipes / "zlib/recipe.py").open("a") as file:
        file.write("# changed\n")
    done = built.rezbuild("build", "--locked", path, "--recipes", recipes, ok=False)
    assert (done.returncode, done.stdout) == (16, "")
    assert "tried: the recipe or rezbuild has changed since: zlib-" in done.stderr
    assert tree(built.local) == before


def test_strict_lock_refuses_another_version(studio, samples, lock):
    before = lock.read_bytes()
    (samples.mirror / "low-1.0.1.tar.gz").unlink()
    done = studio.rezbuild("lock", "top", "-o", lock, "--strict", ok=False)
    assert done.returncode == 4
    assert lock.read_bytes() == before
    said = studio.rezbuild("lock", "top", "-o", lock, "-q").stdout
    assert said.splitlines()[-1] == "low 1.0.1 was wanted, 1.0.0 taken"


@pytest.mark.parametrize(
    "argv", [("build", "top"), ("plan", "--matrix", "x"), ("fetch", "top"), ("fetch", "--all")]
)
def test_other_choices_beside_a_lock_file_are_refused(studio, samples, lock, argv):
    done = studio.rezbuild(*argv, "--locked", lock, ok=False)
    assert (done.returncode, done.stdout) == (2, "")
