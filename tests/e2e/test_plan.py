"""``rezbuild plan``, ``--matrix`` and the timeline, with builds of a second."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import json_page
import pytest
from sample_packages import LOW, Samples
from studio import Studio
from terminal import Terminal, at_terminal
from trees import tree

pytestmark = pytest.mark.e2e

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def samples(studio: Studio, samples: Samples) -> Samples:
    """Return ``low``, and ``top``, which is built against it."""
    studio.env |= {"REZBUILD_JOBS": "2", "REZBUILD_HOST_LABEL": "box1"}
    return samples


def read_plan(studio: Studio, *argv: str | Path, **env: str) -> dict:
    return json_page.read(studio.rezbuild("plan", "--json", *argv, **env).stdout)


def states(plan: dict) -> dict[str, bool]:
    return {row["job"]: row["built"] for row in plan["jobs"]}


def bars(picture: Path) -> dict[str, set[str]]:
    """Return the states of each job's bars."""
    root = ET.parse(picture).getroot()
    found = {}
    for group in root.iter(f"{SVG}g"):
        kinds = set(group.attrib["class"].split())
        assert "bar" in kinds
        found[group.find(f"{SVG}title").text.partition(":")[0]] = kinds - {"bar"}
    return found


def test_build_follows_the_plan(studio, samples, tmp_path):
    before = tree(tmp_path)
    plan = read_plan(studio, "top")
    assert tree(tmp_path) == before, "a plan does nothing"
    assert states(plan) == {"low-1.0.0": False, "top-2.0.0": False}
    assert plan["critical_path"] == ["low-1.0.0", "top-2.0.0"]
    assert plan["makespan"] == plan["critical_seconds"] == plan["work"] > 0
    assert [row["why"] for row in plan["jobs"]] == ["it is not installed"] * 2
    assert not any(row["known"] for row in plan["jobs"])

    out = studio.rezbuild("build", "top").stdout
    built = re.findall(r"(?m)^(\S+): building, (.*)$", out)
    assert built == [(row["job"], row["why"]) for row in plan["jobs"]]
    plan = read_plan(studio, "top")
    assert states(plan) == {"low-1.0.0": True, "top-2.0.0": True}
    assert plan["makespan"] == 0
    for row in plan["jobs"]:
        assert row["why"].startswith(f"installed in {studio.local}/{row['name']}")

    # Now durations are recorded; the plan names the changed package and its dependents.
    samples.edit("low/recipe.py", "def build", "# Other bytes, the same build.\ndef build")
    plan = read_plan(studio, "top")
    assert [(row["known"], row["why"]) for row in plan["jobs"]] == [
        (True, "the recipe or rezbuild has changed since"),
        (True, "a dependency has changed since"),
    ]
    assert 0 < plan["work"] < 60
    out = studio.rezbuild("build", "top").stdout
    assert re.findall(r"(?m)^(\S+): building, (.*)$", out) == [
        (row["job"], row["why"]) for row in plan["jobs"]
    ]


def test_rebuild_from_the_same_inputs_keeps_dependents(studio, samples):
    studio.rezbuild("build", "top")
    plan = read_plan(studio, "low", "top", "--force")
    assert states(plan) == {"low-1.0.0": False, "top-2.0.0": False}
    plan = read_plan(studio, "low", "--force")
    assert [row["why"] for row in plan["jobs"]] == ["--force is given"]


def test_plan_prints_a_table(studio, samples):
    samples.add("alone", "1.0.0", {"Makefile": "all:\ninstall:\n"})
    out = studio.rezbuild("plan", "top", "alone", "--workers", "1").stdout
    assert re.search(r"(?m)^\* low-1\.0\.0 +~2 s  it is not installed$", out)
    assert re.search(r"(?m)^  alone-1\.0\.0 +~2 s  it is not installed$", out)
    assert "3 packages: 0 already installed, 3 to build" in out
    assert "critical path (*): 4 s: low-1.0.0 → top-2.0.0" in out
    assert "expected with 1 parallel build: 6 s; theoretical minimum: 6 s" in out
    out = studio.rezbuild("plan", "top", "alone").stdout
    assert "expected with 2 parallel builds: 4 s" in out


