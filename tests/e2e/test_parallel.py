"""``rezbuild build`` with several packages at once: order, jobs, failures, output."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sample_packages import LOW, RECIPE, Samples
from studio import Studio, processes_in
from terminal import Terminal, at_terminal

pytestmark = pytest.mark.e2e

# Wait until all these files exist; each build creates one of them.
MEET = "touch {here}/{name}; for n in $(seq 600); do ls {all} >{here}/out.{name} 2>&1 && exit 0; "
MEET += "sleep 0.05; done; exit 1"


@pytest.fixture
def samples(studio: Studio, tmp_path: Path) -> Samples:
    """Return a studio without packages."""
    samples = Samples(tmp_path / "samples", empty=True)
    studio.env |= samples.environ | {"REZBUILD_JOBS": "2"}
    return samples


def add(samples: Samples, name: str, *requires: str, first: str = "", files: str = "") -> None:
    """Add a package whose build runs a command first; by default it has one library."""
    samples.add(name, "1.0.0", LOW, requires=", ".join(f'"{r}-1"' for r in requires))
    code = f'    b.run("sh", "-c", {first!r})\n' if first else ""
    (samples.recipes / name / "recipe.py").write_text(
        RECIPE.replace("    b.make", code + "    b.make")
    )
    if files:
        path = samples.recipes / name / "Makefile.jobs"
        path.write_text(files)
        call = f'    b.make("-f", {str(path)!r})\n'
        samples.edit(f"{name}/recipe.py", "    b.install", call + "    b.install")


def wait_for_builds(folder: Path, name: str, *names: str) -> str:
    """Return a command that succeeds when the builds of all ``names`` have reached it."""
    there = " ".join(str(folder / other) for other in names)
    return MEET.format(here=folder, name=name, all=there)


def list_installed(studio: Studio) -> set[str]:
    """Return the names of our packages in the repository."""
    return {path.parts[-5] for path in studio.local.glob("*/*/platform-*/arch-*/rezbuild.json")}


def test_independent_packages_build_at_once(studio, samples, tmp_path):
    for name in ("one", "two"):
        add(samples, name, first=wait_for_builds(tmp_path, name, "one", "two"))
    add(samples, "both", "one", "two", first="test -d /")
    out = studio.rezbuild("build", "both").stdout
    assert list_installed(studio) == {"one", "two", "both"}
    both = out.index("both-1.0.0: building")
    for name in ("one", "two"):
        assert out.index(f"{name}-1.0.0: installed, ") < both


def test_output_lines_are_complete_and_named(studio, samples, tmp_path):
    """stdout is a pipe, not a terminal."""
    for name in ("one", "two"):
        add(samples, name, first=wait_for_builds(tmp_path, name, "one", "two"))
    out = studio.rezbuild("build", "one", "two").stdout
    for name in ("one", "two"):
        for step in ("01-sh", "02-make", "03-make-install"):
            assert re.search(rf"(?m)^{name}-1\.0\.0: {step} \.\.\. \d+ s$", out), out
        (log,) = (samples.recipes / name).glob("build/1.0.0-fast/rez.log")
        assert "Building" in log.read_text()
    assert "\x1b" not in out
    assert all(
        re.match(r"(\w+-\S+: |notice: |timeline: |ready: )", line) for line in out.splitlines()
    ), out


JOBS = "names = {names}\nall: $(names)\n$(names):\n"
JOBS += "\t@echo + >>{log}; sleep 0.6; echo - >>{log}\n"


@pytest.mark.parametrize(("packages", "jobs"), [(3, 2), (2, 4), (1, 3)])
def test_all_makes_share_the_jobs(studio, samples, tmp_path, packages, jobs):
    """The targets of a real make report their start and end."""
    log = tmp_path / "jobs"
    names = [f"sample{number}" for number in range(packages)]
    for name in names:
        targets = " ".join(f"job{number}" for number in range(8))
        add(samples, name, files=JOBS.format(names=targets, log=log))
    studio.rezbuild("build", *names, REZBUILD_JOBS=str(jobs))
    now = most = 0
    for sign in log.read_text().split():
        now += 1 if sign == "+" else -1
        most = max(most, now)
    assert len(log.read_text().split()) == packages * 8 * 2
    assert most == jobs
    for path in samples.recipes.glob("*/build/*/*/*/logs/*make*.log"):
        assert "jobserver" not in path.read_text(), path


def test_jobs_of_a_killed_make_return(studio, samples, tmp_path):
    """The killed make had all tokens; the next build still has one."""
    makefile = "all: a b\na b:\n\t@sleep 0.5; kill -9 $$PPID; sleep 1\n"
    add(samples, "one", files=makefile)
    add(samples, "two")
    add(samples, "three")
    done = studio.rezbuild("build", "one", "two", "three", ok=False)
    assert done.returncode == 7
    assert "killed by signal 9" in done.stderr
    assert list_installed(studio) == {"two", "three"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_killed_rez_build_stops_no_other(studio, samples, tmp_path, number):
    add(samples, "one", first="sleep 40")
    add(samples, "two", first=f"touch {tmp_path}/ready; sleep 3")
    argv = [sys.executable, "-m", "rezbuild", "build", "one", "two"]
    with subprocess.Popen(
        argv, env=studio.env, start_new_session=True, stderr=subprocess.PIPE, text=True
    ) as process:
        while not ((tmp_path / "ready").exists() and "sleep 40 " in processes_in(tmp_path)):
            time.sleep(0.05)
        os.kill(rez_of(samples.recipes / "one"), number)
        error = process.communicate()[1]
    assert process.returncode == 11
    assert "rez-build of one-1.0.0 ended with exit code" in error
    assert list_installed(studio) == {"two"}
    assert processes_in(tmp_path) == []


def rez_of(recipe: Path) -> int:
    """Return the process of Rez that builds a recipe."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if "rez.cli" in path.read_text() and path.with_name("cwd").readlink() == recipe:
                found.append(int(path.parent.name))
    (pid,) = found
    return pid


