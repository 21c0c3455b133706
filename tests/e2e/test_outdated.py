"""``rezbuild versions --outdated`` with real builds and a changing catalogue."""

from __future__ import annotations

import json_page
import pytest
from sample_packages import LOW

pytestmark = pytest.mark.e2e


def add(studio, samples, version: str) -> None:
    """Add a newer version of low with ``rezbuild add-version``."""
    catalogue = samples.recipes / "low/sources.toml"
    before = catalogue.read_text()
    samples.add("low", version, LOW)  # to download the archive
    del samples.entries["low"][version]
    catalogue.write_text(before)
    studio.rezbuild("add-version", "low", version, "--unsigned", "--recipes", samples.recipes)


def test_new_pin_is_outdated_until_it_is_built(studio, samples):
    outdated = ("versions", "--outdated", "--recipes", samples.recipes)
    studio.rezbuild("build", "top", "--recipes", samples.recipes)
    add(studio, samples, "1.0.1")
    add(studio, samples, "1.1.0")  # another series is the studio's choice
    done = studio.rezbuild(*outdated, ok=False)
    assert done.returncode == 13
    assert done.stdout.splitlines() == [
        f"low 1.0.0 in {studio.local}: 1.0.1 is pinned",
        f"top 2.0.0 in {studio.local}: built against low 1.0.0; 1.0.1 is pinned",
    ]
    assert "docs/how-to/security.md" in done.stderr
    found = json_page.read(studio.rezbuild(*outdated, "top", "--json", ok=False).stdout)["outdated"]
    wanted = ("name", "version", "repository", "library", "has", "newest")
    assert [tuple(each[key] for key in wanted) for each in found] == [
        ("top", "2.0.0", str(studio.local), "low", "1.0.0", "1.0.1")
    ]

    # A new library alone does not update packages that were built against the old one.
    studio.rezbuild("build", "low-1.0.1", "--recipes", samples.recipes)
    done = studio.rezbuild(*outdated, ok=False)
    assert done.stdout.startswith("top 2.0.0")
    assert len(done.stdout.splitlines()) == 1
    studio.rezbuild("build", "low-1.0", "top", "--recipes", samples.recipes)
    assert studio.rezbuild(*outdated).stdout == ""


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (("--upstream",), 2, "--upstream requires --outdated"),
        (("--outdated", "--upstream"), 2, "REZBUILD_OFFLINE is set"),
    ],
)
def test_wrong_usage_of_outdated_is_refused(studio, samples, argv, code, words):
    done = studio.rezbuild("versions", *argv, "--recipes", samples.recipes, ok=False)
    assert done.returncode == code
    assert words in done.stderr


def test_upstream_option_lists_new_releases(studio, samples, tmp_path):
    """TLS uses a studio's authority. Unreadable pages are named, with exit code 4."""
    from loopback import serving

    with serving(tmp_path) as server:
        samples.edit("low/sources.toml", "https://upstream.invalid/", server.url)
        env = {"REZBUILD_OFFLINE": "0", "REQUESTS_CA_BUNDLE": str(server.authority)}
        env |= {"REZBUILD_RETRIES": "0", "NO_PROXY": "localhost"}
        words = ("versions", "--outdated", "--upstream", "low", "--recipes", samples.recipes)
        done = studio.rezbuild(*words, ok=False, **env)
        assert (done.returncode, done.stdout) == (4, "")
        assert "the page has no version of 1.0" in done.stderr
        server.set_body(b'<a href="low-1.0.7.tar.gz">low-1.0.7.tar.gz</a>')
        done = studio.rezbuild(*words, ok=False, **env)
        assert done.returncode == 13
        assert done.stdout == "low 1.0.0 is the newest pin; upstream has 1.0.7\n"
        server.set_body(b'<a href="low-1.0.0.tar.gz">low-1.0.0.tar.gz</a>')
        assert studio.rezbuild(*words, **env).stdout == ""
