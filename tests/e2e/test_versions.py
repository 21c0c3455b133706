"""``rezbuild versions`` and the marks in the catalogue."""

from __future__ import annotations

import json

import pytest
from studio import ROOT
from test_matrix import CHAINS
from test_packages import MODULES

from rezbuild import catalogue, graph

pytestmark = pytest.mark.e2e


def test_what_is_marked_as_tested_is_what_the_tests_build():
    """The default chain, each package by itself, those on request, and the matrix: no more."""
    recipes = graph.recipes(ROOT / "packages")
    built = set()
    chains = [requests for requests, _ in CHAINS.values()]
    for requests in (["python_debug", "python_tests"], list(MODULES), *chains):
        # As the driver does where each source can be had.
        built |= {step.key for step in graph.plan(recipes, requests, lambda *_: True)}
    marked = {
        (recipe.name, release.version)
        for recipe in recipes.values()
        for release in recipe.releases.values()
        if release.tested
    }
    assert marked == built


def test_records_of_tests_are_shown(studio):
    rows = json.loads(studio.rezbuild("versions", "zlib", "--json").stdout)
    assert {row["version"] for row in rows if row["tested"]} == {"1.3.1"}
    lines = studio.rezbuild("versions", "openssl").stdout.splitlines()
    default = catalogue.load(ROOT / "packages/openssl").default
    assert any(line.split()[:3] == ["openssl", default, "default"] for line in lines)
    shown = [" ".join(line.split()) for line in lines]
    assert any(line.startswith("openssl 3.0.20 debian12 20") for line in shown)
    assert any(line.startswith("openssl 3.0.0 never built") for line in shown)
