"""``rezbuild build`` and ``rez-build`` with small packages, mostly after faults."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from git_clone import commit, tags
from sample_packages import LOW, TOP, Samples
from studio import Studio, processes_in
from trees import tree

pytestmark = pytest.mark.e2e


def answer(studio: Studio, repository: Path | None = None) -> str:
    """Return the output of the installed program ``top``."""
    return studio.in_env(repository or studio.local, "top", "top").stdout.strip()


def root(studio: Studio, name: str, version: str) -> Path:
    (found,) = (studio.local / name / version).glob("platform-*/arch-*")
    return found


def list_staged(studio: Studio) -> list[Path]:
    """Return the files that unfinished builds left in the repository."""
    hidden = (".building*", ".rezbuild-*", "staged/*/*", "swapping/*")
    return [path for pattern in hidden for path in studio.local.glob(f"*/{pattern}")]


def test_dependencies_are_built_first_and_bundled(studio, samples):
    out = studio.rezbuild("build", "top").stdout
    assert out.index("low-1.0.0: building, it is not installed") < out.index("top-2.0.0: building")
    assert "ready: rez-env top==2.0.0" in out
    assert answer(studio) == "42"
    shutil.rmtree(studio.local / "low")
    assert answer(studio) == "42"
    studio.rezbuild("audit", "top")


def test_second_run_says_that_all_is_installed(studio, samples):
    studio.rezbuild("build", "top")
    began = time.monotonic()
    out = studio.rezbuild("build", "top").stdout
    assert time.monotonic() - began < 15
    assert out == "ready: rez-env top==2.0.0 (nothing to do, 2 packages installed)\n"


def test_changed_recipe_rebuilds_its_dependents(studio, samples):
    studio.rezbuild("build", "top")
    samples.edit("top/recipe.py", "def build", "# changed\ndef build")
    out = studio.rezbuild("build", "top").stdout
    assert "1 package installed already from the same inputs" in out
    assert "top-2.0.0: building, the recipe or rezbuild has changed since" in out
    samples.edit("low/recipe.py", "def build", "# changed\ndef build")
    out = studio.rezbuild("build", "top").stdout
    assert "low-1.0.0: building, the recipe or rezbuild has changed since" in out
    assert "top-2.0.0: building, a dependency has changed since" in out


def test_force_rebuilds_the_request_only(studio, samples):
    studio.rezbuild("build", "top")
    out = studio.rezbuild("build", "top", "--force").stdout
    assert "1 package installed already from the same inputs" in out
    assert "top-2.0.0: building, --force is given" in out


def test_package_records_its_source(studio, samples):
    studio.rezbuild("build", "top")
    text = (studio.local / "top/2.0.0/package.py").read_text()
    assert "https://upstream.invalid/top-2.0.0.tar.gz" in text
    assert "'profile': 'fast'" in text
    # Intermediate values of package.py are not in the installed package.
    assert "import rezbuild" not in text
    assert sys.executable not in text


def test_paths_with_spaces_work(tmp_path):
    """The paths of clone and repository have spaces, in which make itself cannot work."""
    studio = Studio(tmp_path / "a studio")
    samples = Samples(tmp_path / "some samples")
    studio.env |= {
        "REZBUILD_MIRRORS": f"'{samples.mirror}'",
        "REZBUILD_CACHE": str(tmp_path / "a cache"),
        "REZBUILD_OFFLINE": "1",
    }
    studio.rezbuild("build", "top", "--recipes", samples.recipes)
    assert answer(studio) == "42"


def test_failed_step_keeps_the_installed_package(studio, samples):
    studio.rezbuild("build", "top")
    samples.edit(
        "top/recipe.py", "    b.install", "    b.run('sh', '-c', 'echo broken; exit 3')\n#"
    )
    done = studio.rezbuild("build", "top", ok=False)
    assert done.returncode == 7
    assert "exit code 3" in done.stderr
    assert "    broken" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert answer(studio) == "42"


def test_failed_audit_installs_nothing(studio, samples):
    studio.rezbuild("build", "top")
    link = "\n    (b.payload / 'bin/link').symlink_to('/usr/bin/env')\n"
    samples.edit("top/recipe.py", '"install")\n', '"install")' + link)
    done = studio.rezbuild("build", "top", ok=False)
    assert done.returncode == 9
    assert "link-absolute: bin/link" in done.stderr
    assert answer(studio) == "42"


def test_failure_of_rez_keeps_the_installed_package(studio, samples):
    """Rez deletes the variant if a pre_install test fails."""
    studio.rezbuild("build", "top")
    add_test(samples, "false")
    done = studio.rezbuild("build", "top", ok=False)
    assert done.returncode == 11
    assert "ended with exit code" in done.stderr
    assert "read all output of rez-build: " in done.stderr
    assert answer(studio) == "42"
    assert not list_staged(studio)


def add_test(samples: Samples, command: str) -> None:
    """Add a test of ``top`` that Rez runs before it installs the package."""
    test = {"command": command, "run_on": "pre_install"}
    samples.edit(
        "top/package.py", "define(globals())", f"tests = {{'one': {test}}}\ndefine(globals())"
    )


@pytest.mark.parametrize("phase", ["build", "install"])
@pytest.mark.parametrize(
    ("whom", "number"),
    [
        ("all", signal.SIGKILL),
        ("rezbuild alone", signal.SIGTERM),
        pytest.param("all", signal.SIGTERM, marks=pytest.mark.matrix),
        pytest.param("rezbuild alone", signal.SIGKILL, marks=pytest.mark.matrix),
    ],
)
def test_killed_build_keeps_the_installed_package(studio, samples, tmp_path, phase, number, whom):
    studio.rezbuild("build", "top")
    ready = tmp_path / "ready"
    if phase == "build":
        old, new = (
            "    b.install",
            f"    b.run('sh', '-c', 'touch {ready}; sleep 30')\n    b.install",
        )
        samples.edit("top/recipe.py", old, new)
    else:
        add_test(samples, f"touch {ready}; test -e {ready}.quick || sleep 30")
    argv = [sys.executable, "-m", "rezbuild", "build", "top"]
    with subprocess.Popen(
        argv, env=studio.env, start_new_session=True, stdout=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 60
        while not ready.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        if whom == "all":
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
    assert ready.exists()
    if number == signal.SIGTERM:
        # Its child processes have ended too.
        assert processes_in(tmp_path) == []
    if phase == "build":
        # A process may end a moment later, but long before its 30 seconds are over.
        assert_processes_end(tmp_path)
    assert answer(studio) == "42"
    if phase == "build":
        samples.edit("top/recipe.py", new, old)
    else:
        # The inputs are equal, but Rez's test passes now.
        ready.with_suffix(".quick").touch()
    # The next run repairs the interrupted swap.
    assert "ready: rez-env top==2.0.0" in studio.rezbuild("build", "top").stdout
    assert answer(studio) == "42"
    variant = root(studio, "top", "2.0.0")
    assert [path.name for path in variant.parent.iterdir()] == [variant.name]
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def assert_processes_end(folder: Path) -> None:
    """Assert that the processes in a folder end soon."""
    deadline = time.monotonic() + 10
    while left := processes_in(folder):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def test_failed_rez_build_keeps_the_installed_package(studio, samples):
    """Rez's own build process would delete the package."""
    studio.rezbuild("build", "top")
    before = contents(studio)
    add_test(samples, "false")
    assert studio.rez("build", "-i", cwd=samples.recipes / "top", ok=False).returncode != 0
    samples.edit("top/recipe.py", "    b.install", "    b.run('false')\n#")
    assert studio.rez("build", "-i", cwd=samples.recipes / "top", ok=False).returncode != 0
    assert contents(studio) == before
    assert not list_staged(studio)
    # This is the purpose of the record.
    local = ("--process", "local")
    assert studio.rez("build", "-i", *local, cwd=samples.recipes / "top", ok=False).returncode != 0
    assert contents(studio) != before


