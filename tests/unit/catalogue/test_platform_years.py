"""Packages of requests only: valid files, and the default version."""

from __future__ import annotations

from pathlib import Path

import pytest

from rezbuild.catalogue import platform_years
from rezbuild.errors import CatalogueError

ROOT = Path(__file__).parents[3] / "packages"
GOOD = '[versions."2025"]\nrequires = ["~python-3.11"]\nglibc = "2.28"\n'


def write(folder: Path, text: str) -> Path:
    (folder / "years").mkdir(exist_ok=True)
    (folder / "years/platform.toml").write_text(text)
    return folder / "years"


def test_years_match_the_vfx_reference_platform():
    years = {p.version: p for p in platform_years.find(ROOT)["vfxplatform"]}
    named = {version: year.requires for version, year in years.items()}
    assert named == {
        "2022": ("~python-3.9",),
        "2023": ("~python-3.10",),
        "2024": ("~python-3.11",),
        "2025": ("~python-3.11",),
        "2026": ("~python-3.13",),
        "2027": ("~python-3.13",),
    }
    assert [version for version, year in years.items() if year.draft] == ["2027"]
    assert {version: year.glibc for version, year in years.items()} == {
        "2022": "2.17",
        **dict.fromkeys(("2023", "2024", "2025", "2026"), "2.28"),
        "2027": "2.34",
    }


def test_newest_final_year_is_the_default(tmp_path):
    text = GOOD + GOOD.replace("2025", "2026") + GOOD.replace("2025", "2027") + "draft = true\n"
    years = platform_years.load(write(tmp_path, text))
    assert platform_years.choose(years).version == "2026"
    assert platform_years.choose(years, "2027").draft
    with pytest.raises(CatalogueError, match="years has no version 2031") as caught:
        platform_years.choose(years, "2031")
    assert "2025, 2026, 2027" in str(caught.value)


@pytest.mark.parametrize(
    ("asked", "chosen", "requests"),
    [
        (["years-2025"], ["years-2025"], ["python-3.11"]),
        (["years==2025", "zlib"], ["years-2025"], ["zlib", "python-3.11"]),
        (["years"], ["years-2025"], ["python-3.11"]),
        (["years-2025", "python-3.11.2"], ["years-2025"], ["python-3.11.2"]),
        (["python-3.9"], [], ["python-3.9"]),
    ],
)
def test_packages_of_a_platform_are_planned(tmp_path, asked, chosen, requests):
    known = platform_years.find(write(tmp_path, GOOD).parent)
    found, rest = platform_years.expand(known, asked)
    assert ([str(platform) for platform in found], rest) == (chosen, requests)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("not TOML", "cannot be read"),
        ("", "the table 'versions'"),
        ("versions = 3\n", "the table 'versions'"),
        (GOOD + "[other]\n", "the table 'versions'"),
        (GOOD.replace("2025", "next"), "invalid version"),
        (GOOD + "more = 1\n", "must be a table of"),
        (GOOD.replace("~python-3.11", "python 3"), r"versions.2025.requires must be a list"),
        (GOOD.replace('"2.28"', "2.28"), r"versions.2025.glibc must be a version"),
        (GOOD + 'draft = "yes"\n', r"versions.2025.draft must be true or false"),
    ],
)
def test_wrong_platform_file_is_named_with_key_and_reason(tmp_path, text, reason):
    with pytest.raises(CatalogueError, match=reason) as caught:
        platform_years.load(write(tmp_path, text))
    assert "platform.toml" in str(caught.value)
