"""The quickest benchmarks of pyperformance, on the Python of the tests."""

from __future__ import annotations

import re
import sys
import zipfile
from pathlib import Path

import pytest

from rezbuild import bench
from rezbuild.bench import interpreters, suite
from rezbuild.bench.interpreters import Interpreter
from rezbuild.bench.numbers import Measurement
from rezbuild.bench.suite import Benchmark, Suite
from rezbuild.cli import main
from rezbuild.errors import CheckError, MachineError, RezbuildError
from rezbuild.util import extras


@pytest.fixture
def found(tmp_path: Path) -> Suite:
    pytest.importorskip("pyperformance")
    (tmp_path / "suite").mkdir()
    return Suite(tmp_path / "suite", tmp_path / "cache")


@pytest.fixture(scope="module")
def this_interpreter() -> Interpreter:
    return interpreters.find("this", Path(sys.executable))


def script(found: Suite, code: str, **options) -> Benchmark:
    path = found.scratch / f"script-{len(list(found.scratch.iterdir()))}.py"
    path.write_text("import pyperf\nrunner = pyperf.Runner()\n" + code)
    defaults = {"options": (), "needs": (3, 0), "requirements": found.scratch / "none"}
    return Benchmark("mine", path, **{**defaults, **options})


def test_default_benchmarks_are_in_pyperformance(found):
    assert sorted(one.name for one in found.benchmarks(full=False)) == sorted(suite.DEFAULT)
    assert not any(one.requirements.exists() for one in found.benchmarks(full=False))


def test_full_suite_lists_all_benchmarks(found):
    every = {one.name: one for one in found.benchmarks(full=True)}
    assert len(every) > 60
    assert all(one.script.is_file() for one in every.values())
    assert every["async_tree_io_tg"].needs == (3, 11)
    assert every["pickle_list"].script.parent.name == "bm_pickle"
    assert "list" in " ".join(every["pickle_list"].options)


def test_real_benchmark_against_itself_runs(found, this_interpreter):
    (one,) = (one for one in found.benchmarks(full=True) if one.name == "richards")
    (measured,) = found.measure(one, [this_interpreter, this_interpreter], 2)
    assert (measured.name, measured.unit) == ("richards", "s")
    assert len(measured.first) == len(measured.second) == 2
    assert 0.2 < measured.ratio.median < 5


def test_script_with_several_benchmarks_runs(found, this_interpreter):
    code = "runner.timeit('a', '1')\nrunner.timeit('b', 'sum(range(1000))')\n"
    a, b = found.measure(script(found, code), [this_interpreter], 1)
    assert (a.name, b.name) == ("a", "b")
    assert a.first < b.first


def test_caller_environment_does_not_reach_a_benchmark(found, this_interpreter, monkeypatch):
    monkeypatch.setenv("LD_LIBRARY_PATH", "/leaked")
    code = "import os\nassert 'LD_LIBRARY_PATH' not in os.environ\nrunner.timeit('a', '1')\n"
    assert len(list(found.measure(script(found, code), [this_interpreter], 1))) == 1


def test_benchmark_that_cannot_run_is_skipped(found, this_interpreter):
    told: list[tuple[str, RezbuildError]] = []
    found.benchmarks = lambda full: [  # the real list takes minutes
        script(found, "raise SystemExit('broken')"),
        script(found, "", needs=(4, 0)),
    ]
    ran = suite.measure_all(
        found, [this_interpreter], 1, full=True, left_out=lambda *both: told.append(both)
    )
    assert list(ran) == []
    assert [str(error) for _, error in told] == [
        "this fails: broken",
        "it needs Python 4.0",
    ]


def wheel(folder: Path) -> Path:
    """Make a wheel of one module, which pip installs without an index."""
    path = folder / "benched-1-py3-none-any.whl"
    info = "benched-1.dist-info"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("benched.py", "answer = 42\n")
        file.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: benched\nVersion: 1\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")
    return path


def test_dependencies_of_benchmarks_are_installed_once(found, this_interpreter, tmp_path):
    listed = tmp_path / "requirements.txt"
    listed.write_text(f"{wheel(tmp_path)}\n")
    code = "import benched\nrunner.timeit('a', str(benched.answer))\n"
    one = script(found, code, requirements=listed)
    assert len(list(found.measure(one, [this_interpreter], 1))) == 1
    (folder,) = (found.cache / this_interpreter.tag).iterdir()
    before = folder.stat().st_mtime_ns
    assert len(list(found.measure(one, [this_interpreter], 1))) == 1
    assert folder.stat().st_mtime_ns == before


def test_failed_installation_is_reported(found, this_interpreter, tmp_path):
    listed = tmp_path / "requirements.txt"
    listed.write_text("/no/such/package\n")
    with pytest.raises(MachineError, match=r"pip cannot install the requirements: .*no/such"):
        list(found.measure(script(found, "", requirements=listed), [this_interpreter], 1))
    assert list((found.cache / this_interpreter.tag).iterdir()) == []


def test_failed_benchmark_is_named(found, this_interpreter):
    with pytest.raises(CheckError, match=r"this fails: .*nonsense"):
        list(found.measure(script(found, "import nonsense"), [this_interpreter], 1))


def test_mean_is_geometric_per_round():
    mean = suite.geometric_means(
        [
            Measurement("suite", "a", "s", (1.0, 2.0), (4.0, 8.0)),
            Measurement("suite", "b", "s", (4.0, 8.0), (1.0, 8.0)),
        ]
    )
    assert mean.first == pytest.approx((2.0, 4.0))
    assert mean.second == pytest.approx((2.0, 8.0))
    assert mean.ratio.low == pytest.approx(0.5)


def test_second_mean_leaves_benchmarks_out():
    found = [
        Measurement("suite", "chaos", "s", (1.0,), (2.0,)),
        Measurement("suite", "scimark_fft", "s", (8.0,), (2.0,)),
    ]
    both, rest = suite.means(found, ["scimark_*"])
    assert (both.name, both.ratio.median) == ("geometric mean", pytest.approx(2**0.5))
    assert (rest.name, rest.ratio.median) == ("geometric mean without scimark_*", 0.5)
    # Patterns that fit none, or all, give no second mean.
    assert len(list(suite.means(found, ["nbody"]))) == len(list(suite.means(found, ["*"]))) == 1


def test_each_result_is_printed_at_once(found, this_interpreter, monkeypatch):
    monkeypatch.setattr(suite, "DEFAULT", ("nbody",))
    said: list[str] = []
    options = bench.Options(found.cache, ("suite",), rounds=1)
    bench.bench(this_interpreter, this_interpreter, options, said.append)
    bench.bench(this_interpreter, None, options, said.append)
    first = "suite: benchmarks of pyperformance, 1 round ..."
    assert said[::3] == [first, first]
    assert re.fullmatch(r"suite: nbody: \d\.\d{3}", said[1])
    assert said[2].removeprefix("suite: geometric mean") == said[1].removeprefix("suite: nbody")
    assert re.fullmatch(r"suite: nbody: \d[\d.]* m?s", said[4])


def test_missing_pyperformance_is_reported(capfd, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyperformance", None)  # as the import system marks it
    assert main.main(["bench", sys.executable, "--only", "suite"]) == 10
    err = capfd.readouterr().err
    assert "pyperformance is not installed" in err
    assert extras.install_command("bench") in err
