"""Simulate four platform years for three host kinds, with all packages.

The durations are from a real build of the chain, which ``tests/data/durations.json`` names; those
of other versions and packages are estimates. As a program, it prints the table of
docs/how-to/plan.md and, with a file name, draws the picture.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from rezbuild.catalogue.model import Recipe, Release
from rezbuild.plan import resolve
from rezbuild.plan.durations import Durations
from rezbuild.plan.resolve import Step, Target
from rezbuild.plan.simulate import Outcome, Worker, simulate
from rezbuild.run import gantt
from rezbuild.run.gantt import Bar, Timeline

ROOT = Path(__file__).parents[2]
HOSTS = ("debian12", "rocky8", "rocky9")
YEARS = {"cy2023": "3.10", "cy2024": "3.11", "cy2025": "3.12", "cy2026": "3.13"}
COUNTS = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64)


@lru_cache(maxsize=1)
def steps() -> tuple[Step, ...]:
    recipes = resolve.recipes(ROOT / "packages")
    measured = {name for name, *_ in load_durations().records}
    found: list[Step] = []
    for host in HOSTS:
        for year, series in YEARS.items():
            version = resolve.versions_in(recipes["python"], f"python-{series}")[0].version
            # python_freethreading is built on request only, and has no old versions.
            python = [n for n in recipes if n.startswith("python") and n in measured]
            requests = [f"{name}=={version}" for name in python]
            requests += [name for name in recipes if not name.startswith("python")]
            target = Target(host, "fast", f"/{year}/{host}", f"{year}:{host}")
            found += resolve.plan(recipes, requests, _available, target)
    return tuple(found)


def _available(recipe: Recipe, release: Release) -> bool:
    """Return whether a build of this version is recorded, if the package has records."""
    known = {key[1] for key in load_durations().records if key[0] == recipe.name}
    return recipe.name.startswith("python") or not known or release.version in known


@lru_cache(maxsize=1)
def load_durations() -> Durations:
    return Durations(ROOT / "tests/data", print)


def seconds() -> Callable[[Step], float]:
    known = load_durations()
    return lambda step: known.estimate(step, "fast", "debian12").seconds


def run(count: int) -> Outcome:
    """Simulate workers that build one package at a time for any host."""
    return simulate(steps(), seconds(), [Worker()] * count)


def picture(outcome: Outcome, title: str) -> str:
    critical = {step.job for step in outcome.critical}
    bars = (
        Bar(
            job=str(build.step),
            package=build.step.release.name,
            worker=f"w{build.worker + 1}",
            began=build.began,
            ended=build.ended,
            state=gantt.LOST if build.lost else gantt.BUILT,
            critical=build.step.job in critical,
        )
        for build in outcome.builds
    )
    return gantt.svg(Timeline(title, 0.0, 1, tuple(bars), tuple(map(str, outcome.critical))))


def main() -> None:
    print("| workers | makespan | simple lower bound | ratio | exact lower bound | ratio |")
    print("| --- | --- | --- | --- | --- | --- |")
    for count in COUNTS:
        found = run(count)
        times = (found.makespan, found.bound, found.least)
        makespan, bound, least = map(gantt.clock, times)
        ratios = (f"{found.makespan / other:.3f}" for other in (found.bound, found.least))
        first, second = ratios
        print(f"| {count} | {makespan} | {bound} | {first} | {least} | {second} |")
    if sys.argv[1:]:
        title = f"{len(steps())} builds on 16 workers, simulated with recorded durations"
        Path(sys.argv[1]).write_text(picture(run(16), title), encoding="utf-8")


if __name__ == "__main__":
    main()