STRANGERS = """\
import argparse
from pathlib import Path
from rezbuild.cli import plan_arguments
from rezbuild.run import dry_run
from rezbuild.errors import MachineError
from rezbuild.plan.simulate import Worker
from rezbuild.reporter import Reporter
asked = argparse.Namespace(requests=["top"], matrix=None, host=None, profile=None, recipes=None,
                           release=False, replace=False, force=False, message=None, timeline=None,
                           strict=False, locked=None, reporter=Reporter())
with plan_arguments.open_plan(asked, dry_run.make_dry) as (runner, plan):
    try:
        dry_run.examine(runner, plan.steps, [Worker("elsewhere")])
    except MachineError as error:
        print(error, error.advice)
"""


def test_plan_without_suitable_workers_gives_advice(studio, samples):
    """The workers of the farm are gone, or have another rezbuild."""
    said = studio.run(sys.executable, "-c", STRANGERS).stdout
    assert "no worker could build some of the packages: " in said
    assert "--workers N" in said


def test_offline_plan_uses_local_sources(studio, samples):
    samples.add("low", "1.1.0", {"Makefile": ""})
    assert "low-1.1.0" in states(read_plan(studio, "low-1"))
    (samples.mirror / "low-1.1.0.tar.gz").unlink()
    assert states(read_plan(studio, "low-1")) == {"low-1.0.0": False}
    # The address in the catalogue does not resolve.
    assert states(read_plan(studio, "low-1", REZBUILD_OFFLINE="0")) == {"low-1.0.0": False}


def test_plan_and_build_tell_which_version_was_wanted(studio, samples):
    samples.add("low", "1.1.0", LOW)
    (samples.mirror / "low-1.1.0.tar.gz").unlink()
    taken = "low 1.1.0 was wanted, 1.0.0 taken"
    rows = {row["name"]: row for row in read_plan(studio, "top", "low-1")["jobs"]}
    assert {name: row["wanted"] for name, row in rows.items()} == {"low": "1.1.0", "top": ""}
    said = studio.rezbuild("plan", "top", "low-1").stdout.splitlines()
    assert said[-1] == taken
    assert "it is not installed; 1.1.0 cannot be fetched here" in said[0]
    assert studio.rezbuild("build", "top", "low-1", "-q").stdout.splitlines()[-1] == taken


def test_strict_plan_and_build_refuse_another_version(studio, samples):
    samples.add("low", "1.1.0", LOW)
    source = samples.mirror / "low-1.1.0.tar.gz"
    archive = source.read_bytes()
    source.unlink()
    for command in ("plan", "build"):
        done = studio.rezbuild(command, "low-1", "--strict", ok=False)
        assert (done.returncode, "building" in done.stdout) == (4, False)
        assert "1 wanted version cannot be fetched here" in done.stderr
        assert "  tried: low 1.1.0: " in done.stderr
        assert "rezbuild fetch low-1.1.0 --to DIR" in done.stderr
    source.write_bytes(archive)
    assert "wanted" not in studio.rezbuild("build", "low-1", "--strict").stdout


def test_plan_says_which_build_will_fail_without_its_source(studio, samples):
    """The version is installed, but another compiler or dependency means a new build."""
    studio.rezbuild("build", "top")
    (samples.mirror / "low-1.0.0.tar.gz").unlink()
    shutil.rmtree(Path(samples.environ["REZBUILD_CACHE"]) / "sources")
    profile = {"REZBUILD_PROFILE": "optimized"}
    rows = {row["name"]: row for row in read_plan(studio, "top", **profile)["jobs"]}
    assert rows["low"]["why"].startswith("the build will fail: the source archive of low 1.0.0")
    assert "fail" not in rows["top"]["why"]
    assert studio.rezbuild("build", "top", ok=False, **profile).returncode == 4


def test_plan_uses_the_store(studio, samples, tmp_path):
    studio.env |= {"REZBUILD_STORE": str(tmp_path / "store")}
    (tmp_path / "store").mkdir()
    studio.rezbuild("build", "low")
    other = {
        "REZ_LOCAL_PACKAGES_PATH": str(tmp_path / "b"),
        "REZ_PACKAGES_PATH": str(tmp_path / "b"),
    }
    plan = read_plan(studio, "top", **other)
    assert {row["job"]: row["stored"] for row in plan["jobs"]} == {
        "low-1.0.0": True,
        "top-2.0.0": False,
    }
    said = studio.rezbuild("plan", "top", **other).stdout
    assert re.search(r"(?m)^\* low-1\.0\.0 +~3 s  it is not installed; the store has it$", said)
    kept = Path(samples.environ["REZBUILD_CACHE"], "durations.json").read_text()
    out = studio.rezbuild("build", "top", **other).stdout
    assert "low-1.0.0: low 1.0.0: taken from the store" in out
    assert bars(Path(re.findall(r"(?m)^timeline: (.*)$", out)[0])) == {
        "low-1.0.0": {"taken", "critical"},
        "top-2.0.0": {"built", "critical"},
    }
    # A restored payload records no duration.
    records = json.loads(Path(samples.environ["REZBUILD_CACHE"], "durations.json").read_text())
    assert json.loads(kept)["builds"][0] in records["builds"]


