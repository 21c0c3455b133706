"""`rezbuild bench` on the Python of the tests, and on a payload made of it."""

from __future__ import annotations

import json
import re
import shutil
import sys
import venv
from pathlib import Path
from xml.etree import ElementTree as ET

import json_page
import pytest
from host_tools import needs_tool

from rezbuild import bench
from rezbuild.bench import counts, interpreters, native, output, picture, report_format, start
from rezbuild.bench.interpreters import Interpreter
from rezbuild.bench.numbers import Measurement
from rezbuild.cli import main
from rezbuild.errors import CheckError, MachineError, UsageError
from rezbuild.reporter import Reporter

WITH_STRACE = needs_tool("strace")
SVG = "{http://www.w3.org/2000/svg}"
VERSION = ".".join(map(str, sys.version_info[:3]))


@pytest.fixture
def payload(tmp_path: Path) -> Path:
    """Make a virtual environment that looks like a payload: it can be copied and run."""
    root = tmp_path / "payload"
    venv.create(root, symlinks=True)
    (root / "rezbuild.json").write_text('{"name": "python", "version": "1.0", "profile": "fast"}')
    return root


def run(capfd, *argv: str | Path) -> tuple[int, str, str]:
    status = main.main(["bench", *map(str, argv)])
    return status, *capfd.readouterr()


@WITH_STRACE
def test_interpreter_against_itself_has_ratio_one(capfd, tmp_path):
    data, svg = tmp_path / "data.json", tmp_path / "ratios.svg"
    status, out, err = run(
        capfd,
        *(sys.executable, "--against", sys.executable, "--only", "start,calls,latency"),
        *("--rounds", "2", "--json", data, "--svg", svg),
    )
    assert status == 0
    assert "start: time of a start, 2 rounds" in err
    assert re.search(r"calls +pass, all +(\d+) +\1 +1\.000", out)
    found = {(m["part"], m["name"]): m for m in json_page.read(data.read_text())["measurements"]}
    assert len(found) == 3 * (2 + 2 + 1)
    for (part, _), measurement in found.items():
        first, second = measurement["values"]
        assert len(first) == len(second) == (1 if part == "calls" else 2)
        if part == "calls":
            assert first == second
        else:
            assert 0.2 < measurement["ratio"]["median"] < 5
    assert found["calls", "modules, all"]["values"][0] > found["calls", "pass, all"]["values"][0]
    # Each of the calls took a millisecond more.
    slow, calls = found["latency", "pass, wall"], found["calls", "pass, all"]
    assert min(slow["values"][0]) > calls["values"][0][0] * 0.001
    assert ET.parse(svg).getroot().tag == f"{SVG}svg"


def test_each_native_library_does_its_work(capfd):
    argv = (sys.executable, "--only", "native", "--rounds", "1", "--json", "-")
    status, out, err = run(capfd, *argv)
    assert status == 0
    assert "left out" not in err
    measured = json_page.read(out)["measurements"]
    assert [m["name"] for m in measured] == list(native.CASES)
    assert all(m["part"] == "native" and m["values"][0][0] > 0 for m in measured)


def test_memory_of_an_interpreter_against_itself_is_equal(capfd):
    status, out, _ = run(
        capfd,
        *(sys.executable, "--against", sys.executable, "--only", "memory"),
        *("--rounds", "2", "--json", "-"),
    )
    assert status == 0
    found = {m["name"]: m for m in json_page.read(out)["measurements"]}
    assert all(0.8 < m["ratio"]["median"] < 1.25 for m in found.values())
    small, freed = (found[name]["values"][0][0] for name in ("pass", "objects freed"))
    # An object in 40,000 stays in each arena, so most of the memory stays.
    assert 2e6 < small < 5e7 < freed