def contents(studio: Studio) -> dict[str, int]:
    """Return the files of ``top`` and their times."""
    folder = studio.local / "top"
    return {str(p.relative_to(folder)): p.lstat().st_mtime_ns for p in folder.rglob("*")}


def test_killed_rez_build_keeps_the_installed_package(studio, samples):
    """``rez-build -i`` is killed several times, each time a little later."""
    studio.rezbuild("build", "top")
    start = "from rez.cli._main import run; run('build')"
    argv = [sys.executable, "-c", start, "-i", "--clean"]
    folder = samples.recipes / "top"
    began = time.monotonic()
    studio.run(*argv, cwd=folder)
    whole = time.monotonic() - began
    moments = 16
    for number in range(moments):
        with subprocess.Popen(
            argv, env=studio.env, cwd=folder, start_new_session=True, stdout=subprocess.DEVNULL
        ) as process:
            # More kills near the end, during the publication.
            time.sleep(whole * (1 - (1 - (number + 1) / moments) ** 2))
            os.killpg(process.pid, signal.SIGKILL)
        assert answer(studio) == "42", f"killed at moment {number}"
        assert not list(studio.local.glob("*/.building*"))
    studio.run(*argv, cwd=folder)
    assert answer(studio) == "42"
    assert not list_staged(studio)