def test_plan_draws_a_picture(studio, samples, tmp_path):
    studio.rezbuild("plan", "top", "--svg", tmp_path / "plan.svg")
    assert bars(tmp_path / "plan.svg") == {
        "low-1.0.0": {"built", "critical"},
        "top-2.0.0": {"built", "critical"},
    }


# Timelines


def test_run_writes_a_timeline(studio, samples, tmp_path):
    samples.add("bad", "1.0.0", {"Makefile": "all:\n\texit 3\n"})
    done = studio.rezbuild("build", "top", "bad", ok=False)
    (told,) = re.findall(r"(?m)^timeline: (.*)$", done.stdout)
    picture = Path(told)
    assert picture.parent == Path(samples.environ["REZBUILD_CACHE"]) / "timelines"
    assert bars(picture) == {
        "low-1.0.0": {"built", "critical"},
        "top-2.0.0": {"built", "critical"},
        "bad-1.0.0": {"failed"},
    }
    data = json.loads(picture.with_suffix(".json").read_text())
    assert data["critical_path"] == ["low-1.0.0", "top-2.0.0"]
    assert data["rows"] == ["here", "here"]
    times = {bar["job"]: bar for bar in data["bars"]}
    assert times["low-1.0.0"]["ended"] <= times["top-2.0.0"]["began"]
    assert times["bad-1.0.0"]["began"] < times["low-1.0.0"]["ended"]
    # A failed build records no duration.
    kept = json.loads((picture.parents[1] / "durations.json").read_text())["builds"]
    assert {(b["name"], b["profile"], b["host"], b["jobs"]) for b in kept} == {
        (name, "fast", "box1", 2) for name in ("low", "top")
    }
    for build in kept:
        bar = times[f"{build['name']}-{build['version']}"]
        assert build["seconds"] == pytest.approx(bar["ended"] - bar["began"])
    # Nothing was built, so there is no timeline.
    assert "timeline:" not in studio.rezbuild("build", "top").stdout


def test_timeline_option_sets_the_file(studio, samples, tmp_path):
    picture = tmp_path / "run & <more>.svg"
    out = studio.rezbuild("build", "low", "--timeline", picture).stdout
    assert f"timeline: {picture}" in out
    assert set(bars(picture)) == {"low-1.0.0"}
    assert picture.with_suffix(".json").exists()
    for file, code in (("here.txt", 2), ("no/folder/here.svg", 10)):
        done = studio.rezbuild("build", "top", "--timeline", tmp_path / file, ok=False)
        assert done.returncode == code
        assert "building" not in done.stdout


def test_unwritable_records_stop_no_build(studio, samples):
    cache = Path(samples.environ["REZBUILD_CACHE"])
    cache.mkdir()
    (cache / "durations.json").mkdir()
    (cache / "timelines").write_text("in the way")
    out = studio.rezbuild("build", "low").stdout
    assert "low-1.0.0: installed, " in out
    assert "notice: the duration of low-1.0.0 is not recorded" in out
    assert "notice: no timeline was written" in out


def test_plan_fits_a_terminal(studio, samples):
    env = at_terminal(studio.env)
    argv = [sys.executable, "-m", "rezbuild"]
    with Terminal([*argv, "plan", "top"], env) as terminal:
        terminal.until(lambda lines: lines[-1].startswith("expected with 2 parallel"), "a plan")
        assert any(re.match(r"\* top-2\.0\.0 +~2 s  it is not", line) for line in terminal.lines())
    with Terminal([*argv, "build", "top"], env) as terminal:
        terminal.until(lambda lines: lines[-1] == "ready: rez-env top==2.0.0", "ready")
        assert any(line.startswith("timeline: /") for line in terminal.lines())


# Matrices

MATRIX = """\
repository = "out/{profile}"
[sets.one]
requests = ["top"]
profiles = ["fast", "optimized"]
"""


