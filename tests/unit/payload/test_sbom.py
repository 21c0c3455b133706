"""Package URLs and CPEs of all pinned versions, read by the libraries of scanners."""

from __future__ import annotations

from pathlib import Path

import pytest
from cpe import CPE
from packageurl import PackageURL

from rezbuild.payload import sbom
from rezbuild.plan import resolve

RECIPES = resolve.recipes(Path(__file__).parents[3] / "packages")


@pytest.mark.parametrize("name", list(RECIPES))
def test_scanners_read_each_version(name):
    for release in RECIPES[name].releases.values():
        found = sbom._component(release.name, release.version, release.license, release.cpe)
        purl = PackageURL.from_string(str(found.purl))
        assert (purl.type, purl.name, purl.version) == ("generic", release.name, release.version)
        if release.cpe:
            product = CPE(found.cpe, CPE.VERSION_2_3)
            assert product.is_application()
            assert [*product.get_vendor(), *product.get_product()] == release.cpe.split(":")
            said = product.get_version()[0] + product.get_update()[0].replace("*", "")
            assert said.replace("alpha", "a").replace("beta", "b") == release.version


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("3.15.0rc1", "3.15.0:rc1"),
        ("3.15.0a7", "3.15.0:alpha7"),
        ("3.15.0b2", "3.15.0:beta2"),
        ("3.11.2", "3.11.2:*"),
        ("1.1.1w", "1.1.1w:*"),
    ],
)
def test_prerelease_is_an_update_as_in_the_nvd(version, said):
    found = sbom._component("python", version, "", "python:python").cpe
    assert found == f"cpe:2.3:a:python:python:{said}:*:*:*:*:*:*"