def test_other_packages_use_the_process_of_rez(studio, tmp_path):
    """Such a package may contain its own path."""
    code = "name = 'other'\nversion = '1'\nbuild_command = 'echo $REZ_BUILD_INSTALL_PATH >where; "
    code += "cp where $REZ_BUILD_INSTALL_PATH'\n"
    (tmp_path / "package.py").write_text(code)
    studio.rez("build", "-i", cwd=tmp_path)
    assert (studio.local / "other/1/where").read_text().strip() == str(studio.local / "other/1")


def test_rez_build_scripts_option_changes_no_package(studio, samples):
    """rez-build -s builds nothing; the user builds in the new environment."""
    studio.rezbuild("build", "top")
    studio.rez("build", "-i", "-s", cwd=samples.recipes / "top")
    assert answer(studio) == "42"


def test_build_creates_the_repository(studio, samples, tmp_path):
    """Also with rez-build -p, and for a hidden package."""
    studio.rezbuild("build", "low")
    new = tmp_path / "a new/repository"
    for _ in range(2):
        studio.rez("build", "-i", "-p", new, cwd=samples.recipes / "low")
        assert list(new.glob("low/1.0.0/*/*/lib/liblow.so.1"))
    studio.rez("pkg-ignore", "low-1.0.0", new)
    done = studio.rez("build", "-i", "-p", new, cwd=samples.recipes / "low", ok=False)
    assert done.returncode != 0
    assert "low-1.0.0 is ignored in" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_package_of_that_name_from_others_is_kept(studio, samples):
    """Rez distinguishes packages by their uuid."""
    studio.rezbuild("build", "low")
    definition = studio.local / "low/1.0.0/package.py"
    definition.write_text(definition.read_text().replace("uuid = 'low'", "uuid = 'theirs'"))
    assert "theirs" in definition.read_text()
    done = studio.rez("build", "-i", cwd=samples.recipes / "low", ok=False)
    assert done.returncode != 0
    assert "another package of that name" in done.stdout + done.stderr
    assert "theirs" in definition.read_text()


def test_variant_of_another_host_stays(studio, samples):
    """Its folder and its line in package.py stay when this host's variant is built again."""
    studio.rezbuild("build", "low")
    definition = studio.local / "low/1.0.0/package.py"
    text = definition.read_text()
    other = studio.local / "low/1.0.0/platform-linux/arch-other"
    shutil.copytree(root(studio, "low", "1.0.0"), other)
    both = re.sub(r"(?m)^variants = (\\\n *)?\[", r"\g<0>['platform-linux', 'arch-other'], ", text)
    assert both != text
    definition.write_text(both)
    samples.edit("low/recipe.py", "def build", "# changed\ndef build")
    studio.rezbuild("build", "top")
    assert (other / "lib/liblow.so.1").is_file()
    assert "arch-other" in definition.read_text()
    assert answer(studio) == "42"