def test_payload_is_copied_before_it_is_measured(payload, tmp_path):
    here = interpreters.find("mine", payload)
    assert (here.root, here.version) == (payload, VERSION)
    assert here.facts["profile"] == "fast"
    copy = interpreters.copy_payload(here, tmp_path / "elsewhere")
    assert copy.python == tmp_path / "elsewhere/bin/python3"
    shutil.rmtree(payload)
    start.warm_up([copy], f"import sys; assert sys.prefix == {str(copy.root)!r}")


def test_program_of_a_payload_means_the_payload(payload):
    assert interpreters.find("mine", payload / "bin/python3").root == payload


def test_other_interpreter_is_not_copied(tmp_path):
    here = interpreters.find("mine", Path(sys.executable))
    assert here.root is None
    assert interpreters.copy_payload(here, tmp_path / "elsewhere") == here


def test_payload_size_is_exact(payload):
    shutil.rmtree(payload)
    (payload / "a").mkdir(parents=True)
    (payload / "a/file").write_bytes(b"12345")
    (payload / "a/link").symlink_to("file")
    (payload / "folder").symlink_to("a")
    assert counts.measure_tree(payload) == (5 + 4 + 1, 3)


def test_host_python_has_no_size(capfd, payload):
    status, out, _ = run(capfd, payload, "--against", sys.executable, "--only", "size")
    assert status == 0
    assert [line.split()[-1] for line in out.splitlines() if " files " in line] == ["-"]
    status, _, err = run(capfd, sys.executable, "--only", "size")
    assert status == 10
    assert "no measurement succeeded" in err
    assert f"tried: size: {sys.executable} is not a payload" in err


def test_json_is_the_only_output(capfd, payload):
    status, out, _ = run(capfd, payload, "--only", "size", "--json", "-")
    data = json_page.read(out)
    assert status == 0
    assert data["interpreters"][0]["profile"] == "fast"
    assert data["interpreters"][0]["moved"] is True
    assert {"cpu", "cores", "kernel", "glibc", "load", "system", "time"} == set(data["machine"])
    assert data["measurements"][1]["unit"] == "files"


def test_other_parts_run_without_strace(capfd, payload, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    status, out, err = run(capfd, payload, "--only", "calls,latency,size")
    assert status == 0
    assert "left out: calls: strace is not installed; install it: apt-get" in err
    assert "Left out: latency: strace is not installed" in out
    status, _, err = run(capfd, payload, "--only", "calls")
    assert status == 10
    assert "tried: calls: strace is not installed" in err


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (("/no/such/python",), 2, "/no/such/python does not exist"),
        (("/etc",), 2, "/etc/bin/python3 does not exist"),
        (("/bin/true",), 2, "/bin/true does not run as Python here"),
        (("/etc/passwd",), 2, "Permission denied"),
        ((sys.executable, "--against", "/no/such"), 2, "/no/such does not exist"),
        ((sys.executable, "--only", "start,speed"), 2, "--only: unknown part speed"),
        ((sys.executable, "--json", "/no/such/file"), 10, "/no/such/file cannot be written"),
        ((sys.executable, "--svg", "/tmp", "--against", sys.executable), 10, "cannot be written"),
    ],
)
def test_errors_come_before_the_measurement(capfd, argv, code, words):
    status, _, err = run(capfd, *argv)
    assert (status, words in err, "...\n" in err) == (code, True, False), err
    assert "next:" in err


def test_picture_without_results_is_refused():
    with pytest.raises(UsageError, match="--svg needs a second interpreter"):
        output.Output(picture=Path("x.svg")).check(compared=False)


def test_failed_command_is_named():
    this = interpreters.find("this one", Path(sys.executable))
    with pytest.raises(CheckError, match="this one fails on 'import nonsense': ModuleNotFound"):
        start.warm_up([this], "import nonsense")
    with pytest.raises(CheckError, match="failed while it was measured"):
        start.time_process([sys.executable, "-c", "exit(3)"])


