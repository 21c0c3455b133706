"""The order of packages in a second build."""

from __future__ import annotations

from pathlib import Path

from rezbuild.catalogue import sources_toml
from rezbuild.verify.reproduce import in_order

ROOT = Path(__file__).parents[3]


def test_packages_keep_the_order_of_requests() -> None:
    release = sources_toml.load(ROOT / "packages/python").releases["3.11.2"]
    names = [request.partition("-")[0] for request in release.requires]
    assert names != sorted(names)
    assert list(in_order(release, dict.fromkeys(sorted(names), "1"))) == names


def test_unrequested_packages_come_last() -> None:
    release = sources_toml.load(ROOT / "packages/tk").releases["8.6.18"]
    assert in_order(release, {"added": "1", "tcl": "8.6.18"}) == {"tcl": "8.6.18", "added": "1"}