def test_leftovers_of_an_unfinished_installation_are_removed(studio, samples):
    """Rez's own process leaves a folder without package.py, and a mark."""
    (studio.local / "low/1.0.0/platform-linux").mkdir(parents=True)
    (studio.local / "low/.building1.0.0").touch()
    studio.rezbuild("build", "top")
    assert answer(studio) == "42"
    assert not list_staged(studio)


def test_wrong_checksum_stops_the_command(studio, samples):
    samples.add("low", "1.1.0", LOW)
    (samples.mirror / "low-1.1.0.tar.gz").write_bytes(b"something else")
    done = studio.rezbuild("build", "low-1", ok=False)
    assert done.returncode == 5
    assert not (studio.local / "low").exists()


def test_newest_available_version_is_built_and_reported(studio, samples):
    samples.add("low", "1.1.0", LOW)
    (samples.mirror / "low-1.1.0.tar.gz").unlink()
    done = studio.rezbuild("build", "low-1")
    assert "low 1.0.0 is behind 1.1.0, which cannot be fetched here" in done.stdout
    assert (studio.local / "low/1.0.0").is_dir()


def bind_host(studio):
    """Create Rez's packages for the host, which `rezbuild build` creates otherwise."""
    for name in ("platform", "arch"):
        studio.rez("bind", "-i", studio.local, name)


def test_rez_build_takes_the_newest_local_source(studio, samples):
    """This works without a network, because the mirror folder lacks the default version."""
    bind_host(studio)
    samples.add("low", "1.0.1", LOW)
    samples.add("low", "1.0.3", LOW)
    samples.add("low", "1.1.0", LOW)
    samples.add("low", "1.0.4", LOW)
    for version in ("1.0.3", "1.0.4"):
        (samples.mirror / f"low-{version}.tar.gz").unlink()
    done = studio.rez("build", "-i", cwd=samples.recipes / "low")
    assert "low 1.0.1 is 3 releases behind 1.0.4\n" in done.stdout
    assert {path.name for path in (studio.local / "low").iterdir() if path.is_dir()} == {"1.0.1"}


def test_rez_build_lists_available_versions_if_the_default_is_not(studio, samples):
    bind_host(studio)
    samples.add("low", "2.0.0", LOW)
    (samples.mirror / "low-2.0.0.tar.gz").unlink()
    done = studio.rez("build", "-i", cwd=samples.recipes / "low", ok=False)
    assert done.returncode != 0
    assert "the source archive of low 2.0.0 could not be downloaded" in done.stderr
    assert "(1.0.0): REZBUILD_LOW_VERSION=1.0.0\n" in done.stderr
    studio.rez("build", "-i", cwd=samples.recipes / "low", REZBUILD_LOW_VERSION="1.0.0")


def test_no_available_version_exits_with_4(studio, samples):
    shutil.rmtree(samples.mirror)
    samples.mirror.mkdir()
    done = studio.rezbuild("build", "top", ok=False)
    assert done.returncode == 4
    assert "REZBUILD_MIRRORS" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_run_option_runs_in_the_new_environment(studio, samples):
    assert studio.rezbuild("build", "top", "--run", "top").stdout.rstrip().endswith("42")
    done = studio.rezbuild("build", "top", "--run", "sh -c 'exit 5'", ok=False)
    assert done.returncode == 11
    assert "exit code 5" in done.stderr


def test_fetched_mirror_is_enough_for_a_build(studio, samples, tmp_path):
    studio.rezbuild("fetch", "--all", "--to", tmp_path / "mirror 2")
    shutil.rmtree(samples.mirror)
    shutil.rmtree(samples.environ["REZBUILD_CACHE"])
    studio.rezbuild("build", "top", REZBUILD_MIRRORS=f"'{tmp_path / 'mirror 2'}'")
    assert answer(studio) == "42"


def test_versions_shows_installed_packages(studio, samples):
    studio.rezbuild("build", "top")
    out = studio.rezbuild("versions", "top").stdout
    assert "2.0.0" in out
    assert "default" in out
    assert f"{studio.local} (fast)" in " ".join(out.split())


