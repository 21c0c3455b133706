"""``rezbuild versions --outdated`` with real builds and a changing catalogue."""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path

import json_page
import pytest
from sample_packages import LOW
from scripted_server import Answer, ScriptedServer, scripted_server
from studio import ROOT

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


def test_documented_job_prints_outdated_packages(studio, samples, tmp_path):
    page = (ROOT / "docs/how-to/security.md").read_text()
    (example,) = re.findall(r"(?m)(?:^    rezbuild .* --json > .*\n)(?:    .*\n)+", page)
    studio.rezbuild("build", "top")
    add(studio, samples, "1.0.1")
    path = {"PATH": f"{Path(sys.executable).parent}:{studio.env['PATH']}"}
    done = studio.run("sh", "-e", "-c", textwrap.dedent(example), cwd=tmp_path, **path)
    assert done.stdout.splitlines() == ["low 1.0.0  1.0.1", "top 2.0.0 low 1.0.1"]


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


PARTS = """
def parts(b):
    from rezbuild.payload.sbom import Part
    yield Part("low", "1.0.0", "MIT")
    yield Part("pip", "22.3.1", "MIT", "pypa:pip", "pypi")
    yield Part("setuptools", "65.5.0", "MIT", "", "pypi")
"""


def serve_index(server: ScriptedServer, name: str, **versions: str) -> None:
    """Serve the wheels of a Python package; each needs the given Python."""
    links = "".join(
        f'<a href="{name}-{version[1:].replace("_", ".")}-py3-none-any.whl"'
        f' data-requires-python="{python}">{name}</a>'
        for version, python in versions.items()
    )
    page = f"<!DOCTYPE html><html><body>{links}</body></html>".encode()
    server.at(f"/simple/{name}/", Answer(page, headers={"Content-Type": "text/html"}))


def pip_environment(server: ScriptedServer) -> dict[str, str]:
    """Return variables by which pip asks a server alone."""
    env = {"PIP_CONFIG_FILE": "/dev/null", "PIP_NO_INDEX": "0", "PIP_RETRIES": "0"}
    env |= {"PIP_FIND_LINKS": "", "PIP_EXTRA_INDEX_URL": "", "NO_PROXY": "127.0.0.1,localhost"}
    env |= {"REZBUILD_OFFLINE": "0", "REZBUILD_RETRIES": "0"}
    return env | {"PIP_INDEX_URL": f"{server.url}/simple"}


def test_parts_of_a_source_are_outdated(studio, samples):
    """A library is compared with the catalogue, Python packages with the index that pip uses."""
    samples.add("python", "3.11.2", LOW)
    with (samples.recipes / "python/recipe.py").open("a") as file:
        file.write(PARTS)
    samples.add("low", "1.0.1", LOW)
    studio.rezbuild("build", "python")
    words = ("versions", "--outdated", "python", "--recipes", samples.recipes)
    low = f"python 3.11.2 in {studio.local}: its source contains low 1.0.0; 1.0.1 is pinned\n"
    done = studio.rezbuild(*words, ok=False)
    assert (done.returncode, done.stdout) == (13, low)

    with scripted_server() as server:
        env = pip_environment(server)
        serve_index(server, "pip", v22_3_1="", v25_1="", v26_0="&gt;=3.12", v27_0rc1="")
        serve_index(server, "setuptools", v65_5_0="")
        out = studio.rezbuild(*words, "--upstream", ok=False, **env).stdout
        pip = f"python 3.11.2 in {studio.local}: its source contains pip 22.3.1; upstream has 25.1"
        assert out == f"{low}{pip}\n"
        done = studio.rezbuild(*words, "--upstream", "--json", ok=False, **env)
        found = json_page.read(done.stdout)["outdated"]
        assert [(f["library"], f["inside"], f["upstream"]) for f in found] == [
            ("low", True, False),
            ("pip", True, True),
        ]
        server.answers.clear()
        done = studio.rezbuild(*words, "--upstream", ok=False, **env)
        assert done.stdout == low
        assert "the versions of the Python package pip cannot be read" in done.stderr


def test_python_packages_in_a_source_alone_do_not_alarm(studio, samples, tmp_path):
    """Each CPython has an older pip than the index, so a timer would always alarm."""
    from loopback import serving

    samples.add("python", "3.11.2", LOW)
    with (samples.recipes / "python/recipe.py").open("a") as file:
        file.write(PARTS)
    studio.rezbuild("build", "python")
    words = ("versions", "--outdated", "--upstream", "python", "--recipes", samples.recipes)
    with scripted_server() as server, serving(tmp_path) as upstream:
        pip = f"python 3.11.2 in {studio.local}: its source contains pip 22.3.1; upstream has 25.1"
        env = pip_environment(server) | {"REQUESTS_CA_BUNDLE": str(upstream.authority)}
        serve_index(server, "pip", v25_1="")
        serve_index(server, "setuptools", v65_5_0="")
        upstream.set_body(b"<a>python-3.11.2.tar.gz</a>")
        samples.edit("python/sources.toml", "https://upstream.invalid/", upstream.url)
        done = studio.rezbuild(*words, **env)
        assert done.stdout == f"{pip}\n"
        assert (
            "1 older Python package in sources: only a newer source has newer ones" in done.stderr
        )
        assert "outdated" not in done.stderr
