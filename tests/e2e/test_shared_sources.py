"""Packages that are built from the sources and debug data of another package."""

from __future__ import annotations

import json
import shutil

import pytest

pytestmark = pytest.mark.e2e

# It lists the files of low.
RECIPE = """\
from rezbuild.payload import debug_data as debug


def build(b):
    found = debug.find(b.dependency("low"), b.debug_store)
    b.payload.mkdir(parents=True)
    (b.payload / "ids").write_text(" ".join(found))
"""
FLAGS = '    b.flags(CFLAGS=f"-g -Wl,--build-id -ffile-prefix-map={b.source}=. %s")\n'


@pytest.fixture
def low_more(samples):
    """Return ``low_more``, which is built from the sources and debug data of low."""
    samples.edit("low/sources.toml", "profiled", "debug = true\nprofiled")
    samples.edit("low/recipe.py", "    b.make", FLAGS % "" + "    b.make")
    folder = samples.recipes / "low_more"
    folder.mkdir()
    (folder / "sources.toml").write_text('versions_of = "low"\nrequires = ["low-=={version}"]\n')
    (folder / "recipe.py").write_text(RECIPE)
    package = (samples.recipes / "low/package.py").read_text()
    package = package.replace('"low"', '"low_more"')
    package = package.replace("globals()", "globals(), requires_at_run_time=True")
    (folder / "package.py").write_text(package)
    return folder


def build_ids(studio) -> tuple[str, list[str]]:
    """Return the build ids that low_more and low record."""
    (said,) = studio.local.glob("low_more/1.0.0/*/*/ids")
    (record,) = studio.local.glob("low/1.0.0/*/*/rezbuild.json")
    return said.read_text(), list(json.loads(record.read_text())["build_ids"].values())


def assert_ids_agree(studio) -> str:
    said, there = build_ids(studio)
    assert [said] == there
    return said


def test_package_follows_the_version_of_its_source_package(studio, samples, low_more):
    assert "low_more" not in studio.rezbuild("build", "low").stdout, "it is on request"
    studio.rezbuild("build", "low_more")
    first = assert_ids_agree(studio)
    done = studio.rez("env", "low_more", "--", "printenv", "REZ_LOW_VERSION")
    assert done.stdout.strip() == "1.0.0", "Rez brings the very version along"
    done = studio.rezbuild("build", "low_more")
    assert "(nothing to do, 2 packages installed)" in done.stdout
    samples.edit("low/recipe.py", "=. ", "=. -O1 -DCHANGED")
    studio.rezbuild("build", "low_more")
    assert_ids_agree(studio)
    # A rebuild from the same inputs gives another file, as after a new training.
    salt = "{__import__('time').time_ns()}"
    samples.edit("low/recipe.py", "-DCHANGED", f"-Wl,--build-id=0x0{salt}")
    for _ in range(2):
        studio.rezbuild("build", "low", "--force")
        said = studio.rezbuild("build", "low_more").stdout
        assert "low_more-1.0.0: building, a dependency has changed since" in said
        assert assert_ids_agree(studio) != first


def test_lost_debug_data_stops_the_build(studio, samples, low_more):
    studio.rezbuild("build", "low")
    cache = low_more.parents[1] / "cache/debug"
    shutil.rmtree(cache)
    done = studio.rezbuild("build", "low_more", ok=False)
    assert done.returncode == 7
    advice = "next:  build low-1.0.0 here to keep the data: rezbuild build low-1.0.0 --force"
    assert advice in done.stderr
    studio.rezbuild("build", "low", "--force")
    studio.rezbuild("build", "low_more")
    assert_ids_agree(studio)


def test_sources_of_another_package_are_fetched_once(studio, samples, low_more, tmp_path):
    mirror = tmp_path / "second"
    studio.rezbuild("fetch", "--all", "--to", mirror)
    assert sorted(path.name for path in mirror.iterdir()) == ["low", "top"]
    shutil.rmtree(low_more.parents[1] / "cache")
    studio.rezbuild("fetch", "low_more", REZBUILD_MIRRORS=str(mirror))
    assert sorted(p.name for p in (low_more.parents[1] / "cache/sources").iterdir()) == ["low"]
