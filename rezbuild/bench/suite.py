"""pyperformance's benchmarks, run with both interpreters in turns.

pyperformance itself measures one interpreter after the other, minutes apart. Here each benchmark
runs with the first interpreter, then with the second, and so on, so that a busy moment affects
both. The scripts are used unchanged; ``PYTHONPATH`` names pyperf and their other requirements, so
that neither interpreter needs pip, a virtual environment or installed packages.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from rezbuild.bench.interpreters import Interpreter
from rezbuild.bench.numbers import Measurement, interleave
from rezbuild.build.toolchain import SYSTEM_PATH
from rezbuild.errors import CheckError, MachineError, RezbuildError
from rezbuild.util import extras, toml
from rezbuild.util.processes import capture, last_line

# A quick choice of benchmarks that depend on the interpreter only: calls and attributes, numbers,
# containers, generators and coroutines, strings, and one that mostly runs C code.
DEFAULT = (
    "chaos",
    "coroutines",
    "deepcopy",
    "deltablue",
    "go",
    "json_dumps",
    "logging",
    "nbody",
    "pickle_pure_python",
    "regex_compile",
    "richards",
    "spectral_norm",
)
MEAN = "geometric mean"
_LOCAL = re.compile(r"(\w+)\t<local(?::(\w+))?>")
_AT_LEAST = re.compile(r">=\s*(\d+)\.(\d+)")


@dataclass(frozen=True)
class Benchmark:
    """One of pyperformance's benchmarks.

    Attributes:
        name: The name in pyperformance's list.
        script: The script to run.
        options: Arguments of the script.
        needs: The oldest series of Python that it supports.
        requirements: pip's list of its requirements besides pyperf; may not exist.
    """

    name: str
    script: Path
    options: tuple[str, ...]
    needs: tuple[int, int]
    requirements: Path


@dataclass(frozen=True)
class _Ran:
    """One run: pyperf's number of loops, if known, and the median time of a loop."""

    loops: int | None
    seconds: float


class Suite:
    """pyperformance's benchmarks, and a folder to run them in.

    Args:
        scratch: An empty folder.
        cache: The folder of installed requirements.

    Raises:
        MachineError: pyperformance is not installed.
    """

    def __init__(self, scratch: Path, cache: Path) -> None:
        self.folder = _package("pyperformance") / "data-files/benchmarks"
        self.scratch = scratch
        self.cache = cache
        # A folder with pyperf alone: other packages beside it belong to this environment.
        self.pyperf = scratch / "pyperf-only"
        self.pyperf.mkdir()
        (self.pyperf / "pyperf").symlink_to(_package("pyperf"))

    def benchmarks(self, *, full: bool) -> Iterator[Benchmark]:
        """Yield all benchmarks of pyperformance's list, or those of `DEFAULT`."""
        listed = (self.folder / "MANIFEST").read_text(encoding="utf-8").partition("[group ")[0]
        for match in map(_LOCAL.fullmatch, listed.splitlines()):
            if match and (full or match[1] in DEFAULT):
                yield self._benchmark(match[1], self.folder / f"bm_{match[2] or match[1]}")

    def _benchmark(self, name: str, folder: Path) -> Benchmark:
        own = folder / f"bm_{name}.toml"
        path = own if own.is_file() else folder / "pyproject.toml"
        data = toml.loads(path.read_text(encoding="utf-8"))
        match = _AT_LEAST.match(data.get("project", {}).get("requires-python", ""))
        return Benchmark(
            name,
            folder / "run_benchmark.py",
            tuple(data.get("tool", {}).get("pyperformance", {}).get("extra_opts", ())),
            (int(match[1]), int(match[2])) if match else (3, 0),
            folder / "requirements.txt",
        )

    def measure(
        self, benchmark: Benchmark, pair: Sequence[Interpreter], rounds: int
    ) -> Iterator[Measurement]:
        """Run one benchmark with each interpreter; a script may hold several measurements.

        Raises:
            CheckError: It fails, or needs a newer Python.
            MachineError: Its requirements cannot be installed.
        """
        oldest = min(one.series for one in pair)
        if oldest < benchmark.needs:
            raise CheckError("it needs Python {}.{}".format(*benchmark.needs))
        paths = {one.tag: self._imports(benchmark, one) for one in pair}
        first = [self._run(benchmark, one, paths[one.tag]) for one in pair]
        options = _loops(first[0])
        runs = interleave(
            pair, rounds, lambda one: self._run(benchmark, one, paths[one.tag], options)
        )
        for name in first[0]:
            values = (tuple(found[name].seconds for found in each) for each in runs)
            yield Measurement("suite", name, "s", *values)

    def _imports(self, benchmark: Benchmark, interpreter: Interpreter) -> str:
        """Return a benchmark's PYTHONPATH. Interpreters of one series share installed packages."""
        if not benchmark.requirements.is_file():
            return str(self.pyperf)
        text = benchmark.requirements.read_bytes()
        folder = self.cache / interpreter.tag / hashlib.sha256(text).hexdigest()[:16]
        if not folder.is_dir():
            install(benchmark.requirements, interpreter, folder)
        return f"{self.pyperf}{os.pathsep}{folder}"

    def _run(
        self,
        benchmark: Benchmark,
        interpreter: Interpreter,
        path: str,
        options: Sequence[str] = (),
    ) -> dict[str, _Ran]:
        """Run a benchmark once, in a new process; return the results by name."""
        result = self.scratch / "result.json"
        result.unlink(missing_ok=True)
        once = ["--processes=1", "--values=3", "--warmups=1", "--quiet", *options]
        done = capture(
            [interpreter.python, benchmark.script, *benchmark.options, *once, "-o", result],
            cwd=self.scratch,
            env={
                "PATH": SYSTEM_PATH,
                "HOME": str(self.scratch),
                "TMPDIR": str(self.scratch),
                "PYTHONPATH": path,
            },
            merge=True,
        )
        if done.returncode != 0 or not result.is_file():
            raise CheckError(f"{interpreter.label} fails: {last_line(done.stdout)}")
        return _read(result)