# rez-build in the folder of a package.


def test_rez_build_gives_the_same_payload(studio, samples):
    studio.rezbuild("build", "top")
    other = Studio(studio.folder.parent / "other")
    other.env |= {k: v for k, v in studio.env.items() if k.startswith("REZBUILD")}
    for command in ("platform", "arch"):
        other.rez("bind", command)
    poison = {
        "CFLAGS": "-DPOISON -O0 --no-such-option",
        "LDFLAGS": "-L/nowhere -lnothing",
        "CPATH": str(samples.mirror),
        "LD_LIBRARY_PATH": str(samples.mirror),
        "PYTHONHOME": "/nowhere",
        "PYTHONPATH": str(samples.mirror),
        "MAKEFLAGS": "--no-such-flag",
        "CC": "/no/such/compiler",
        "DESTDIR": "/nowhere",
    }
    for name in ("low", "top"):
        other.rez("build", "-i", cwd=samples.recipes / name, **poison)
    assert answer(other) == "42"
    mine, theirs = (root(s, "top", "2.0.0") for s in (studio, other))
    for path in mine.rglob("*"):
        # Rez's own records contain the paths.
        if path.is_file() and path.name not in ("build.rxt", "variant.json"):
            assert path.read_bytes() == (theirs / path.relative_to(mine)).read_bytes(), path


def test_rez_build_without_install_installs_nothing(studio, samples):
    studio.rezbuild("build", "low")
    shutil.rmtree(studio.local / "low")
    studio.rez("build", cwd=samples.recipes / "low")
    assert not (studio.local / "low").exists()


def test_rez_build_prints_an_error_without_traceback(studio, samples):
    for command in ("platform", "arch"):
        studio.rez("bind", command)
    samples.edit("low/recipe.py", "    b.install", "    b.run('false')\n#")
    done = studio.rez("build", "-i", cwd=samples.recipes / "low", ok=False)
    assert done.returncode != 0
    assert "rezbuild: low 1.0.0: false: exit code 1" in done.stderr
    assert "Traceback" not in done.stderr


