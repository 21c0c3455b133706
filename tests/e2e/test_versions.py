"""``rezbuild versions`` shows the records of the catalogue."""

from __future__ import annotations

import json_page
import pytest
from studio import ROOT

from rezbuild.catalogue import sources_toml

pytestmark = pytest.mark.e2e


def test_records_of_tests_are_shown(studio):
    rows = json_page.read(studio.rezbuild("versions", "zlib", "--json").stdout)["versions"]
    tested = {row["version"]: row["tested"] for row in rows}
    assert tested["1.3.1"][0]["host"] == "debian12"
    assert tested["1.2.13"] == []
    lines = studio.rezbuild("versions", "openssl").stdout.splitlines()
    default = sources_toml.load(ROOT / "packages/openssl").default
    assert any(line.split()[:3] == ["openssl", default, "default"] for line in lines)
    shown = [" ".join(line.split()) for line in lines]
    assert any(line.startswith("openssl 3.0.20 debian12 20") for line in shown)
    assert any(line.startswith("openssl 3.0.0 never built") for line in shown)
