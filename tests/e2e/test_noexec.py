"""Commands whose folders are mounted with noexec: one line, exit code 10."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from mounts import Mounts, mounts

pytestmark = pytest.mark.e2e


@pytest.fixture
def space() -> Iterator[Mounts]:
    with mounts() as found:
        yield found


def mount(space: Mounts, folder: Path) -> None:
    space.disk(folder)
    space.mount("-o", "remount,noexec", folder)


def test_noexec_tmpdir_is_named_once(studio, samples, space, tmp_path):
    studio.rezbuild("build", "low")
    mount(space, tmp_path / "tmp")
    studio.env["TMPDIR"] = str(tmp_path / "tmp")
    for argv in (
        ("build", "top"),
        ("check", "low", "--moved"),
        ("export", "low", str(tmp_path / "out")),
    ):
        done = space.rezbuild(studio, *argv, ok=False)
        assert done.returncode == 10, done.stderr
        assert (done.stdout + done.stderr).count("mounted with noexec") == 1
        assert f"programs cannot run in {tmp_path / 'tmp'}" in done.stderr
        assert "next:  set TMPDIR to a folder where programs can run" in done.stderr
    done = space.rezbuild(studio, "doctor", ok=False)
    assert done.returncode == 10
    assert f"temporary folder: programs cannot run in {tmp_path / 'tmp'}" in done.stdout


def test_noexec_build_folder_is_named_once(studio, samples, space):
    mount(space, samples.recipes / "top/build")
    for command in (
        lambda: space.rezbuild(studio, "build", "top", ok=False),
        lambda: space.rezbuild(studio, "build", "low", "top", ok=False),
    ):
        done = command()
        assert done.returncode == 10
        assert done.stderr.count("mounted with noexec") == 1


def test_payload_test_names_a_noexec_repository_once(studio, samples, space, tmp_path):
    """``rez-test`` runs on hosts without rezbuild."""
    studio.rezbuild("build", "top")
    disk = tmp_path / "disk"
    mount(space, disk)
    studio.run(*space.command, "cp", "-a", studio.local, disk)
    (script,) = space.outer_path(disk).glob("local/top/*/platform-*/arch-*/rezbuild-test/run.sh")
    inside = Path("/", *script.parts[4:])
    done = studio.run(*space.command, "sh", inside, "long", ok=False)
    assert done.returncode == 1
    assert done.stdout.count("FAILED") == 1
    assert "its file system is mounted with noexec" in done.stdout