def test_rez_build_reads_the_version_variable(studio, samples):
    for command in ("platform", "arch"):
        studio.rez("bind", command)
    samples.add("low", "1.1.0", LOW)
    studio.rez("build", "-i", cwd=samples.recipes / "low", REZBUILD_LOW_VERSION="1.0.0")
    assert [path.name for path in (studio.local / "low").iterdir()] == ["1.0.0"]
    done = studio.rez("build", cwd=samples.recipes / "low", ok=False, REZBUILD_LOW_VERSION="9.9.9")
    assert "low 9.9.9 is not in" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_second_build_waits_and_finds_nothing_to_do(studio, samples):
    """It does not matter which command builds first."""
    studio.rez("bind", "platform")
    studio.rez("bind", "arch")
    argv = [sys.executable, "-m", "rezbuild", "build", "low"]
    both = [
        subprocess.Popen(argv, env=studio.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=120)[0].decode() for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert sum("low-1.0.0: building" in out for out in outputs) == 1, outputs
    assert sum("(nothing to do, 1 package installed)" in out for out in outputs) == 1, outputs


def test_repository_behind_a_link_works(studio, samples, tmp_path):
    link = tmp_path / "link"
    studio.local.mkdir()
    link.symlink_to(studio.local)
    studio.env["REZ_LOCAL_PACKAGES_PATH"] = studio.env["REZ_PACKAGES_PATH"] = str(link)
    studio.rezbuild("build", "top")
    out = studio.rezbuild("build", "top").stdout
    assert "(nothing to do, 2 packages installed)" in out


def test_longer_version_is_another_version(studio, samples):
    """As a Rez range, 1.0.0 contains 1.0.0.5."""
    samples.add("low", "1.0.0.5", LOW)
    samples.add("low", "1.0.0", LOW)
    studio.rezbuild("build", "low==1.0.0.5")
    studio.rezbuild("build", "low==1.0.0", "top")
    record = json.loads((root(studio, "top", "2.0.0") / "rezbuild.json").read_text())
    assert record["built_against"] == {"low": "1.0.0"}
    assert "building" not in studio.rezbuild("build", "low==1.0.0", "top").stdout


def test_recipe_change_during_a_build_is_noticed(studio, samples):
    """The record has the old recipe; the next run builds the new one."""
    recipe = samples.recipes / "low/recipe.py"
    change = f"    b.run('sh', '-c', 'echo \"# changed\" >>{recipe}')\n    b.install"
    samples.edit("low/recipe.py", "    b.install", change)
    done = studio.rezbuild("build", "low", ok=False)
    assert done.returncode == 11
    assert "run the command again" in done.stderr


def test_hidden_repository_is_reported(studio, samples):
    studio.rezbuild("build", "low")
    hiding = studio.folder / "hiding"
    shutil.copytree(studio.local, hiding)
    studio.env["REZ_PACKAGES_PATH"] = f"{hiding}:{studio.local}"
    samples.edit("low/recipe.py", "def build", "# changed\ndef build")
    done = studio.rezbuild("build", "low", ok=False)
    assert done.returncode == 11
    assert str(hiding) in done.stderr


def test_foreign_package_of_that_name_is_refused(studio, samples):
    studio.rezbuild("build", "low")
    (root(studio, "low", "1.0.0") / "rezbuild.json").unlink()
    done = studio.rez("build", "-i", cwd=samples.recipes / "top", ok=False)
    assert "rezbuild has built none that Rez finds" in done.stderr


def test_broken_package_is_named(studio, samples):
    studio.rezbuild("build", "low")
    (studio.local / "low/1.0.0/package.py").write_text("name = 'low'\nthis is not Python\n")
    done = studio.rezbuild("build", "low", ok=False)
    assert done.returncode == 11
    assert "low" in done.stderr
    assert "Traceback (most" not in done.stderr.partition("rezbuild: ")[0]


def test_recipe_without_a_file_is_named(studio, samples):
    (samples.recipes / "low/recipe.py").unlink()
    for done in (
        studio.rezbuild("build", "low", ok=False),
        studio.rez("build", cwd=samples.recipes / "low", ok=False),
    ):
        assert "recipe.py cannot be read" in done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr


def test_release_publishes_and_tags(studio, samples, release):
    """The second release does nothing."""
    release("--message", "first")
    assert answer(studio, studio.released) == "42"
    assert not (studio.local / "top").exists()
    text = (studio.released / "top/2.0.0/package.py").read_text()
    assert "'profile': 'optimized'" in text
    assert tags(samples.recipes.parent) == ["low-1.0.0", "top-2.0.0"]
    assert "(nothing to do, 2 packages installed)" in release().stdout


def test_release_into_several_repositories(studio, samples, release, tmp_path):
    """Both targets of the matrix share one tag."""
    commit(samples.recipes.parent, "Recipes")
    file = tmp_path / "matrix.toml"
    file.write_text(
        'repository = "of {profile}"\n'
        '[sets.all]\nrequests = ["top"]\nprofiles = ["fast", "optimized"]\n'
    )
    out = studio.rezbuild("build", "--matrix", file, "--release").stdout
    for profile in ("fast", "optimized"):
        repository = tmp_path / f"of {profile}"
        assert f"top-2.0.0@{profile}: released, " in out
        assert f"ready: rez-env --paths '{repository}' top==2.0.0" in out
        text = (repository / "top/2.0.0/package.py").read_text()
        assert f"'profile': '{profile}'" in text
        assert answer(studio, repository) == "42"
    assert tags(samples.recipes.parent) == ["low-1.0.0", "top-2.0.0"]
    assert not list(studio.released.glob("*"))
    again = studio.rezbuild("build", "--matrix", file, "--release").stdout
    assert again.count("(nothing to do, 4 packages installed)") == 2
    samples.edit("low/recipe.py", "def build", "# Changed.\ndef build")
    commit(samples.recipes.parent, "Changed")
    out = studio.rezbuild("plan", "--matrix", file, "--release").stdout
    assert out.count("rezbuild will refuse it, since it is already released: the recipe") == 2
    done = studio.rezbuild("build", "--matrix", file, "--release", ok=False)
    assert done.stderr.count("is already released, and must be built") == 2


CHECK = """\
def quick(c):
    said = c.run(c.root / "bin/top").stdout.strip()
    yield c.result("answer", said, [] if said == "{answer}" else ["it is wrong"])
"""


@pytest.mark.parametrize("way", ["rezbuild build --release", "rez-release"])
def test_failed_check_releases_nothing(studio, samples, release, way):
    """A test of the package for Rez runs `rezbuild check` on a copy of the payload."""
    (samples.recipes / "top/check.py").write_text(CHECK.format(answer=43))
    done = release(ok=False)
    if way == "rez-release":
        folder, env = samples.recipes / "top", {"REZBUILD_RECIPES": str(samples.recipes)}
        options = ("--message", "by hand")
        done = studio.rez("release", *options, cwd=folder, ok=False, **env)
    assert done.returncode != 0
    assert "FAILED  answer: 42" in done.stdout
    assert not (studio.released / "top/2.0.0").exists()
    assert tags(samples.recipes.parent) == ["low-1.0.0"]
    (samples.recipes / "top/check.py").write_text(CHECK.format(answer=42))
    assert "ok      answer: 42" in release().stdout
    assert tags(samples.recipes.parent) == ["low-1.0.0", "top-2.0.0"]
    assert not [
        *studio.released.glob(".rezbuild/staged/*/*"),
        *studio.released.glob("*/.building*"),
    ]


def test_replace_releases_a_version_again(studio, samples, release):
    """A new process starts either the old or the new package.

    One process may fail: the loader has read the path of the old program, then the folders are
    exchanged, then it searches the old library in the new folder.
    """
    release()
    samples.edit(
        "low/recipe.py", "    b.make", "    b.run('sed', '-i', 's/42/43/', 'low.c')\n    b.make"
    )
    (samples.recipes / "top/check.py").write_text(CHECK.format(answer=44))
    # Packages that are not requested are not replaced.
    done = release("--replace", ok=False)
    assert done.returncode == 11
    assert "low-1.0.0 is already released" in done.stderr
    both = ("top-2", "low-1", "--replace")
    assert release(*both, ok=False).returncode != 0
    assert answer(studio, studio.released) == "42"
    (samples.recipes / "top/check.py").write_text(CHECK.format(answer=43))
    (variant,) = (studio.released / "top/2.0.0").glob("platform-*/arch-*")
    heard: list[str] = []
    over = threading.Event()

    def listen() -> None:
        while not over.is_set():
            done = subprocess.run(variant / "bin/top", capture_output=True, text=True, check=False)
            heard.append(done.stdout.strip() or done.stderr)

    listener = threading.Thread(target=listen)
    listener.start()
    release(*both, "--message", "repaired")
    over.set()
    listener.join()
    others = [text for text in heard if text not in {"42", "43"}]
    assert len(others) <= 1
    assert all("cannot open shared object file" in text for text in others)
    assert len(heard) > 10
    assert answer(studio, studio.released) == "43"
    assert "repaired" in (studio.released / "top/2.0.0/package.py").read_text()
    assert tags(samples.recipes.parent) == ["low-1.0.0", "top-2.0.0"]
    assert studio.rezbuild("build", "top", "--replace", ok=False).returncode == 2


@pytest.mark.matrix
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed_release_is_complete_or_absent(studio, samples, release, tmp_path, number):
    """The kill happens at eight moments; the next run completes the release."""
    release()
    whole = {"42": tree(studio.released / "low")}
    argv = [sys.executable, "-m", "rezbuild", "build", "low", "--release", "--replace"]
    seconds = 0.0
    for turn in range(9):
        had, new = str(42 + turn), str(43 + turn)
        samples.edit("low/recipe.py", "def build(b):", f"def build(b):\n    # {new}")
        commit(samples.recipes.parent, "Recipes")
        began = time.monotonic()
        with subprocess.Popen(
            argv, env=studio.env, stdout=subprocess.DEVNULL, start_new_session=True
        ) as process:
            # The first run is measured without a kill.
            process.wait() if turn == 0 else time.sleep(seconds * turn / 8)
            process.send_signal(number)
        seconds = seconds or time.monotonic() - began
        assert_processes_end(tmp_path)
        found = tree(studio.released / "low")
        studio.in_env(studio.released, "low", "true")
        studio.run(*argv)
        whole[new] = tree(studio.released / "low")
        assert whole[new] != whole[had]
        assert found in (whole[had], whole[new])
        assert not list(studio.released.glob(".rezbuild/staged/*"))
        assert not list(studio.released.glob("*/.building*"))
        assert tags(samples.recipes.parent) == ["low-1.0.0", "top-2.0.0"]


def test_older_version_is_released_after_a_newer_one(studio, samples, release):
    release()
    samples.add("top", "1.9.0", TOP, requires='"low-1"')
    release("top-1.9")
    by_hand = ("--no-latest", "--message", "backport")
    samples.add("top", "1.8.0", TOP, requires='"low-1"')
    commit(samples.recipes.parent, "top 1.8.0")
    env = {"REZBUILD_RECIPES": str(samples.recipes), "REZBUILD_TOP_VERSION": "1.8.0"}
    studio.rez("release", *by_hand, cwd=samples.recipes / "top", **env)
    found = sorted(path.name for path in (studio.released / "top").iterdir())
    assert found == ["1.8.0", "1.9.0", "2.0.0"]
    assert tags(samples.recipes.parent) == ["low-1.0.0", "top-1.8.0", "top-1.9.0", "top-2.0.0"]


def test_released_package_records_its_source(studio, samples, release):
    """The changelog is limited and contains only changes of this package."""
    release()
    for number in range(15):
        samples.edit("top/recipe.py", "def build", f"# change {number}\ndef build")
        commit(samples.recipes.parent, f"top, change {number}")
        (samples.recipes / "other").write_text(str(number))
        commit(samples.recipes.parent, f"other, change {number}")
    samples.add("top", "2.1.0", TOP, requires='"low-1"')
    release("--message", "the new one")
    code = "from rez.packages import get_package_from_repository as get; import json, sys\n"
    code += "p = get('top', '2.1.0', sys.argv[1])\n"
    code += "print(json.dumps([p.built_from, p.changelog, p.release_message]))"
    found = studio.run(sys.executable, "-c", code, studio.released).stdout
    built_from, changelog, message = json.loads(found.splitlines()[-1])
    assert built_from["url"] == "https://upstream.invalid/top-2.1.0.tar.gz"
    assert len(built_from["sha256"]) == 64
    assert len(built_from["recipe"]) == 16
    assert message == "the new one"
    assert "top, change 14" in changelog
    assert "other, change" not in changelog
    assert changelog.count("commit ") == 10


@pytest.mark.parametrize("change", ["recipe", "profile", "force"])
def test_released_version_is_never_replaced_without_the_option(studio, samples, release, change):
    """Rez would overwrite it, and delete it if the build fails."""
    release()
    payload = studio.released / "top/2.0.0"
    before = {p: p.lstat().st_mtime_ns for p in payload.rglob("*")}
    if change == "recipe":
        samples.edit("top/recipe.py", "    b.install", "    b.run('false')\n#")
        done = release(ok=False)
    elif change == "profile":
        done = release("--profile", "fast", ok=False)
    else:
        done = release("--force", ok=False)
    assert done.returncode == 11
    assert "is already released, and must be built" in done.stderr
    assert {p: p.lstat().st_mtime_ns for p in payload.rglob("*")} == before
    assert answer(studio, studio.released) == "42"


def test_fast_profile_is_not_reused_for_a_release(studio, samples, release):
    """A fast variant was copied into the release repository."""
    studio.rezbuild("build", "top")
    shutil.copytree(studio.local, studio.released, dirs_exist_ok=True)
    done = release(ok=False)
    assert done.returncode == 11
    assert "is fast, not optimized" in done.stderr
