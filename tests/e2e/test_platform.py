"""Years of the VFX Reference Platform, with small packages instead of Python."""

from __future__ import annotations

import re
import subprocess

import pytest
from host_tools import require_newer_glibc
from sample_packages import TOP
from studio import ROOT

from rezbuild.util.glibc_version import host_glibc

pytestmark = pytest.mark.e2e

YEARS = (
    '[versions."2025"]\nrequires = ["~top-2"]\nglibc = "2.28"\n'
    '[versions."2026"]\nrequires = ["~top-3"]\nglibc = "2.99"\n'
    '[versions."2027"]\nrequires = ["~top-3"]\nglibc = "2.4"\ndraft = true\n'
)


@pytest.fixture
def years(samples):
    """Make a package ``years`` with the package.py of vfxplatform."""
    samples.add("top", "3.1.0", TOP, requires='"low-1"')
    samples.add("top", "2.0.0", TOP, requires='"low-1"')
    folder = samples.recipes / "years"
    folder.mkdir()
    text = (ROOT / "packages/vfxplatform/package.py").read_text()
    (folder / "package.py").write_text(re.sub(r'"vfxplatform"|"[0-9a-f-]{36}"', '"years"', text))
    (folder / "platform.toml").write_text(YEARS)
    return folder


def resolve(studio, *request: str) -> str:
    code = "import os; print(os.environ['REZ_USED_RESOLVE'])"
    argv = ("env", *request, "--", "python3", "-c", code)
    return studio.rez(*argv, cwd=studio.folder).stdout.strip()


def test_year_builds_its_packages(studio, years):
    for year in ("2025", "2026"):
        out = studio.rezbuild("build", f"years-{year}").stdout
        assert f"ready: rez-env years=={year} top==" in out
    assert "top-2.0.0" in resolve(studio, "years-2025", "top")
    assert "top-3.1.0" in resolve(studio, "years-2026", "top")
    # A weak request adds no package, and allows no other version.
    assert "top" not in resolve(studio, "years-2026")
    assert studio.rez("env", "years-2026", "top-2", "--", "true", ok=False).returncode != 0
    out = studio.rezbuild("build", "years-2026").stdout
    assert "(nothing to do, " in out
    assert "building" not in out


def test_matrix_builds_years(studio, years, tmp_path):
    file = tmp_path / "years.toml"
    file.write_text(
        '[sets.old]\nrequests = ["years-2025"]\nrepository = "old"\n'
        '[sets.new]\nrequests = ["years-2026"]\nrepository = "new"\n'
    )
    out = studio.rezbuild("build", "--matrix", file).stdout
    for name, year, top in (("old", "2025", "2.0.0"), ("new", "2026", "3.1.0")):
        place = tmp_path / name
        assert f"ready: rez-env --paths {place} years=={year} top=={top}" in out
        argv = ("env", "--paths", place, "years", "top", "--", "top")
        assert studio.rez(*argv, cwd=studio.folder).stdout == "42\n"
    assert not list(studio.local.glob("*"))
    out = studio.rezbuild("build", "--matrix", file).stdout
    assert out.count("(nothing to do, ") == 2


def test_draft_year_is_built_by_name_only(studio, years):
    assert "rez-env years==2026" in studio.rezbuild("build", "years").stdout
    assert "rez-env years==2027" in studio.rezbuild("build", "years-2027").stdout
    done = studio.rezbuild("build", "years-1999", ok=False)
    assert done.returncode == 3
    assert "years has no version 1999" in done.stderr


def test_versions_and_fetch_know_years(studio, years, tmp_path):
    out = studio.rezbuild("versions", "years").stdout
    assert "years-2025: top-2; glibc up to 2.28" in out
    assert "years-2027 (draft): top-3; glibc up to 2.4" in out
    assert "years-2026: " in studio.rezbuild("versions").stdout
    studio.rezbuild("fetch", "years-2026", "--to", tmp_path / "to")
    assert [path.name for path in tmp_path.glob("to/top/*")] == ["top-3.1.0.tar.gz"]


def test_changed_year_is_installed_again(studio, years):
    studio.rezbuild("build", "years-2025")
    (years / "platform.toml").write_text(YEARS.replace("~top-2", "~top-3"))
    studio.rezbuild("build", "years-2025")
    assert "top-3.1.0" in resolve(studio, "years-2025", "top")


def test_year_sets_the_glibc_limit_on_request(studio, samples, years):
    """Programs of this machine need a newer glibc than the draft allows."""
    studio.rezbuild("build", "years-2027")
    done = studio.rezbuild("build", "years-2027", "--glibc-max", "CY2027", "--force", ok=False)
    assert done.returncode == 9
    assert "2.4" in done.stderr
    studio.rezbuild("build", "years-2026", "--glibc-max", "cy2026")
    done = studio.rezbuild("audit", "top-3", "--glibc-max", "CY2027", ok=False)
    assert done.returncode == 9
    done = studio.rezbuild("audit", "top-3", "--glibc-max", "CY1999", ok=False)
    assert done.returncode == 2
    assert "name one of CY2025, CY2026, CY2027" in done.stderr


def test_release_of_a_year_is_for_its_glibc(studio, years):
    """A plan says so; with ``--glibc`` or without ``--release`` it does not."""
    require_newer_glibc("2.28")
    asked = ("plan", "years-2025", "--release")
    out = studio.rezbuild(*asked)
    assert (
        "years-2025: built for glibc 2.28, the newest that the year allows"
        in out.stdout + out.stderr
    )
    assert "built for glibc 2.28 (" in out.stdout
    file = studio.folder / "years.toml"
    file.write_text(f'[sets.old]\nrequests = ["years-2025"]\nrepository = "{studio.released}"\n')
    out = studio.rezbuild("plan", "--matrix", file, "--release").stdout
    assert "years-2025: built for glibc 2.28, the newest that the year allows" in out
    out = studio.rezbuild(*asked, "--glibc", host_glibc())
    assert "built for glibc" not in out.stdout + out.stderr
    # The year allows a newer glibc than the host has.
    out = studio.rezbuild("plan", "years-2026", "--release")
    assert "built for glibc" not in out.stdout + out.stderr
    out = studio.rezbuild("plan", "years-2025")
    assert "built for glibc" not in out.stdout + out.stderr


def test_rez_build_installs_a_year(studio, years):
    for command in ("platform", "arch"):
        studio.rez("bind", command)
    studio.rez("build", "-i", cwd=years, REZBUILD_YEARS_VERSION="2025")
    studio.rez("build", "-i", cwd=years)
    assert sorted(path.name for path in (studio.local / "years").iterdir()) == ["2025", "2026"]
    done = studio.rez("build", "-i", cwd=years, ok=False, REZBUILD_YEARS_VERSION="1999")
    assert "years has no version 1999" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_make_python_builds_a_year():
    said = subprocess.run(
        ["make", "-n", "python", "CY=2026"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert "rezbuild build 'vfxplatform-2026'" in said
