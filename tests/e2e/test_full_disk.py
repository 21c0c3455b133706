"""Full and read-only disks: a clear error, and no loss."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from mounts import Mounts, mounts
from sample_packages import LOW, RECIPE, Samples
from studio import Studio
from trees import tree

pytestmark = pytest.mark.e2e

# The package also has a file of 300 kB, so that each step needs space.
FILES = {
    **LOW,
    "data": random.Random(1).randbytes(150_000).hex(),
    "Makefile": LOW["Makefile"] + "\tcp data $(DESTDIR)$(PREFIX)/lib/data.txt\n",
}
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


@dataclass
class PackageOnDisks:
    """An installed package that is built again; each folder is on its own disk."""

    studio: Studio
    samples: Samples
    mounts: Mounts
    places: dict[str, Path]
    number: int = 0

    def change(self) -> None:
        """Change the recipe, so that every step from fetch to installation runs again."""
        self.number += 1
        (self.samples.recipes / "low/recipe.py").write_text(f"{RECIPE}# {self.number}\n")
        for place, pattern in (("cache", "sources/low/*"), ("build", "*")):
            for path in self.mounts.outer_path(self.places[place]).glob(pattern):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def installed_files(self) -> dict[str, str]:
        return tree(self.mounts.outer_path(self.places["repository"]) / "low")

    def error_of_build(self, place: str, codes: set[int], before: tuple[str, ...] = ()) -> str:
        """Run once, and return the error."""
        had = self.installed_files()
        done = self.mounts.rezbuild(self.studio, "build", "low", ok=False, before=before)
        assert done.returncode in codes, done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        assert "\n  next:  " in done.stderr
        assert str(self.places[place]) in done.stderr
        assert self.installed_files() == had
        return done.stderr

    def assert_rebuilt(self) -> None:
        had = self.installed_files()
        self.mounts.rezbuild(self.studio, "build", "low")
        assert self.installed_files().keys() == had.keys()
        assert self.installed_files() != had


@pytest.fixture
def disks(studio: Studio, samples: Samples, tmp_path: Path) -> Iterator[PackageOnDisks]:
    with package_on_disks(studio, samples, tmp_path / "tmp") as found:
        yield found


@contextlib.contextmanager
def package_on_disks(studio: Studio, samples: Samples, temporary: Path) -> Iterator[PackageOnDisks]:
    """Install a package; its repository, build folder and cache are on separate disks."""
    samples.add("low", "1.0.0", FILES)
    places = {
        "cache": Path(samples.environ["REZBUILD_CACHE"]),
        "build": samples.recipes / "low/build",
        "repository": studio.local,
        "TMPDIR": temporary,
    }
    # Everyone can write to the disks, because one test runs as another user.
    studio.env |= {"TMPDIR": str(temporary), "REZBUILD_TRUST_CACHE": "1"}
    with mounts() as space:
        for place in places.values():
            space.disk(place)
        space.rezbuild(studio, "build", "low")
        yield PackageOnDisks(studio, samples, space, places)


def assert_named_when_full(disks: PackageOnDisks, place: str, room: int) -> None:
    """Run once with some kilobytes of free space."""
    disks.change()
    disks.mounts.fill(disks.places[place], room)
    said = disks.error_of_build(place, {6, 7, 8, 10, 11})
    assert "No space left on device" in said or f"free space in {disks.places[place]}" in said
    disks.mounts.empty(disks.places[place])


def test_full_or_read_only_disk_is_named(disks):
    for place, room in (("cache", 8), ("build", 400), ("repository", 40), ("TMPDIR", 8)):
        assert_named_when_full(disks, place, room)
    for place in ("cache", "build", "repository"):
        disks.change()
        disks.mounts.writable(disks.places[place], to=False)
        assert "Read-only file system" in disks.error_of_build(place, {10})
        disks.mounts.writable(disks.places[place], to=True)
    disks.assert_rebuilt()


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("place", "rooms"),
    [
        ("cache", [0, 4, 100, 160]),
        ("build", [0, 4, 8, 40, 200, 300, 350, 450, 500]),
        ("repository", [0, 4, 40, 200, 280]),
        ("TMPDIR", [4, 8, 12]),
    ],
)
def test_full_disk_at_any_step_keeps_the_package(disks, place, rooms):
    for room in rooms:
        assert_named_when_full(disks, place, room)
        disks.assert_rebuilt()


@pytest.mark.matrix
def test_folder_without_permission_is_named(scratch):
    """The user is not root. Python ignores a TMPDIR that is not writable."""
    if os.getuid() != 0:
        pytest.skip("root alone can become another user")
    studio, samples = Studio(scratch / "permission"), Samples(scratch / "permission-samples")
    studio.env |= samples.environ
    with package_on_disks(studio, samples, scratch / "permission-tmp") as disks:
        for place in ("cache", "build", "repository"):
            disks.change()
            folder = disks.mounts.outer_path(disks.places[place])
            set_modes(folder, 0o755)
            assert "Permission denied" in disks.error_of_build(place, {10, 11}, before=NOBODY)
            set_modes(folder, 0o777)


def set_modes(folder: Path, mode: int) -> None:
    """Set the mode of all folders."""
    for path in (folder, *folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(mode)