def test_failure_skips_only_dependents(studio, samples, tmp_path):
    add(samples, "bad", first="echo broken; exit 3")
    add(samples, "good", first="sleep 1")
    add(samples, "later", "good")
    add(samples, "victim", "bad", "good")
    add(samples, "last", "victim")
    done = studio.rezbuild("build", "last", "later", ok=False)
    assert list_installed(studio) == {"good", "later"}
    assert done.returncode == 7
    for name in ("victim", "last"):
        assert f"{name}-1.0.0: skipped, it needs bad-1.0.0" in done.stdout
    assert "ready:" not in done.stdout
    # A single failure gives the same message as a build of one package.
    assert re.search(r"\nrezbuild: bad 1\.0\.0: sh -c .*: exit code 3\. ", done.stderr)
    assert "    broken" in done.stderr
    (told,) = re.findall(r"  next:  read all output of rez-build: (.*)", done.stderr)
    assert "bad 1.0.0 (fast, 2 jobs)" in Path(told).read_text()


def test_all_failures_are_listed(studio, samples, tmp_path):
    for name in ("one", "two"):
        add(
            samples,
            name,
            first=f"({wait_for_builds(tmp_path, name, 'one', 'two')}); echo no {name}; exit 3",
        )
    done = studio.rezbuild("build", "one", "two", ok=False)
    assert done.returncode == 7
    assert "rezbuild: 2 builds failed" in done.stderr
    for name in ("one", "two"):
        assert f"    no {name}" in done.stderr
    assert list_installed(studio) == set()
    samples.edit("two/recipe.py", "    b.make", "    b.payload.mkdir(parents=True)\n    return\n#")
    samples.edit("two/recipe.py", "exit 3", "exit 0")
    link = "    (b.payload / 'link').symlink_to('/usr/bin/env')\n    return\n"
    samples.edit("two/recipe.py", "    return\n", link)
    # Different exit codes give code 1.
    done = studio.rezbuild("build", "one", "two", ok=False)
    assert "link-absolute" in done.stderr
    assert done.returncode == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("whom", ["all", "rezbuild alone"])
def test_interrupted_run_leaves_nothing(studio, samples, tmp_path, number, whom):
    sleep = "; setsid sleep 40 & sleep 40"
    for name in ("one", "two"):
        add(samples, name, first=f"touch {tmp_path}/{name}{sleep}")
    add(samples, "both", "one", "two")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    argv = [sys.executable, "-m", "rezbuild", "build", "both"]
    env = {**studio.env, "TMPDIR": str(scratch)}
    with subprocess.Popen(
        argv,
        env=env,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        # Background processes ignore this signal.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    ) as process:
        deadline = time.monotonic() + 60
        while not all((tmp_path / name).exists() for name in ("one", "two")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        began = time.monotonic()
        if whom == "all":
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        out = process.communicate()[0].decode()
    assert time.monotonic() - began < 10
    assert process.returncode == 130, out
    assert "rezbuild: interrupted" in out
    assert "Traceback" not in out
    assert processes_in(tmp_path) == []
    assert list_installed(studio) == set()
    assert not list(studio.local.glob("*/.building*"))
    assert not list(scratch.glob("rezbuild-*/jobs"))


def test_terminal_shows_a_table(studio, samples, tmp_path):
    for name in ("one", "two"):
        add(samples, name, first=wait_for_builds(tmp_path, name, "one", "two", "go"))
    env = at_terminal(studio.env)
    with Terminal([sys.executable, "-m", "rezbuild", "build", "one", "two"], env) as terminal:

        def both(lines: list[str]) -> bool:
            rows = [
                line for line in lines if re.match(r"(one|two)-1\.0\.0 +\d+ s  01-sh \.\.\. ", line)
            ]
            return len(rows) == 2 and lines[-1].startswith("0 of 2 packages  ")

        terminal.until(both, "the table")
        (tmp_path / "go").touch()
        terminal.until(lambda lines: lines[-1] == "ready: rez-env one==1.0.0 two==1.0.0", "ready")
        shown = "\n".join(terminal.lines())
    assert " left" not in shown
    assert "01-sh" not in shown
    for name in ("one", "two"):
        assert re.search(rf"(?m)^{name}-1\.0\.0: installed, \d+ s$", shown)


@pytest.mark.parametrize("setting", [{"TERM": "dumb"}, {"CI": "true"}])
def test_dumb_terminal_shows_lines(studio, samples, setting):
    add(samples, "one")
    env = {**studio.env, "TERM": "xterm", **setting}
    with Terminal([sys.executable, "-m", "rezbuild", "build", "one"], env) as terminal:
        terminal.until(lambda lines: lines[-1].startswith("ready: "), "ready")
        assert "one-1.0.0: 01-make ... 0 s" in terminal.lines()


def test_quiet_build_prints_nothing_and_verbose_build_all_output(studio, samples):
    samples.add("low", "1.0.0", LOW)
    assert studio.rezbuild("build", "low", "-q").stdout == ""
    (record,) = studio.local.glob("low/1.0.0/*/*/rezbuild.json")
    out = studio.rezbuild("build", "low", "--force", "-v").stdout
    assert record.is_file()
    assert "low-1.0.0: Resolving build environment" in out
    assert re.search(r"^low-1\.0\.0:   01-make\S* \.\.\. \d+ s$", out, re.MULTILINE)
