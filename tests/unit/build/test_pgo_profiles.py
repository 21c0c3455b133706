"""Counts of gcc from a training of a small program: stored, restored and used."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from rezbuild.build import pgo_profiles
from rezbuild.errors import BuildError, ChecksumError, UnpackError
from rezbuild.files.hashing import sha256
from rezbuild.payload import manifest

GCC = shutil.which("gcc") or ""
pytestmark = pytest.mark.skipif(not GCC, reason="the counts of gcc are files beside its objects")

# gcc optimizes uncalled functions for size, and puts them into another section.
SOURCE = """\
#include <stdio.h>
#include <stdlib.h>
__attribute__((noinline)) static int one(int i) { return i * 3 % 7 + i / 11; }
__attribute__((noinline)) static int other(int i) { return i / 5 + 1; }
int main(int count, char **words)
{
    int sum = 0, until = count > 1 ? atoi(words[1]) : 0;
    for (int i = 0; i < 5000; i++)
        sum += i < until ? one(i) : other(i);
    printf("%d\\n", sum);
    return 0;
}
"""


class ProgramFolder:
    """A folder in which the program is built."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "objects").mkdir(parents=True)
        (path / "main.c").write_text(SOURCE)

    def compile(self, option: str) -> Path:
        options = ("-O2", option, f"-ffile-prefix-map={self.path}=.", "-Werror=missing-profile")
        subprocess.run(
            [GCC, *options, "-c", "main.c", "-o", "objects/main.o"], cwd=self.path, check=True
        )
        program = self.path / "program"
        subprocess.run(
            [GCC, option, "objects/main.o", "-Wl,--build-id=sha1", "-o", program],
            cwd=self.path,
            check=True,
        )
        return program

    def train(self, work: int) -> None:
        program = self.compile("-fprofile-generate")
        subprocess.run([program, str(work)], check=True, capture_output=True)

    def keep(self, store: Path) -> str:
        return pgo_profiles.keep(self.path, ["**/*.gcda"], store)


@pytest.fixture
def first(tmp_path: Path) -> ProgramFolder:
    folder = ProgramFolder(tmp_path / "first")
    folder.train(0)
    return folder


def test_same_counts_give_the_same_build(first: ProgramFolder, tmp_path: Path) -> None:
    store = pgo_profiles.stored_path(tmp_path / "cache", "thing", "1.0", "abc")
    made = first.keep(store)
    assert store == tmp_path / "cache/profiles/thing-1.0-abc.tar.gz"
    assert [path.name for path in store.parent.iterdir()] == [store.name], "nothing half made"
    trained = first.compile("-fprofile-use").read_bytes()
    for name in ("second", "in/another place"):
        folder = ProgramFolder(tmp_path / name)
        assert pgo_profiles.restore(store, folder.path) == made
        assert folder.compile("-fprofile-use").read_bytes() == trained
        assert {path.name for path in folder.path.parent.glob(".*")} == set()
    # Counts of other work give another program, so the counts have an effect.
    other = ProgramFolder(tmp_path / "other")
    other.train(5000)
    assert other.keep(tmp_path / "other.tar.gz") != made
    assert other.compile("-fprofile-use").read_bytes() != trained


def test_equal_counts_give_an_equal_archive(first: ProgramFolder, tmp_path: Path) -> None:
    """Time, folder and user do not matter, because the checksum identifies the archive."""
    made = first.keep(tmp_path / "one.tar.gz")
    again = ProgramFolder(tmp_path / "elsewhere/again")
    pgo_profiles.restore(tmp_path / "one.tar.gz", again.path)
    for path in again.path.rglob("*.gcda"):
        path.chmod(0o600)
    assert again.keep(tmp_path / "two.tar.gz") == made
    assert (tmp_path / "one.tar.gz").stat().st_mode & 0o777 == 0o644


def test_stored_counts_are_never_replaced(first: ProgramFolder, tmp_path: Path) -> None:
    """A payload records the checksum, so a parallel training must build again."""
    store = tmp_path / "kept/counts.tar.gz"
    made = first.keep(store)
    assert first.keep(store) == made
    other = ProgramFolder(tmp_path / "other")
    other.train(5000)
    with pytest.raises(BuildError, match="has stored another PGO profile meanwhile") as late:
        other.keep(store)
    assert "build again" in str(late.value)
    assert sha256(store) == made
    assert [path.name for path in store.parent.iterdir()] == [store.name]


def test_training_without_counts_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"written none of \*\*/\*\.gcda, \*\.profdata in"):
        pgo_profiles.keep(tmp_path, ["**/*.gcda", "*.profdata"], tmp_path / "kept.tar.gz")
    assert not list(tmp_path.iterdir())


def test_damaged_archive_is_refused(first: ProgramFolder, tmp_path: Path) -> None:
    store = tmp_path / "kept.tar.gz"
    first.keep(store)
    store.write_bytes(store.read_bytes()[:-20])
    second = ProgramFolder(tmp_path / "second")
    with pytest.raises(UnpackError, match="damaged or cut off"):
        pgo_profiles.restore(store, second.path)
    assert not list(second.path.rglob("*.gcda"))


def test_profile_must_match_the_record(first: ProgramFolder, tmp_path: Path) -> None:
    store = tmp_path / "kept.tar.gz"
    made = first.keep(store)
    pgo_profiles.check(store, made, "thing-1.0")
    with pytest.raises(ChecksumError, match=r"not the PGO profile that thing-1\.0 was") as bad:
        pgo_profiles.check(store, "0" * 64, "thing-1.0")
    assert made in str(bad.value)
    with pytest.raises(BuildError, match="is missing") as missing:
        pgo_profiles.check(tmp_path / "none.tar.gz", made, "thing-1.0")
    assert "--pgo-profile" in str(missing.value)


def test_change_of_the_storage_changes_the_revision() -> None:
    assert "build/*.py" in manifest._SHAPING
