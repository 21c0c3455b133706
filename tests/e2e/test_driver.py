"""``rezbuild build`` and ``rez-build`` with small packages: what happens when things go wrong."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import Studio
from toys import LOW, Toys

pytestmark = pytest.mark.e2e


@pytest.fixture
def toys(studio: Studio, tmp_path: Path) -> Toys:
    toys = Toys(tmp_path / "toys")
    studio.env |= {
        "REZBUILD_MIRRORS": str(toys.mirror),
        "REZBUILD_RECIPES": str(toys.recipes),
        "REZBUILD_CACHE": str(tmp_path / "cache"),
        # Nothing here may depend on a network.
        "REZBUILD_OFFLINE": "1",
    }
    return toys


def answer(studio: Studio, repository: Path | None = None) -> str:
    """What the program of the installed package ``top`` says."""
    return studio.in_env(repository or studio.local, "top", "top").stdout.strip()


def root(studio: Studio, name: str, version: str) -> Path:
    (found,) = (studio.local / name / version).glob("platform-*/arch-*")
    return found


def test_builds_in_order_and_bundles(studio, toys):
    out = studio.rezbuild("build", "top").stdout
    assert out.index("low-1.0.0: building, it is not installed") < out.index("top-2.0.0: building")
    assert "ready: rez-env top-2.0.0" in out
    assert answer(studio) == "42"
    shutil.rmtree(studio.local / "low")
    assert answer(studio) == "42"
    studio.rezbuild("audit", "top")


def test_a_second_run_says_why_it_does_nothing(studio, toys):
    studio.rezbuild("build", "top")
    began = time.monotonic()
    out = studio.rezbuild("build", "top").stdout
    assert time.monotonic() - began < 15
    for name in ("low-1.0.0", "top-2.0.0"):
        assert f"{name}: nothing to do, installed from the same inputs in" in out
    assert "building" not in out


def test_a_changed_recipe_builds_what_depends_on_it(studio, toys):
    studio.rezbuild("build", "top")
    toys.edit("top/recipe.py", "def build", "# changed\ndef build")
    out = studio.rezbuild("build", "top").stdout
    assert "low-1.0.0: nothing to do" in out
    assert "top-2.0.0: building, the recipe or rezbuild has changed since" in out
    toys.edit("low/recipe.py", "def build", "# changed\ndef build")
    out = studio.rezbuild("build", "top").stdout
    assert "low-1.0.0: building, the recipe or rezbuild has changed since" in out
    assert "top-2.0.0: building, what it is built against has changed since" in out


def test_force_builds_what_was_asked_for(studio, toys):
    studio.rezbuild("build", "top")
    out = studio.rezbuild("build", "top", "--force").stdout
    assert "low-1.0.0: nothing to do" in out
    assert "top-2.0.0: building, as --force says" in out


def test_the_package_records_where_it_is_from(studio, toys):
    studio.rezbuild("build", "top")
    text = (studio.local / "top/2.0.0/package.py").read_text()
    assert "https://upstream.invalid/top-2.0.0.tar.gz" in text
    assert "'profile': 'fast'" in text
    # Nothing that package.py computed with leaks into what is installed.
    assert "import rezbuild" not in text
    assert sys.executable not in text


def test_a_failing_step_leaves_what_was_installed(studio, toys):
    studio.rezbuild("build", "top")
    toys.edit("top/recipe.py", "    b.install", "    b.run('sh', '-c', 'echo broken; exit 3')\n#")
    done = studio.rezbuild("build", "top", ok=False)
    assert done.returncode == 7
    assert "exit code 3" in done.stderr
    assert "    broken" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert answer(studio) == "42"


def test_a_payload_that_fails_the_audit_is_not_installed(studio, toys):
    studio.rezbuild("build", "top")
    link = "\n    (b.payload / 'bin/link').symlink_to('/usr/bin/env')\n"
    toys.edit("top/recipe.py", '"install")\n', '"install")' + link)
    done = studio.rezbuild("build", "top", ok=False)
    assert done.returncode == 9
    assert "link-absolute: bin/link" in done.stderr
    assert answer(studio) == "42"


def test_rez_failing_after_the_installation_leaves_what_was_installed(studio, toys):
    """Rez deletes the variant when a pre_install test fails."""
    studio.rezbuild("build", "top")
    test = 'tests = {"no": {"command": "false", "run_on": "pre_install"}}\n'
    toys.edit("top/package.py", "relocatable", test + "relocatable")
    done = studio.rezbuild("build", "top", ok=False)
    assert done.returncode == 11
    assert "Rez's own words are above" in done.stderr
    assert answer(studio) == "42"
    assert not list(root(studio, "top", "2.0.0").parent.glob(".rezbuild*"))


def test_a_killed_build_leaves_what_was_installed(studio, toys, tmp_path):
    studio.rezbuild("build", "top")
    ready = tmp_path / "ready"
    slow = f"    b.run('sh', '-c', 'touch {ready}; sleep 60')\n    b.install"
    toys.edit("top/recipe.py", "    b.install", slow)
    argv = [sys.executable, "-m", "rezbuild", "build", "top"]
    with subprocess.Popen(
        argv, env=studio.env, start_new_session=True, stdout=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 60
        while not ready.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
    assert ready.exists()
    assert answer(studio) == "42"
    toys.edit("top/recipe.py", slow, "    b.install")
    assert "nothing to do" in studio.rezbuild("build", "top").stdout


def test_a_wrong_checksum_stops_everything(studio, toys):
    toys.add("low", "1.1.0", LOW)
    (toys.mirror / "low-1.1.0.tar.gz").write_bytes(b"something else")
    done = studio.rezbuild("build", "low-1", ok=False)
    assert done.returncode == 5
    assert not (studio.local / "low").exists()


def test_the_newest_that_can_be_had_is_taken_and_the_rest_reported(studio, toys):
    toys.add("low", "1.1.0", LOW)
    (toys.mirror / "low-1.1.0.tar.gz").unlink()
    done = studio.rezbuild("build", "low-1")
    assert "low-1.1.0" in done.stdout
    assert "REZBUILD_OFFLINE is set" in done.stdout
    assert "low-1.0.0: notice: 1.1.0 is the newest in the catalogue" in done.stdout
    assert (studio.local / "low/1.0.0").is_dir()


def test_nothing_can_be_had(studio, toys):
    shutil.rmtree(toys.mirror)
    done = studio.rezbuild("build", "top", ok=False)
    assert done.returncode == 4
    assert "REZBUILD_MIRRORS" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_run_in_the_environment(studio, toys):
    assert studio.rezbuild("build", "top", "--run", "top").stdout.rstrip().endswith("42")
    done = studio.rezbuild("build", "top", "--run", "sh -c 'exit 5'", ok=False)
    assert done.returncode == 11
    assert "exit code 5" in done.stderr


def test_fetch_fills_a_mirror_that_serves_alone(studio, toys, tmp_path):
    studio.rezbuild("fetch", "--all", "--to", tmp_path / "mirror 2")
    shutil.rmtree(toys.mirror)
    shutil.rmtree(tmp_path / "cache")
    studio.rezbuild("build", "top", REZBUILD_MIRRORS=f"'{tmp_path / 'mirror 2'}'")
    assert answer(studio) == "42"


def test_versions_show_what_is_installed(studio, toys):
    studio.rezbuild("build", "top")
    out = studio.rezbuild("versions", "top").stdout
    assert "2.0.0" in out
    assert "default" in out
    assert f"{studio.local} (fast)" in " ".join(out.split())


# By hand: what any Rez user does in a package's folder.


def test_rez_build_by_hand_gives_the_same(studio, toys):
    studio.rezbuild("build", "top")
    other = Studio(studio.folder.parent / "other")
    other.env |= {k: v for k, v in studio.env.items() if k.startswith("REZBUILD")}
    for command in ("platform", "arch"):
        other.rez("bind", command)
    poison = {
        "CFLAGS": "-DPOISON -O0 --no-such-option",
        "LDFLAGS": "-L/nowhere -lnothing",
        "CPATH": str(toys.mirror),
        "LD_LIBRARY_PATH": str(toys.mirror),
        "PYTHONHOME": "/nowhere",
        "PYTHONPATH": str(toys.mirror),
        "MAKEFLAGS": "--no-such-flag",
        "CC": "/no/such/compiler",
        "DESTDIR": "/nowhere",
    }
    for name in ("low", "top"):
        other.rez("build", "-i", cwd=toys.recipes / name, **poison)
    assert answer(other) == "42"
    mine, theirs = (root(s, "top", "2.0.0") for s in (studio, other))
    for path in mine.rglob("*"):
        # Rez's own records hold the places.
        if path.is_file() and path.name not in ("build.rxt", "variant.json"):
            assert path.read_bytes() == (theirs / path.relative_to(mine)).read_bytes(), path


def test_rez_build_without_install_installs_nothing(studio, toys):
    studio.rezbuild("build", "low")
    shutil.rmtree(studio.local / "low")
    studio.rez("build", cwd=toys.recipes / "low")
    assert not (studio.local / "low").exists()


def test_rez_build_shows_an_error_and_no_trace_of_ours(studio, toys):
    for command in ("platform", "arch"):
        studio.rez("bind", command)
    toys.edit("low/recipe.py", "    b.install", "    b.run('false')\n#")
    done = studio.rez("build", "-i", cwd=toys.recipes / "low", ok=False)
    assert done.returncode != 0
    assert "rezbuild: low 1.0.0: false: exit code 1" in done.stderr
    assert "Traceback" not in done.stderr


def test_rez_build_takes_the_version_from_the_environment(studio, toys):
    for command in ("platform", "arch"):
        studio.rez("bind", command)
    toys.add("low", "1.1.0", LOW)
    studio.rez("build", "-i", cwd=toys.recipes / "low", REZBUILD_LOW_VERSION="1.0.0")
    assert [path.name for path in (studio.local / "low").iterdir()] == ["1.0.0"]
    done = studio.rez("build", cwd=toys.recipes / "low", ok=False, REZBUILD_LOW_VERSION="9.9.9")
    assert "low 9.9.9 is not in" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_two_builds_at_once(studio, toys):
    studio.rezbuild("build", "low")
    toys.edit("low/recipe.py", "def build", "# changed\ndef build")
    argv = [sys.executable, "-m", "rezbuild", "build", "low"]
    both = [
        subprocess.Popen(argv, env=studio.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for _ in range(2)
    ]
    for process in both:
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 0, out.decode()
    assert (root(studio, "low", "1.0.0") / "lib/liblow.so.1").is_file()


def git(folder: Path, *argv: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.invalid")
    subprocess.run(["git", *identity, *argv], cwd=folder, check=True, capture_output=True)


def test_release(studio, toys):
    """From a repository of many packages: tagged, optimized, and never over what is there."""
    folder = toys.recipes.parent
    (folder / ".gitignore").write_text("build/\n")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "Recipes")
    git(folder, "init", "-q", "--bare", "remote.git")
    git(folder, "remote", "add", "origin", "./remote.git")
    git(folder, "push", "-qu", "origin", "main")
    identity = {
        f"GIT_{who}_{what}": "t@example.invalid"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    studio.rezbuild("build", "top", "--release", "--message", "first", **identity)
    assert answer(studio, studio.released) == "42"
    assert not (studio.local / "top").exists()
    text = (studio.released / "top/2.0.0/package.py").read_text()
    assert "'profile': 'optimized'" in text
    tags = subprocess.run(["git", "tag"], cwd=folder, capture_output=True, text=True, check=True)
    assert tags.stdout.split() == ["low-1.0.0", "top-2.0.0"]
    again = studio.rezbuild("build", "top", "--release", **identity)
    assert "top-2.0.0: nothing to do" in again.stdout
