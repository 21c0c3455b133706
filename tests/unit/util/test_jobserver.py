"""The budget of jobs, with the real make."""

from __future__ import annotations

import contextlib
import os
import subprocess

import pytest

from rezbuild.build import toolchain
from rezbuild.util import jobserver

MAKEFILE = """\
all: a b c d
a b c d:
	@echo + >>log; sleep 0.3; echo - >>log
flags:
	@echo $(MAKEFLAGS)
deep:
	@$(MAKE) all
"""


@pytest.fixture
def budget(tmp_path):
    made = jobserver.Budget(3, tmp_path)
    with contextlib.closing(made):
        yield made


def make(folder, *arguments, jobs=3, fifo=None):
    """Run make as a build does; return the most parallel targets, and the output."""
    (folder / "Makefile").write_text(MAKEFILE)
    (folder / "log").write_text("")
    with jobserver.share(str(jobserver.path(folder)) if fifo is None else fifo, jobs) as share:
        done = subprocess.run(
            ["make", *share.arguments, *arguments],
            cwd=folder,
            env={"PATH": toolchain.SYSTEM_PATH, **share.env},
            pass_fds=share.descriptors,
            capture_output=True,
            text=True,
            check=True,
        )
    assert done.stderr == ""
    now, most = 0, 0
    for sign in (folder / "log").read_text().split():
        now += 1 if sign == "+" else -1
        most = max(most, now)
    return most, done.stdout


def test_budget_gives_its_tokens(budget):
    assert [budget.take() for _ in range(4)] == [True, True, True, False]
    budget.give_back()
    assert [budget.take() for _ in range(2)] == [True, False]


@pytest.mark.parametrize("target", ["all", "deep"])
@pytest.mark.parametrize("builds", [1, 2, 3])
def test_make_takes_the_free_jobs(budget, tmp_path, builds, target):
    for _ in range(builds):
        assert budget.take()
    budget.share()
    assert make(tmp_path, target)[0] == 3 - builds + 1
    # All tokens are back.
    assert [budget.take() for _ in range(4)] == [True] * (3 - builds) + [False] * (1 + builds)


def test_lost_tokens_are_restored(budget, tmp_path):
    budget.share()
    thief = os.open(jobserver.path(tmp_path), os.O_RDWR)
    assert len(os.read(thief, 3)) == 3
    assert not budget.take()
    budget.reset()
    assert [budget.take() for _ in range(4)] == [True, True, True, False]
    # Surplus tokens are removed.
    os.write(thief, b"+++++")
    os.close(thief)
    budget.reset()
    assert [budget.take() for _ in range(4)] == [True, True, True, False]


def test_nested_makes_share_the_jobs(budget, tmp_path):
    flags = make(tmp_path, "flags")[1].split()
    assert "-j3" in flags
    assert any(flag.startswith("--jobserver-auth=") for flag in flags)


@pytest.mark.parametrize("fifo", ["", "/no/such/fifo"])
def test_make_without_a_budget_gets_its_own_jobs(tmp_path, fifo):
    assert make(tmp_path, jobs=2, fifo=fifo)[0] == 2
