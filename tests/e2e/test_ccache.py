"""REZBUILD_CCACHE runs compilers through ccache and changes nothing else."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from host_tools import needs_tool
from sample_packages import Samples
from studio import Studio

pytestmark = pytest.mark.e2e

# A replacement of ccache that logs its calls by the names of compilers.
STAND_IN = (
    '#!/bin/sh\necho "$(basename "$0") $CCACHE_DIR" >>{log}\nexec /usr/bin/$(basename "$0") "$@"\n'
)

NEEDS_CCACHE = needs_tool("ccache")


def record(studio: Studio) -> dict[str, object]:
    (found,) = studio.local.glob("low/1.0.0/*/*/rezbuild.json")
    return json.loads(found.read_text())


@pytest.fixture
def logging_ccache(tmp_path: Path) -> Path:
    program = tmp_path / "stand in"
    program.write_text(STAND_IN.format(log=tmp_path / "log"))
    program.chmod(0o755)
    return program


def test_ccache_build_gives_the_same_payload(studio, samples, tmp_path, logging_ccache):
    studio.rezbuild("build", "low", REZBUILD_CCACHE=str(logging_ccache))
    cache = samples.environ["REZBUILD_CACHE"]
    assert set((tmp_path / "log").read_text().splitlines()) == {f"gcc {cache}/ccache"}
    with_it = record(studio)
    # ccache is no input of a build.
    assert "nothing to do" in studio.rezbuild("build", "low").stdout
    studio.rezbuild("build", "low", "--force")
    assert record(studio) == with_it


def test_missing_ccache_is_reported(studio, samples):
    done = studio.rezbuild("build", "low", ok=False, REZBUILD_CCACHE="/no/such/ccache")
    assert done.returncode == 10
    assert "the program /no/such/ccache cannot be run" in done.stderr


@NEEDS_CCACHE
def test_ccache_finds_objects_from_another_folder(tmp_path):
    caches = {"REZBUILD_CCACHE": "1", "CCACHE_DIR": str(tmp_path / "cache")}
    for name in ("one", "two"):
        samples, studio = Samples(tmp_path / name), Studio(tmp_path / f"studio {name}")
        studio.env |= samples.environ | caches
        code = (
            '    b.run(b.env["CC"], "-c", f"-ffile-prefix-map={b.source}=.", f"{b.source}/low.c")\n'
        )
        samples.edit("low/recipe.py", "    b.make", code + "    b.make")
        studio.rezbuild("build", "low")
    assert statistics(tmp_path / "cache", "cache_miss", "direct_cache_hit") == [1, 1]


def statistics(cache: Path, *names: str) -> list[int]:
    """Return the counts of ccache."""
    argv = ["ccache", "--print-stats"]
    env = {"PATH": "/usr/bin", "CCACHE_DIR": str(cache)}
    said = subprocess.run(argv, env=env, capture_output=True, text=True, check=True).stdout
    stats = dict(line.split("\t") for line in said.splitlines())
    return [int(stats[name]) for name in names]


# An instrumented object contains the path of its counts.
TRAINED = {
    "Makefile": "all: made\n\tcp made trained\n"
    "made: main.c\n\t$(CC) -O2 $(KIND) -c main.c\n\t$(CC) $(KIND) main.o -o made -Wl,-z,now\n"
    "install:\n\tmkdir -p $(DESTDIR)$(PREFIX)/bin\n\tcp made $(DESTDIR)$(PREFIX)/bin/trained\n",
    "main.c": "int main(int count, char **words) { return count > 9 ? count * 7 : 0; }\n",
}
TRAINED_RECIPE = """\
def build(b):
    if not b.stored_profile():
        b.make("KIND=-fprofile-generate")
        b.run("./trained")
        b.keep_profile("main.gcda")
        b.run("rm", "made", "main.o")
    b.make("KIND=-fprofile-use -Werror=missing-profile")
    b.install(f"PREFIX={b.prefix}", "install")
"""


@NEEDS_CCACHE
def test_ccache_finds_trained_objects_from_another_folder(tmp_path):
    """Instrumented objects contain the build folder; objects that use stored counts do not."""
    samples = Samples(tmp_path / "samples", empty=True)
    samples.add("trained", "1.0.0", TRAINED)
    (samples.recipes / "trained/recipe.py").write_text(TRAINED_RECIPE)
    cache = Path(samples.environ["REZBUILD_CACHE"])

    def build(name: str, **env: str) -> bytes:
        studio = Studio(tmp_path / name)
        shutil.copytree(samples.recipes, tmp_path / name / "recipes")
        studio.env |= {**samples.environ, "REZBUILD_RECIPES": str(tmp_path / name / "recipes")}
        studio.rezbuild("build", "trained", "--profile", "optimized", **env)
        (program,) = studio.local.glob("trained/*/*/*/bin/trained")
        return program.read_bytes()

    program = build("one", REZBUILD_CCACHE="1")
    counted = ("cache_miss", "direct_cache_hit")
    assert statistics(cache / "ccache", *counted) == [2, 0]
    assert build("two", REZBUILD_CCACHE="1") == program
    assert statistics(cache / "ccache", *counted) == [2, 1]
    assert build("three") == program
    # Without stored counts, a new training leaves counts in this build's folder.
    (stored,) = (cache / "profiles").iterdir()
    stored.unlink()
    build("four", REZBUILD_CCACHE="1")
    assert statistics(cache / "ccache", "direct_cache_hit") == [1]
