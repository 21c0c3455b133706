"""Run CPython's test suite with a copy of a payload.

A payload has no tests and no C modules that only tests use (``_trim`` in recipe.py). This module
adds both to a copy: the tests from the pinned source, the C modules compiled with the copy's
headers. So no test is skipped because they are missing, the payload does not change, and the copy
is a moved payload.
"""

import re
import shutil
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field

from rez.version import Version, VersionRange

from rezbuild.errors import CatalogueError, CheckError, UsageError
from rezbuild.util import import_file, toml
from rezbuild.util.words import count
from rezbuild.verify.check import Result, snapshot

KNOWN = "known-failures.toml"
# A shell starts background processes with SIGINT ignored, and children inherit that: test_signal
# and similar tests would wait forever.
START = """\
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])
"""
# Seconds that a test file may take: the slowest one takes three minutes on two cores.
TIMEOUT = 1200
# A line of regrtest's report, as 3.9 to 3.14 write it.
_LINE = re.compile(
    r"\d+:\d\d:\d\d (?:load avg: \S+ )?\[ *\d+/(\d+)(?:/\d+)*\] "
    r"(\S+) ([a-z][^()\n]*?)((?: \((?:[^()]|\([^()]*\))*\))*)(?: -- running(?: \(\d+\))?: .*)?"
)
# unittest's report of a failure; JUnit's XML lacks tests that fail in their subtests only.
_FAILURE = re.compile(r"(?:FAIL|ERROR): (\S+) \(([\w.<>]+)\).*")
_ERROR = re.compile(r"(?:\w+\.)*\w*(?:Error|Exception|Exit|Expired|Interrupt|Failed)\b.*")
_SKIPPED = re.compile(r"(test\S+) skipped -- (.*)")


@dataclass
class Results:
    """The results of one run of the suite.

    Attributes:
        files: The outcome of each test file: ``passed``, ``failed``, ``skipped`` ... A file in a
            folder is e.g. ``test_asyncio.test_events``.
        denied: Files that are skipped because they need a resource; none is enabled.
        skipped: The reason for each other skipped file.
        failures: The tests that failed, with the last line of their traceback.
        total: The number of files that regrtest has announced.
        tests: The number of tests, with the skipped ones.
    """

    files: dict = field(default_factory=dict)
    denied: set = field(default_factory=set)
    skipped: dict = field(default_factory=dict)
    failures: dict = field(default_factory=dict)
    total: int = 0
    tests: int = 0
    tests_skipped: int = 0


def suite(c, tests):
    """Run the suite; run failed files again one by one, since a busy machine makes tests fail."""
    known = load_known(c)
    python = assemble(c)
    unknown = unknown_tests(next(python.parents[1].glob("lib/python3.*/test")), tests)
    if unknown:
        raise UsageError(
            f"{c.name} has no test {', '.join(unknown)}",
            advice=["name a file in Lib/test of CPython's source, e.g. test_ssl"],
        )
    before = snapshot(python.parents[1])
    ignored = [word for name in known["ignore"] for word in ("-i", name)]
    if ignored:
        yield Result("not run", ", ".join(known["ignore"]))
    results = run(c, python, [*ignored, *tests], "regrtest")
    for test in tests:
        # From 3.12 on, a test folder such as test_inspect counts as several files.
        if not any(file_of(name, [test]) for name in results.files):
            results.files[test] = "did not run"
    flaky = again(c, python, results, known, ignored)
    yield from judge(results, known, flaky)
    yield Result("suite, read-only", "wrote .pyc files only", written(python, before))


def again(c, python, results, known, ignored):
    """Run unexpected failures again, one by one; return the names of tests that pass now."""
    bad = {file_of(name, results.files) for name in unknown(results, known)}
    files = sorted(name for name in bad if results.files.get(name, "skipped") != "skipped")
    if not files:
        return []
    second = run(c, python, [*ignored, *files], "again", jobs=1)
    first = {name for name in results.failures if file_of(name, files)}
    flaky = [name for name in first if name not in second.failures]
    flaky += [name for name in files if second.files.get(name) == "passed"]
    results.failures = {n: why for n, why in results.failures.items() if n not in first}
    results.failures |= second.failures
    results.files |= second.files
    return sorted(flaky)


def written(python, before):
    """Return the files that the suite has changed; with -O, Python writes .pyc files."""
    top = python.parents[1]
    changed = {path for path, _ in before ^ snapshot(top)}
    return tuple(
        f"{path} was written"
        for path in sorted(changed)
        if "__pycache__" not in path and not (top / path).is_dir()
    )


def judge(results, known, flaky):
    """Compare the results with the known failures; only unknown ones are problems."""
    bad = unknown(results, known)
    yield Result(
        "test suite",
        f"{count(len(results.files), 'file')}, {count(results.tests, 'test')}; "
        f"{results.tests_skipped} skipped, "
        f"{len(results.failures) - len(set(bad) & set(results.failures))} known failures",
        tuple(f"{name}: {reason}" for name, reason in bad.items()),
    )
    if flaky:
        yield Result("only alone", f"failed beside others, passed alone: {', '.join(flaky)}")
    ran = {name for name in known["failure"] if file_of(name, results.files)}
    now = sorted(
        ran - set(results.failures) - {n for n, s in results.files.items() if s != "passed"}
    )
    now += sorted(n for n in known["skip"] if results.files.get(n) == "passed")
    if now:
        yield Result("known, and passes now", f"see {KNOWN}: {', '.join(now)}")