def test_host_python_has_the_same_series():
    known = Interpreter("mine", Path("/x"), None, {"version": "3.99.1"})
    assert interpreters.find_on_host(known) is None
    expected = shutil.which("python3", path=interpreters.toolchain.SYSTEM_PATH)
    if expected is None:
        pytest.skip("the host has no Python of its own")
    theirs = interpreters.find(expected, Path(expected))
    again = interpreters.find_on_host(theirs)
    assert again is None or again.version == theirs.version


def test_no_possible_part_exits_with_10(capfd):
    this = interpreters.find("x", Path(sys.executable))
    with pytest.raises(MachineError, match="no measurement succeeded"):
        bench.bench(this, None, bench.Options(Path("/nowhere"), ()), print)


@pytest.fixture
def report() -> bench.Report:
    names = [Interpreter(label, Path("/x"), None, {"version": "3.11.2"}) for label in ("a", '<&">')]
    measurements = (
        Measurement("start", "pass, wall", "s", (0.010, 0.012, 0.011), (0.02, 0.02, 0.02)),
        Measurement("calls", "pass, all", "calls", (105.0,), (137.0,)),
        Measurement("calls", "pass, failed", "calls", (3.0,), (0.0,)),
        Measurement("size", "bytes", "bytes", (84_500_000.0,)),
        Measurement("suite", "nbody", "s", (0.0000021,) * 2, (0.0000007,) * 2),
    )
    facts = {"cpu": "fast <one>", "cores": 2, "load": [0.5], "kernel": "6.1", "glibc": "2.36",
             "system": "Debian"}  # fmt: skip
    return bench.Report(tuple(names), facts, measurements, (("suite: dask", "too old"),))


def test_table_shows_ratios(capfd, report):
    output.Output().write(report, Reporter())
    lines = [line.split() for line in capfd.readouterr().out.splitlines() if line.strip()]
    assert lines[0] == ["part", "measurement", "a", "(3.11.2)", '<&">', "(3.11.2)", "ratio"]
    assert lines[1] == [
        "start",
        "pass,",
        "wall",
        "11",
        "ms",
        "20",
        "ms",
        "0.550",
        "[0.500,",
        "0.600]",
    ]
    assert lines[2] == ["calls", "pass,", "all", "105", "137", "0.766"]
    assert lines[3] == ["pass,", "failed", "3", "0", "-"]
    assert lines[4] == ["size", "bytes", "84.5", "MB", "-", "-"]
    assert lines[5] == ["suite", "nbody", "2.1", "us", "700", "ns", "3.000"]
    assert lines[-1] == ["Left", "out:", "suite:", "dask:", "too", "old"]


def test_single_interpreter_has_its_own_interval(capfd, report):
    alone = [Measurement(m.part, m.name, m.unit, m.first) for m in report.measurements]
    one = bench.Report(report.interpreters[:1], report.machine, tuple(alone), ())
    output.Output().write(one, Reporter())
    out = capfd.readouterr().out
    assert "11 ms [10, 12]" in out
    assert "ratio" not in out


def test_picture_has_a_bar_for_each_ratio(report):
    text = picture.svg(report)
    tree = ET.fromstring(text)
    bars = [one for one in tree.iter(f"{SVG}rect") if one.get("height") == "14"]
    assert [one.get("fill") for one in bars] == [picture._LESS, picture._LESS, picture._MORE]
    said = [one.text for one in tree.iter(f"{SVG}text")]
    assert 'a (3.11.2) relative to <&"> (3.11.2)' in said
    assert "0.550 [0.500, 0.600]" in said
    assert "start: pass, wall" in said
    assert 'font-family="sans-serif"' in text
    width = float(tree.get("width"))
    for one in bars:
        assert 0 < float(one.get("x")) < float(one.get("x")) + float(one.get("width")) < width


def test_json_contains_every_number(report):
    data = json.loads(json.dumps(report_format.as_data(report)))
    assert data["measurements"][0]["values"] == [[0.010, 0.012, 0.011], [0.02, 0.02, 0.02]]
    assert data["measurements"][2]["ratio"] is None
    assert data["left_out"] == [{"what": "suite: dask", "why": "too old"}]
