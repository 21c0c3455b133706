"""The CI examples in docs/how-to/ci.md are valid YAML and call targets of the Makefile."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from host_tools import documented_packages

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/how-to/ci.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"(?ms)^```yaml\n(.*?)^```$", PAGE)


def test_examples_have_the_jobs_of_their_service() -> None:
    github, gitlab = (yaml.safe_load(block) for block in BLOCKS)
    assert set(github["jobs"]) == {"test", "python"}
    assert all("runs-on" in job and job["steps"] for job in github["jobs"].values())
    assert gitlab["test"]["script"]
    assert gitlab["python"]["script"]


def test_examples_call_targets_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^(\w+):", makefile, re.MULTILINE))
    called = re.findall(r"- (?:run: )?make ([a-z ]+)", "\n".join(BLOCKS))
    assert len(called) == 4
    assert {target for words in called for target in words.split()} <= targets


def test_gitlab_example_installs_what_the_readme_lists() -> None:
    build, _ = documented_packages()
    assert yaml.safe_load(BLOCKS[1])["variables"]["BUILD_PACKAGES"].split() == build
