"""REZBUILD_CCACHE: compilers through ccache, and nothing else changed."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from studio import Studio
from toys import Toys

pytestmark = pytest.mark.e2e

# Stands for ccache where it is called by a compiler's name; it notes what it is asked for.
STAND_IN = (
    '#!/bin/sh\necho "$(basename "$0") $CCACHE_DIR" >>{log}\nexec /usr/bin/$(basename "$0") "$@"\n'
)


def record(studio: Studio) -> dict[str, object]:
    (found,) = studio.local.glob("low/1.0.0/*/*/rezbuild.json")
    return json.loads(found.read_text())


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    program = tmp_path / "stand in"
    program.write_text(STAND_IN.format(log=tmp_path / "log"))
    program.chmod(0o755)
    return program


def test_compilers_run_through_it_and_the_payload_is_the_same(studio, toys, tmp_path, stand_in):
    studio.rezbuild("build", "low", REZBUILD_CCACHE=str(stand_in))
    cache = toys.environ["REZBUILD_CACHE"]
    assert set((tmp_path / "log").read_text().splitlines()) == {f"gcc {cache}/ccache"}
    with_it = record(studio)
    # Equal inputs: with or without makes no difference.
    assert "nothing to do" in studio.rezbuild("build", "low").stdout
    studio.rezbuild("build", "low", "--force")
    assert record(studio) == with_it


def test_a_trained_build_goes_without(studio, toys, tmp_path, stand_in):
    studio.rezbuild("build", "low", "--profile", "optimized", REZBUILD_CCACHE=str(stand_in))
    assert not (tmp_path / "log").exists()


def test_one_that_is_not_there(studio, toys):
    done = studio.rezbuild("build", "low", ok=False, REZBUILD_CCACHE="/no/such/ccache")
    assert done.returncode == 10
    assert "REZBUILD_CCACHE names /no/such/ccache" in done.stderr


@pytest.mark.skipif(not shutil.which("ccache", path="/usr/bin"), reason="there is no ccache")
def test_another_folder_finds_what_one_has_compiled(tmp_path):
    caches = {"REZBUILD_CCACHE": "1", "CCACHE_DIR": str(tmp_path / "cache")}
    for name in ("one", "two"):
        toys, studio = Toys(tmp_path / name), Studio(tmp_path / f"studio {name}")
        studio.env |= toys.environ | caches
        code = (
            '    b.run(b.env["CC"], "-c", f"-ffile-prefix-map={b.source}=.", f"{b.source}/low.c")\n'
        )
        toys.edit("low/recipe.py", "    b.make", code + "    b.make")
        studio.rezbuild("build", "low")
    argv = ["ccache", "--print-stats"]
    said = subprocess.run(
        argv, env={"PATH": "/usr/bin", **caches}, capture_output=True, text=True, check=True
    ).stdout
    stats = dict(line.split("\t") for line in said.splitlines())
    assert (stats["cache_miss"], stats["direct_cache_hit"]) == ("1", "1")
