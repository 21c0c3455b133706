"""Every command of two pages in docs/how-to, in order, with packages that build in a second."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import rez_install
from host_tools import require_tool
from sample_packages import LOW, TOP, Samples
from studio import ROOT

pytestmark = pytest.mark.e2e

PAGES = [(ROOT / "docs/how-to" / name).read_text() for name in ("studio.md", "without-rez.md")]
BLOCKS = [block for page in PAGES for block in re.findall(r"(?ms)^```sh\n(.*?)^```$", page)]
COMMANDS = [line for block in BLOCKS for line in block.splitlines()]
# A "python" that is linked to a "libssl" and always prints 42, or 43 with a repaired libssl.
PYTHON = {name: text.replace("top", "python3") for name, text in TOP.items()}
PYTHON["python3.c"] = PYTHON.pop("top.c")
REPAIRED = {**LOW, "low.c": LOW["low.c"].replace("42", "43")}


@pytest.fixture(scope="module")
def commands(scratch: Path) -> Path:
    """Install Rez with its own installer, and rezbuild beside it."""
    return rez_install.install(scratch / "doc-rez", f"{ROOT}[glibc]")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Make a clone with a remote; its packages are sample packages with real names."""
    require_tool("git")
    folder = tmp_path / "clone"
    samples = Samples(folder, recipes="packages", empty=True)
    samples.add("zlib", "1.3.1", LOW)
    samples.add("zlib", "1.2.13", LOW)
    for name, known, new, files, requires in (
        ("openssl", "3.5.5", "3.5.6", REPAIRED, ""),
        ("python", "3.11.2", "3.11.9", PYTHON, '"openssl-3"'),
    ):
        samples.add(name, known, LOW if files is REPAIRED else files, requires=requires)
        # The recipe does not have the page's new version yet.
        sources = folder / "packages" / name / "sources.toml"
        text = sources.read_text()
        samples.add(name, new, files, requires=requires)
        sources.rename(tmp_path / f"{name}.toml")
        sources.write_text(text)
    # The mirror is filled from here.
    samples.mirror.rename(tmp_path / "upstream")
    year = folder / "packages/vfxplatform"
    year.mkdir()
    for name in ("package.py", "platform.toml"):
        (year / name).write_text((ROOT / "packages/vfxplatform" / name).read_text())
    (folder / "rezconfig.py").write_text((ROOT / "rezconfig.py").read_text())
    (folder / ".gitignore").write_text("build/\nremote.git/\n")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.invalid"]
    for words in (
        "init -q -b main",
        "init -q --bare remote.git",
        "remote add origin ./remote.git",
        "add .",
        "commit -qm Packages",
        "push -qu origin main",
    ):
        subprocess.run([*git, *words.split()], cwd=folder, check=True)
    return folder


def test_commands_of_the_studio_pages_run(commands, clone, tmp_path):
    share = tmp_path / "share"
    for name in ("packages", "cache", "stage", "archive"):
        (share / name).mkdir(parents=True)
    (share / "rezconfig.py").write_text("# The studio's own.\n")
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    for folder in (home, temporary):
        folder.mkdir()
    identity = {
        f"GIT_{who}_{what}": "t@example.invalid"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    env = {
        **identity,
        "HOME": str(home),
        "PATH": os.pathsep.join((str(commands), str(commands.parent), os.defpath)),
        "REZ_DISABLE_HOME_CONFIG": "1",
        "REZBUILD_CACHE": str(home / "cache"),
        # The first command fills the studio's mirror from a folder that replaces upstream.
        "REZBUILD_MIRRORS": str(tmp_path / "upstream"),
        # By default, Rez caches no packages that are on this disk or below /tmp.
        "REZ_PACKAGE_CACHE_SAME_DEVICE": "1",
        "REZ_TMPDIR": str(temporary),
        "REZ_RELEASE_PACKAGES_PATH": str(share / "packages"),
    }
    for family in ("platform", "arch"):
        argv = [commands / "rez-bind", "-r", family]
        subprocess.run(argv, env=env, check=True, capture_output=True)
    lines = [f"{line} || {{ echo FAILED: {line!r}; exit 1; }}" for line in COMMANDS]
    # The page describes these steps in words: add the new version, and put it into the mirror.
    for name, start in (("python", "rezbuild versions"), ("openssl", "rez-cp")):
        entry = f"cp {tmp_path}/{name}.toml packages/{name}/sources.toml"
        commit = "git commit -qam New && git push -q"
        mirror = f"cp -r {tmp_path}/upstream/. $REZBUILD_MIRRORS"
        before = next(n for n, line in enumerate(COMMANDS) if line.startswith(start))
        lines[before] = f"{entry} && {commit} && {mirror} && {lines[before]}"
    script = "\n".join(lines).replace("/mnt/studio", str(share))
    done = subprocess.run(
        ["bash", "-c", script], cwd=clone, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
    said = [line for line in done.stdout.splitlines() if line in ("42", "43")]
    starts = [line for line in COMMANDS if line.startswith("rez-env") and "python3" in line]
    assert said == ["42"] * (len(starts) - 1) + ["43"]
    check_final_state(share, clone)


def check_final_state(share: Path, clone: Path) -> None:
    packages = share / "packages"
    assert [path.name for path in (packages / "python").iterdir() if path.name[0] != "."] == [
        "3.11.2"
    ]
    assert sorted(path.name for path in (packages / "zlib").iterdir()) == ["1.2.13"]
    assert (packages / "vfxplatform/2025/package.py").is_file()
    for place, openssl in (("archive", "3.5.5"), ("packages", "3.5.6")):
        (record,) = (share / place / "python/3.11.2").glob("*/*/rezbuild.json")
        assert json.loads(record.read_text())["built_against"] == {"openssl": openssl}
    assert (share / "stage/python.tar.gz").stat().st_size > 1000
    tags = subprocess.run(["git", "tag"], cwd=clone, capture_output=True, text=True, check=True)
    assert tags.stdout.split() == [
        "openssl-3.5.5",
        "openssl-3.5.6",
        "python-3.11.2",
        "python-3.11.9",
        "vfxplatform-2025",
        "zlib-1.2.13",
    ]


def test_studio_pages_have_no_other_commands():
    """Each block of the pages is run."""
    assert len(BLOCKS) >= 10
    assert "\n".join(PAGES).count("```") == 2 * len(BLOCKS)
