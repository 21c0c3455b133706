"""Plans from requests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rezbuild.catalogue.model import Recipe, Release
from rezbuild.errors import CatalogueError, FetchError, UsageError
from rezbuild.plan import resolve

SUM = "0" * 64


def entry(version: str, requires: str) -> str:
    return f'[versions."{version}"]\nsha256 = "{SUM}"\nrequires = [{requires}]\n'


@pytest.fixture
def recipes(tmp_path) -> resolve.Recipes:
    table = {
        "base": ("1.2.0", {"1.1.0": "", "1.2.0": "", "1.10.0": "", "2.0.0": ""}),
        "crypt": (
            "3.5.6",
            {"1.1.1w": "", "3.0.20": '"base"', "3.5.6": '"base"', "3.5.9": '"base"'},
        ),
        "tool": (
            "3.11.2",
            {
                "3.9.2": '"base-1", "crypt-1.1"',
                "3.11.2": '"base-1", "crypt-3"',
                "3.11.17": '"base-1", "crypt-3"',
                "3.13.5": '"base-2", "crypt-3"',
            },
        ),
    }
    for name, (default, versions) in table.items():
        head = (
            f'default = "{default}"\nlicense = "MIT"\nfile = "{name}-{{version}}.tar.gz"\n'
            'urls = ["https://example.invalid/{file}"]\n'
        )
        (tmp_path / name).mkdir()
        (tmp_path / name / "sources.toml").write_text(
            head + "".join(entry(*item) for item in versions.items())
        )
    return resolve.recipes(tmp_path)


def accept_all(_: Recipe, __: Release) -> bool:
    return True


def steps(recipes: resolve.Recipes, *requests: str, without: tuple[str, ...] = ()) -> list[str]:
    def available(_: Recipe, release: Release) -> bool:
        return f"{release.name}-{release.version}" not in without

    return [str(step) for step in resolve.plan(recipes, requests, available)]


def test_bare_name_gives_the_default_after_its_dependencies(recipes):
    assert steps(recipes, "tool") == ["base-1.2.0", "crypt-3.5.6", "tool-3.11.2"]


def test_range_gives_the_newest_version(recipes):
    assert steps(recipes, "tool-3.11")[-1] == "tool-3.11.17"
    assert steps(recipes, "base-1") == ["base-1.10.0"]
    assert steps(recipes, "base-1.1+<2") == ["base-1.10.0"]


def test_range_gives_the_newest_available_version(recipes):
    assert steps(recipes, "tool-3.11", without=("tool-3.11.17",))[-1] == "tool-3.11.2"


def test_dependencies_use_the_default_if_it_fits(recipes):
    assert steps(recipes, "tool-3.13") == ["base-2.0.0", "base-1.2.0", "crypt-3.5.6", "tool-3.13.5"]
    assert steps(recipes, "tool-3.9")[:2] == ["base-1.2.0", "crypt-1.1.1w"]


def test_dependencies_fall_back_to_available_versions(recipes):
    assert "crypt-3.5.9" in steps(recipes, "tool", without=("crypt-3.5.6",))


def test_fallback_stays_in_the_series_of_the_default(recipes):
    """Newer series are used last, because nobody requested them."""
    assert steps(recipes, "tool", without=("tool-3.11.2",))[-1] == "tool-3.11.17"
    without = ("tool-3.11.2", "tool-3.11.17")
    assert steps(recipes, "tool", without=without)[-1] == "tool-3.13.5"


def test_step_records_the_preferred_version(recipes):
    def available(_: Recipe, release: Release) -> bool:
        if release.version in {"3.11.17", "3.5.6"}:
            raise FetchError("no route", tried=["a: is down", "b: is down"])
        return True

    plan = {s.release.name: s for s in resolve.plan(recipes, ["tool-3.11"], available)}
    chosen = {name: (step.release.version, step.preferred) for name, step in plan.items()}
    assert chosen == {
        "base": ("1.2.0", "1.2.0"),
        "crypt": ("3.5.9", "3.5.6"),
        "tool": ("3.11.2", "3.11.17"),
    }
    with pytest.raises(FetchError) as caught:
        resolve.plan(recipes, ["tool-3.11.17"], available)
    assert caught.value.tried == ("3.11.17: a: is down; b: is down",)


def test_rolling_package_has_a_series_per_major_version(recipes):
    rolling = replace(recipes["base"], rolling=True, default="1.10.0")
    found = [release.version for release in resolve.same_series(rolling, "1.2.0")]
    assert found == ["1.10.0", "1.2.0", "1.1.0"]


def test_rolling_series_ends_with_the_default(recipes):
    rolling = replace(recipes["base"], rolling=True)
    assert [r.version for r in resolve.same_series(rolling, "1.1.0")] == ["1.2.0", "1.1.0"]
    assert resolve.same_series(rolling, "1.10.0")[0].version == "1.10.0"


def test_other_packages_have_a_series_per_minor_version(recipes):
    assert [r.version for r in resolve.same_series(recipes["base"], "1.2.0")] == ["1.2.0"]


def test_request_pins_the_dependency_of_others(recipes):
    assert steps(recipes, "crypt-3.0.20", "tool") == ["base-1.2.0", "crypt-3.0.20", "tool-3.11.2"]
    (tool,) = [s for s in resolve.plan(recipes, ["crypt-3.0", "tool"], accept_all) if s.requested][
        1:
    ]
    assert tool.built_against == {"base": "1.2.0", "crypt": "3.0.20"}


def test_two_versions_of_one_package_can_be_planned(recipes):
    assert steps(recipes, "tool-3.9", "tool-3.11") == [
        "base-1.2.0",
        "crypt-1.1.1w",
        "tool-3.9.2",
        "crypt-3.5.6",
        "tool-3.11.17",
    ]


def test_availability_is_asked_once_per_version(recipes):
    """A check of the availability may download the source."""
    seen = []

    def available(_: Recipe, release: Release) -> bool:
        seen.append(f"{release.name}-{release.version}")
        return True

    resolve.plan(recipes, ["tool-3.11", "tool-3.13", "crypt"], available)
    assert len(seen) == len(set(seen)) == 5


def test_shared_dependency_is_planned_once(tmp_path):
    """Each layer needs the one below twice, so there are 2**60 paths."""
    for number in range(60):
        for side in "ab":
            requires = f'"a{number - 1}-1", "b{number - 1}-1"' if number else ""
            (tmp_path / f"{side}{number}").mkdir()
            (tmp_path / f"{side}{number}/sources.toml").write_text(
                'default = "1.0"\nlicense = "MIT"\nfile = "{version}.tar.gz"\n'
                'urls = ["https://example.invalid/{file}"]\n' + entry("1.0", requires)
            )
    plan = resolve.plan(resolve.recipes(tmp_path), ["a59"], accept_all)
    assert len(plan) == 59 * 2 + 1


def test_plan_keeps_its_target(recipes):
    target = resolve.Target("rocky8", "fast", "/r", "r8")
    plan = resolve.plan(recipes, ["tool"], accept_all, target)
    assert [str(step) for step in plan] == ["base-1.2.0@r8", "crypt-3.5.6@r8", "tool-3.11.2@r8"]
    assert plan[2].package == "tool-3.11.2"
    assert plan[2].job == ("rocky8", "/r", "tool", "3.11.2")
    assert plan[2].needs == [plan[0].job, plan[1].job]


def test_requested_steps_are_marked(recipes):
    plan = resolve.plan(recipes, ["tool", "base-1.2.0"], accept_all)
    assert {str(step) for step in plan if step.requested} == {"tool-3.11.2", "base-1.2.0"}


@pytest.mark.parametrize("request_", ["nothing", "tool-9", "tool-3.12"])
def test_unknown_package_or_version_is_named(recipes, request_):
    with pytest.raises(CatalogueError) as caught:
        steps(recipes, request_)
    assert caught.value.advice


@pytest.mark.parametrize("request_", ["tool-<<", "!tool", "~tool-3", "", "a b"])
def test_invalid_request_is_refused(recipes, request_):
    with pytest.raises((UsageError, CatalogueError)):
        steps(recipes, request_)


def test_no_available_version_is_an_error(recipes):
    with pytest.raises(FetchError, match="can be fetched here") as caught:
        steps(recipes, "tool-3.11", without=("tool-3.11.2", "tool-3.11.17"))
    assert caught.value.tried == ("3.11.17", "3.11.2")


def test_circular_dependency_is_named(recipes, tmp_path):
    text = (tmp_path / "base/sources.toml").read_text()
    (tmp_path / "base/sources.toml").write_text(
        text.replace("requires = []", 'requires = ["tool"]')
    )
    with pytest.raises(CatalogueError, match="depend on each other: tool → base → tool"):
        steps(resolve.recipes(tmp_path), "tool")


def test_every_version_of_our_own_catalogue_can_be_planned():
    own = resolve.recipes(Path(__file__).parents[3] / "packages")
    for recipe in own.values():
        for version in recipe.releases:
            steps = resolve.plan(own, [f"{recipe.name}=={version}"], accept_all)
            assert steps[-1].key == (recipe.name, version)


def test_folder_without_recipes_is_named(tmp_path):
    with pytest.raises(CatalogueError, match="contains no recipes"):
        resolve.recipes(Path(tmp_path / "empty"))
