"""``rezbuild cache clean`` beside real builds of small packages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from polling import wait_until

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("way", ["rezbuild", "rez-build"])
def test_running_build_keeps_the_cache(studio, samples, way):
    """``rez-build`` by hand holds the lock, too."""
    cache = Path(samples.environ["REZBUILD_CACHE"])
    studio.rezbuild("build", "low")  # also the packages that Rez needs for each build
    begun, end = studio.folder / "begun", studio.folder / "end"
    wait = f"touch {begun}; while ! test -e {end}; do sleep 0.1; done"
    samples.edit(
        "low/recipe.py", "    b.install", f"    b.run('sh', '-c', '{wait}')\n    b.install"
    )
    rez_build = (sys.executable, "-c", "from rez.cli._main import run; run('build')", "-i")
    argv = (sys.executable, "-m", "rezbuild", "build", "low") if way == "rezbuild" else rez_build
    with subprocess.Popen(argv, env=studio.env, cwd=samples.recipes / "low") as build:
        try:
            wait_until(begun.exists)
            source = next(cache.glob("sources/low/*.tar.gz"))
            done = studio.rezbuild("cache", "clean", "sources", ok=False)
        finally:
            end.touch()
        assert build.wait() == 0
    assert done.returncode == 10
    assert f"the cache {cache} is in use by process" in done.stderr
    assert source.exists()
    studio.rezbuild("cache", "clean", "sources")
    assert not source.exists()
