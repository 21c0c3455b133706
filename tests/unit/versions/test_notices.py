"""Notices about chosen versions: the distance to the newest one, and missing test records."""

from __future__ import annotations

from pathlib import Path

import pytest

from rezbuild.catalogue.model import Recipe, Release
from rezbuild.plan import resolve
from rezbuild.plan.resolve import Recipes
from rezbuild.versions import notices

HEAD = """\
default = "{default}"
license = "MIT"
file = "{name}-{{version}}.tar.gz"
urls = ["https://example.invalid/{{file}}"]
"""
TESTED = 'tested = { on = "2026-12-01", host = "debian12" }\n'


def add(folder: Path, name: str, default: str, *versions: str, requires: str = "") -> None:
    (folder / name).mkdir()
    text = HEAD.format(default=default, name=name)
    for number, version in enumerate(versions):
        text += (
            f'[versions."{version}"]\nsha256 = "{number:064}"\nrequires = [{requires}]\n{TESTED}'
        )
    (folder / name / "sources.toml").write_text(text, encoding="utf-8")


@pytest.fixture
def recipes(tmp_path: Path) -> Recipes:
    add(tmp_path, "tool", "3.11.17", "3.11.2", "3.11.17", "3.12.15", requires='"lib-3"')
    add(tmp_path, "lib", "3.54.0", "3.53.4", "3.54.0")
    return resolve.recipes(tmp_path)


def lines(recipes: Recipes, *requests: str, without: tuple[str, ...] = ()) -> list[str]:
    def available(_: Recipe, release: Release) -> bool:
        return release.version not in without

    return list(notices.for_steps(resolve.plan(recipes, requests, available)))


def test_newest_releases_need_no_notice(recipes):
    assert lines(recipes, "tool") == lines(recipes, "tool-3.12") == []


def test_replaced_version_is_reported_with_the_address(recipes):
    help_ = "which cannot be fetched here (put https://example.invalid/{} into a folder of {})"
    assert lines(recipes, "tool", without=("3.11.17", "3.54.0")) == [
        f"{what}, {help_.format(file, 'REZBUILD_MIRRORS')}"
        for what, file in (
            ("lib 3.53.4 is behind 3.54.0", "lib-3.54.0.tar.gz"),
            ("tool 3.11.2 is 15 releases behind 3.11.17", "tool-3.11.17.tar.gz"),
        )
    ]


def test_requested_version_is_compared_with_its_series(recipes):
    assert lines(recipes, "tool-3.11.2") == ["tool 3.11.2 is 15 releases behind 3.11.17"]


def without_records(recipes: Recipes, most: int) -> Recipes:
    """Return the recipes without their newest records."""
    for name in recipes:
        path = recipes[name].folder / "sources.toml"
        path.write_text(path.read_text("utf-8").replace(TESTED, "", most), encoding="utf-8")
    return resolve.recipes(recipes["tool"].folder.parent)


def test_versions_without_records_are_listed_in_one_line(recipes):
    line = lines(without_records(recipes, 1), "tool-3.11.2", "lib-3.53.4")[-1]
    assert line.startswith("notice: never built by this project")
    assert line.endswith(": lib 3.53.4, tool 3.11.2")


def test_recipe_without_records_needs_no_notice(recipes):
    assert lines(without_records(recipes, 3), "tool") == []


@pytest.mark.parametrize(
    ("version", "newest", "expected"),
    [
        ("3.11.2", "3.11.17", "15 releases behind 3.11.17"),
        ("8.2", "8.3", "1 release behind 8.3"),
        ("3.53.4", "3.54.0", "behind 3.54.0"),
        ("1.1.1v", "1.1.1w", "behind 1.1.1w"),
        ("3.5", "3.5.1", "behind 3.5.1"),
    ],
)
def test_distance_counts_releases_of_one_series(version, newest, expected):
    assert notices.distance(version, newest) == expected