def test_matrix_builds_two_profiles_into_two_repositories(studio, samples, tmp_path):
    file = tmp_path / "matrix.toml"
    file.write_text(MATRIX)
    plan = read_plan(studio, "--matrix", file)
    profiles = ("fast", "optimized")
    jobs = {f"{package}@{p}" for package in ("low-1.0.0", "top-2.0.0") for p in profiles}
    assert states(plan) == dict.fromkeys(jobs, False)
    out = studio.rezbuild("build", "--matrix", file).stdout
    assert set(re.findall(r"(?m)^(\S+): installed, ", out)) == jobs
    assert set(bars(Path(re.findall(r"(?m)^timeline: (.*)$", out)[0]))) == jobs
    for profile in profiles:
        repository = tmp_path / "out" / profile
        assert f"ready: rez-env --paths {repository} top==2.0.0" in out
        for name in ("low", "top"):
            (record,) = repository.glob(f"{name}/*/platform-*/arch-*/rezbuild.json")
            assert json.loads(record.read_text())["profile"] == profile
        assert studio.in_env(repository, "top", "top").stdout == "42\n"
    assert not list(studio.local.glob("*"))
    assert all(states(read_plan(studio, "--matrix", file)).values())
    assert "building" not in studio.rezbuild("build", "--matrix", file).stdout


def test_matrix_builds_shared_packages_one_by_one(studio, samples, tmp_path):
    """Both targets use the same build folder."""
    file = tmp_path / "matrix.toml"
    file.write_text(
        '[sets.a]\nrequests = ["low"]\nrepository = "a"\n'
        '[sets.b]\nrequests = ["low"]\nrepository = "b"\n'
    )
    out = studio.rezbuild("build", "--matrix", file).stdout
    assert "low-1.0.0@b: waiting for another build of it" in out
    for name in ("a", "b"):
        assert list((tmp_path / name).glob("low/1.0.0/platform-*/arch-*/rezbuild.json"))
        assert f"low-1.0.0@{name}: installed, " in out


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("", 3, "matrix.toml: sets: "),
        ("sets = ]", 3, "matrix.toml cannot be read: "),
        ('[sets.one]\nrequests = ["nothing"]', 3, "sets.one.requests: no recipe"),
        ('[sets.one]\nrequests = ["low"]\nhosts = ["box2"]', 2, "builds for box2 are not possible"),
        (
            MATRIX.replace("/{profile}", ""),
            3,
            "sets.one and sets.one: low-1.0.0 would be built twice",
        ),
    ],
)
def test_conflicting_matrix_is_refused(studio, samples, tmp_path, text, code, said):
    file = tmp_path / "matrix.toml"
    file.write_text(text)
    for command in ("build", "plan"):
        done = studio.rezbuild(command, "--matrix", file, ok=False)
        assert done.returncode == code
        assert said in done.stderr
        assert "  next:  " in done.stderr
        assert "building" not in done.stdout


def test_machine_builds_its_part_of_a_matrix(studio, samples, tmp_path):
    file = tmp_path / "matrix.toml"
    file.write_text(MATRIX.replace("{profile}", "{host}/{profile}") + 'hosts = ["box1", "box2"]\n')
    done = studio.rezbuild("plan", "--matrix", file, ok=False)
    assert done.returncode == 2
    assert "kind of host only: --host box1" in done.stderr
    plan = read_plan(studio, "--matrix", file, "--host", "box1")
    assert {row["host"] for row in plan["jobs"]} == {"box1"}
    assert studio.rezbuild("plan", "--matrix", file, "--host", "no", ok=False).returncode == 2
    other = read_plan(studio, "--matrix", file, "--host", "box2", REZBUILD_HOST_LABEL="box2")
    assert {row["repository"] for row in other["jobs"]} == {
        str(tmp_path / "out/box2" / profile) for profile in ("fast", "optimized")
    }


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["low", "--matrix", "FILE"],
        ["--matrix", "FILE", "--run", "true"],
        ["low", "--host", "box1"],
    ],
)
def test_conflicting_options_are_refused(studio, samples, tmp_path, argv):
    (tmp_path / "FILE").write_text(MATRIX)
    words = [str(tmp_path / word) if word == "FILE" else word for word in argv]
    done = studio.rezbuild("build", *words, ok=False)
    assert done.returncode == 2
    assert done.stdout == ""