def unknown(results, known):
    """Return unknown failures and skips, with their reasons."""
    bad = {n: why for n, why in results.failures.items() if n not in known["failure"]}
    with_failures = {file_of(name, results.files) for name in results.failures}
    for name, state in results.files.items():
        if state == "skipped" and name not in results.denied and name not in known["skip"]:
            bad[name] = f"skipped: {results.skipped.get(name, 'no reason given')}"
        elif state == "failed" and name in with_failures:
            continue  # its failures are in the list already
        elif state not in ("passed", "skipped") and name not in known["failure"]:
            bad[name] = state
    return bad


def file_of(name, files):
    """Return the test file that has this test, or "".

    ``test_x`` has ``test.test_x.Class.test_y``, and ``test_asyncio.test_events`` has
    ``test.test_asyncio.test_events.Class.test_y``.
    """
    name = name.removeprefix("test.")
    return next((file for file in files if f"{name}.".startswith(f"{file}.")), "")


def load_known(c):
    """Return the known results for this version: by kind of table, test names with reasons."""
    path = c.steps / KNOWN
    tables = toml.loads(path.read_text(encoding="utf-8"))
    found = {"failure": {}, "skip": {}, "ignore": {}}
    for kind, entries in tables.items():
        for entry in entries:
            if kind not in found or set(entry) != {"test", "python", "reason"}:
                raise CatalogueError(
                    f"{path}: unknown kind of table, or other keys than test, python and reason",
                    advice=["use the tables failure, skip and ignore"],
                )
            if Version(c.version) in VersionRange(entry["python"]):
                found[kind][entry["test"]] = entry["reason"]
    return found


def unknown_tests(folder, tests):
    """Return the names of tests without a file or a folder; options of regrtest are none."""
    names = (test for test in tests if not test.startswith("-"))
    tops = {name: name.removeprefix("test.").partition(".")[0] for name in names}
    return [
        name
        for name, top in tops.items()
        if not ((folder / f"{top}.py").is_file() or (folder / top).is_dir())
    ]


def assemble(c):
    """Copy the payload, add the tests and their C modules; return the copy's interpreter."""
    copy = c.scratch / "python"
    shutil.copytree(c.root, copy, symlinks=True)
    python = copy / "bin/python3"
    (lib,) = copy.glob("lib/python3.*")
    contents = import_file.load(c.recipe.parent / "python_tests", "contents.py")
    contents.copy(c.source(), lib)
    for name, words in contents.helpers(c.source(), copy, lib / "lib-dynload"):
        _compile(c, name, words)
    return python


def _compile(c, name, words):
    done = c.run(c.compiler, *words)
    if done.returncode != 0:
        raise CheckError(
            f"the test module {name} cannot be compiled:\n{done.stderr[-2000:]}",
            advice=["check the payload's headers: rezbuild audit"],
        )


def run(c, python, arguments, name, jobs=None):
    """Run the suite with some arguments of regrtest; return the results."""
    log, xml = c.scratch / f"{name}.log", c.scratch / f"{name}.xml"
    c.run(
        *(python, "-I", "-c", START, python),
        *("-m", "test", f"-j{jobs or c.jobs}", "--timeout", str(TIMEOUT), "-W"),
        *("--junit-xml", xml, *arguments),
        log=log,
    )
    results = read(log.read_text(errors="replace"), xml)
    if not results.files:
        raise CheckError(
            f"the test suite did not run:\n{log.read_text(errors='replace')[-2000:]}",
            advice=["check the names of the tests, e.g. test_ssl"],
        )
    if len(results.files) < results.total:
        raise CheckError(
            f"the test suite ended after {len(results.files)} of {results.total} files",
            advice=["check whether it was killed; --keep DIR keeps its log"],
        )
    return results


def read(text, xml):
    """Read regrtest's output and its JUnit XML."""
    results, total = Results(), None
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        # Tests of regrtest print the lines of small runs, with other totals.
        total = total or (match and match[1])
        if match and match[1] == total:
            _, name, state, more = match.groups()
            name = name.removeprefix("test.")
            results.files[name] = "failed" if state.startswith("failed") else state.strip()
            if "(env changed)" in more:
                results.files[name] = "passed"
            if state.startswith("skipped") and "(resource denied)" in more:
                results.denied.add(name)
        match = _SKIPPED.fullmatch(line)
        if match:
            results.skipped.setdefault(match[1].removeprefix("test."), match[2])
    results.total = int(total or 0)
    results.failures = dict(failures(text))
    if xml.is_file():
        cases = list(ET.parse(xml).getroot().iter("testcase"))  # noqa: S314 (regrtest has written it)
        results.tests = len(cases)
        results.tests_skipped = sum(case.find("skipped") is not None for case in cases)
    return results


def failures(text):
    """Yield the failed tests, e.g. ``test.test_x.Class.test_y``, and their errors."""
    name = None
    for line in text.splitlines():
        match = _FAILURE.fullmatch(line)
        if match:
            # Before 3.11 the method's name is not repeated in the brackets.
            name = match[2] if match[2].endswith(f".{match[1]}") else f"{match[2]}.{match[1]}"
            yield name, "failed"
        elif line == "Stdout:" or line.startswith("Ran "):
            name = None
        elif name and _ERROR.fullmatch(line):
            yield name, line
