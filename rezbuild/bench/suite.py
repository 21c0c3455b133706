"""pyperformance's benchmarks, run on both interpreters in turns.

pyperformance itself measures one interpreter after the other, minutes apart. Here each benchmark is
run by the one and then by the other, and again, so that a busy moment hits both. Its scripts are
used as they are; pyperf and what else they need is put on ``PYTHONPATH``, so that neither
interpreter needs pip, a virtual environment or anything installed into it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rezbuild.bench.interpreters import Interpreter
from rezbuild.bench.numbers import Measurement, interleave
from rezbuild.build.toolchain import SYSTEM_PATH
from rezbuild.errors import CheckError, MachineError, RezbuildError
from rezbuild.util import extras, toml

# A quick choice of what depends on the interpreter and on nothing besides: calls and attributes,
# numbers, containers, generators and coroutines, strings, and one that is C for the most part.
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
        name: As in pyperformance's list.
        script: What is run.
        options: Arguments for it.
        needs: The oldest series of Python it runs on.
        requirements: pip's list of what it imports besides pyperf; may not exist.
    """

    name: str
    script: Path
    options: tuple[str, ...]
    needs: tuple[int, int]
    requirements: Path


@dataclass(frozen=True)
class _Ran:
    """One run: pyperf's number of loops, where it is known, and the median time of one of them."""

    loops: int | None
    seconds: float


class Suite:
    """pyperformance's benchmarks, with a folder to run them in.

    Args:
        scratch: An empty folder.
        cache: Where packages that benchmarks need are installed, once.

    Raises:
        MachineError: pyperformance is not installed.
    """

    def __init__(self, scratch: Path, cache: Path) -> None:
        self.folder = _package("pyperformance") / "data-files/benchmarks"
        self.scratch = scratch
        self.cache = cache
        # pyperf alone: what else stands beside it would be another environment's.
        self.pyperf = scratch / "pyperf-only"
        self.pyperf.mkdir()
        (self.pyperf / "pyperf").symlink_to(_package("pyperf"))

    def benchmarks(self, *, full: bool) -> Iterator[Benchmark]:
        """Those of the list in pyperformance, or of `DEFAULT`."""
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
        """Runs one benchmark on each; a script may hold several.

        Raises:
            CheckError: It fails, or needs a newer Python.
            MachineError: What it needs cannot be installed.
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
        """PYTHONPATH for a benchmark; both interpreters share it where they are of one series."""
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
        """Runs it once, in a process of its own; what came of it, by name."""
        result = self.scratch / "result.json"
        result.unlink(missing_ok=True)
        once = ["--processes=1", "--values=3", "--warmups=1", "--quiet", *options]
        done = subprocess.run(
            [interpreter.python, benchmark.script, *benchmark.options, *once, "-o", result],
            cwd=self.scratch,
            env={
                "PATH": SYSTEM_PATH,
                "HOME": str(self.scratch),
                "TMPDIR": str(self.scratch),
                "PYTHONPATH": path,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode != 0 or not result.is_file():
            said = (done.stdout.strip().splitlines() or ["it says nothing"])[-1]
            raise CheckError(f"it fails on {interpreter.label}: {said}")
        return _read(result)


def install(requirements: Path, interpreter: Interpreter, folder: Path) -> None:
    """Installs packages for an interpreter into a folder, by this environment's pip.

    Raises:
        MachineError: pip cannot.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".unfinished-"))
    pip = [sys.executable, "-m", "pip", "--python", str(interpreter.python)]
    words = [*pip, "install", "--quiet", "--target", str(unfinished), "-r", str(requirements)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            said = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
            raise MachineError(
                f"pip cannot install what it needs: {said}",
                advice=[f"{sys.executable} needs pip 22.3 or newer, and an index or wheels for it"],
            )
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def means(found: Sequence[Measurement]) -> Measurement:
    """The geometric mean over all benchmarks, round by round."""
    rounds = range(len(found[0].first))
    first = tuple(statistics.geometric_mean([m.first[i] for m in found]) for i in rounds)
    second: tuple[float, ...] = ()
    if all(m.second for m in found):
        second = tuple(statistics.geometric_mean([m.second[i] for m in found]) for i in rounds)
    return Measurement("suite", MEAN, "s", first, second)


def run(
    suite: Suite,
    pair: Sequence[Interpreter],
    rounds: int,
    *,
    full: bool,
    left_out: Callable[[str, RezbuildError], None],
) -> Iterator[Measurement]:
    """Each benchmark, and the geometric mean of all.

    Args:
        suite: The benchmarks.
        pair: One or two interpreters.
        rounds: How often each is run by each.
        full: All of them, not `DEFAULT` only.
        left_out: Told the name of each that cannot be run, and why.
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
    if found:
        yield means(found)


def _package(name: str) -> Path:
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        raise MachineError(
            f"{name} is not installed",
            advice=[extras.command("bench")],
        )
    return Path(found.origin).parent


def _read(path: Path) -> dict[str, _Ran]:
    """The file that pyperf writes: what all benchmarks in it have in common stands apart there."""
    data = json.loads(path.read_text(encoding="utf-8"))
    common = data.get("metadata", {})
    found = {}
    for one in data["benchmarks"]:
        facts = {**common, **one.get("metadata", {})}
        values = [value for each in one["runs"] for value in each.get("values", ())]
        found[str(facts["name"])] = _Ran(facts.get("loops"), statistics.median(values))
    return found


def _loops(found: Mapping[str, _Ran]) -> list[str]:
    """The option that spares pyperf to look for the number of loops again, if one does for all."""
    loops = {one.loops for one in found.values()}
    return [f"--loops={loops.pop()}"] if len(loops) == 1 and None not in loops else []
