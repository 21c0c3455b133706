"""The counts of a training are an input of later builds."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path

import pytest
from sample_packages import Samples
from studio import Studio

pytestmark = pytest.mark.e2e

# Trainings alternately call one of two functions.
TRAINED = {
    "Makefile": "work = $(CC) -O2 $(1) main.c -o made -Wl,-z,now\n"
    "all:\n\ttest -e trained || $(MAKE) train\n\t$(call work,-fprofile-use)\n"
    "train:\n\t$(call work,-fprofile-generate)\n"
    "\t./made $$(test -e $(RUNS) && echo 10000) > /dev/null\n\techo once >> $(RUNS)\n"
    "install:\n\tmkdir -p $(DESTDIR)$(PREFIX)/bin\n\tcp made $(DESTDIR)$(PREFIX)/bin/trained\n",
    "main.c": "#include <stdio.h>\n#include <stdlib.h>\n"
    "__attribute__((noinline)) static int odd(int i) { return i * 3 % 7; }\n"
    "__attribute__((noinline)) static int even(int i) { return i / 5 + 1; }\n"
    "int main(int count, char **words) {\n"
    "  int sum = 0, n = count > 1 ? atoi(words[1]) : 0;\n"
    "  for (int i = 0; i < 10000; i++) sum += i < n ? odd(i) : even(i);\n"
    '  printf("%d\\n", sum);\n  return 0;\n}\n',
}
RECIPE = """\
def build(b):
    options = [f"PREFIX={b.prefix}", "RUNS={runs}"]
    trained = b.optimized and b.stored_profile()
    if trained or not b.optimized:
        (b.source / "trained").touch()
    b.make(*options)
    if b.optimized and not trained:
        b.keep_profile("**/*.gcda")
    b.install(*options, "install")
"""


@pytest.fixture
def runs(samples: Samples, tmp_path: Path) -> Path:
    """Make a package whose trainings each write a line into a file; return the file."""
    samples.add("trained", "1.0.0", TRAINED)
    runs = tmp_path / "runs"
    (samples.recipes / "trained/recipe.py").write_text(RECIPE.replace("{runs}", str(runs)))
    return runs


def _payload(studio: Studio) -> Path:
    return studio.local / "trained/1.0.0/platform-linux/arch-x86_64"


def _record(studio: Studio) -> dict[str, str]:
    record: dict[str, str] = json.loads((_payload(studio) / "rezbuild.json").read_text())
    return record


def _stored_profiles(samples: Samples) -> list[Path]:
    return list(Path(samples.environ["REZBUILD_CACHE"], "profiles").iterdir())


def test_training_runs_once_and_is_stored(
    studio: Studio, samples: Samples, runs: Path, tmp_path: Path
) -> None:
    studio.rezbuild("build", "trained", "--profile", "optimized")
    record, program = _record(studio), (_payload(studio) / "bin/trained").read_bytes()
    (stored,) = _stored_profiles(samples)
    assert stored.name == f"trained-1.0.0-{record['fingerprint']}.tar.gz"
    assert record["training"] == hashlib.sha256(stored.read_bytes()).hexdigest()
    # A release engineer and an auditor build the package again.
    studio.rezbuild("build", "trained", "--profile", "optimized", "--force")
    assert (_payload(studio) / "bin/trained").read_bytes() == program
    done = studio.rezbuild("reproduce", "trained")
    assert f"without a training, by what was counted in {stored}" in done.stdout
    assert re.search(r"trained-1\.0\.0 \(optimized\): \d+ files, identical", done.stdout)
    assert runs.read_text() == "once\n"
    # Another machine has the package and the profile.
    given = stored.replace(tmp_path / "given.tar.gz")
    done = studio.rezbuild("reproduce", "trained", ok=False)
    assert done.returncode == 7
    assert f"tried: {stored}" in done.stderr
    assert "--pgo-profile" in done.stderr
    done = studio.rezbuild("reproduce", "trained", "--pgo-profile", given)
    assert "identical byte for byte" in done.stdout
    assert not _stored_profiles(samples), "nothing is left in the cache"
    # After another training, the file does not belong to this payload.
    studio.rezbuild("build", "trained", "--profile", "optimized", "--force")
    assert runs.read_text() == "once\nonce\n"
    assert (_payload(studio) / "bin/trained").read_bytes() != program
    done = studio.rezbuild("reproduce", "trained", "--pgo-profile", given, ok=False)
    assert done.returncode == 5
    assert "not the PGO profile that trained-1.0.0 was built with" in done.stderr


def test_two_builds_from_one_training_are_equal(
    studio: Studio, samples: Samples, runs: Path, tmp_path: Path
) -> None:
    """Nothing is installed, so the second build uses the stored counts."""
    done = studio.rezbuild("reproduce", "trained", "--profile", "optimized")
    assert done.stdout.count("building (") == 2
    assert "identical byte for byte" in done.stdout
    assert runs.read_text() == "once\n"
    lost = tmp_path / "lost.tar.gz"
    done = studio.rezbuild("reproduce", "trained", "--pgo-profile", lost, ok=False)
    assert done.returncode == 2
    assert f"{lost} does not exist" in done.stderr


def test_fast_build_has_no_profile(
    studio: Studio, samples: Samples, runs: Path, tmp_path: Path
) -> None:
    studio.rezbuild("build", "trained")
    assert "training" not in _record(studio)
    assert not runs.exists()
    done = studio.rezbuild("reproduce", "trained", "--pgo-profile", tmp_path, ok=False)
    assert done.returncode == 2
    assert "trained-1.0.0 was built without a training" in done.stderr


def test_damaged_profile_stops_the_build(studio: Studio, samples: Samples, runs: Path) -> None:
    studio.rezbuild("build", "trained", "--profile", "optimized")
    (stored,) = _stored_profiles(samples)
    stored.write_bytes(stored.read_bytes()[:-9])
    done = studio.rezbuild("build", "trained", "--profile", "optimized", "--force", ok=False)
    assert done.returncode == 6
    assert f"will not unpack {stored}" in done.stderr
    assert "or remove it: the next build collects a new profile" in done.stderr
    assert _payload(studio).is_dir(), "what was installed is there still"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_profile_of_another_user_is_refused(studio: Studio, samples: Samples, runs: Path) -> None:
    studio.rezbuild("build", "trained", "--profile", "optimized")
    (stored,) = _stored_profiles(samples)
    os.chown(stored, 47110, 47110)
    for argv in (("build", "--force", "--profile", "optimized"), ("reproduce",)):
        done = studio.rezbuild(*argv, "trained", ok=False)
        assert done.returncode == 10
        assert f"{stored} belongs to" in done.stderr