def install(requirements: Path, interpreter: Interpreter, folder: Path) -> None:
    """Install packages for an interpreter into a folder, with pip of this environment.

    Raises:
        MachineError: pip fails.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".unfinished-"))
    pip = [sys.executable, "-m", "pip", "--python", str(interpreter.python)]
    words = [*pip, "install", "--quiet", "--target", str(unfinished), "-r", str(requirements)]
    try:
        done = capture(words)
        if done.returncode != 0:
            raise MachineError(
                f"pip cannot install the requirements: {last_line(done.stderr)}",
                advice=[f"give {sys.executable} pip 22.3 or newer, and an index or wheels for pip"],
            )
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def geometric_means(found: Sequence[Measurement], name: str = MEAN) -> Measurement:
    """Return the geometric mean over all benchmarks, round by round."""
    rounds = range(len(found[0].first))
    first = tuple(statistics.geometric_mean([m.first[i] for m in found]) for i in rounds)
    second: tuple[float, ...] = ()
    if all(m.second for m in found):
        second = tuple(statistics.geometric_mean([m.second[i] for m in found]) for i in rounds)
    return Measurement("suite", name, "s", first, second)


def means(found: Sequence[Measurement], without: Sequence[str]) -> Iterator[Measurement]:
    """Yield the geometric mean of all benchmarks, then the mean of those that fit no pattern."""
    if not found:
        return
    yield geometric_means(found)
    rest = [m for m in found if not any(fnmatchcase(m.name, pattern) for pattern in without)]
    if rest and len(rest) < len(found):
        yield geometric_means(rest, f"{MEAN} without {','.join(without)}")


def measure_all(  # noqa: PLR0913 (one call)
    suite: Suite,
    pair: Sequence[Interpreter],
    rounds: int,
    *,
    full: bool,
    without: Sequence[str] = (),
    left_out: Callable[[str, RezbuildError], None],
) -> Iterator[Measurement]:
    """Yield each benchmark, and the geometric means.

    Args:
        suite: The benchmarks.
        pair: One or two interpreters.
        rounds: How often each interpreter runs each benchmark.
        full: Run all benchmarks, not only `DEFAULT`.
        without: See `means`.
        left_out: Called with the name of each benchmark that cannot run, and the reason.
    """
    found: list[Measurement] = []
    for benchmark in suite.benchmarks(full=full):
        try:
            measured = list(suite.measure(benchmark, pair, rounds))
        except (CheckError, MachineError) as error:
            left_out(benchmark.name, error)
            continue
        found += measured
        yield from measured
    yield from means(found, without)


def _package(name: str) -> Path:
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        raise MachineError(
            f"{name} is not installed",
            advice=[extras.install_command("bench")],
        )
    return Path(found.origin).parent


def _read(path: Path) -> dict[str, _Ran]:
    """Read pyperf's result file; metadata that all benchmarks share is stored once."""
    data = json.loads(path.read_text(encoding="utf-8"))
    common = data.get("metadata", {})
    found = {}
    for one in data["benchmarks"]:
        facts = {**common, **one.get("metadata", {})}
        values = [value for each in one["runs"] for value in each.get("values", ())]
        found[str(facts["name"])] = _Ran(facts.get("loops"), statistics.median(values))
    return found


def _loops(found: Mapping[str, _Ran]) -> list[str]:
    """Return the option that saves pyperf the search for a number of loops, if all share one."""
    loops = {one.loops for one in found.values()}
    return [f"--loops={loops.pop()}"] if len(loops) == 1 and None not in loops else []
