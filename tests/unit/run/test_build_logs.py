"""Which log of a build is shown: of the step that failed, was killed or runs, or Rez's."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from rezbuild.reporter import Reporter
from rezbuild.run import build_logs

VARIANT = "platform-linux/arch-x86_64"


def write(folder: Path, name: str, *steps: str, end: str = "ok", seconds: int = 0) -> Path:
    """Write the logs of a build as rezbuild does; return its folder.

    Args:
        folder: The folder of the builds.
        name: The folder of the build.
        steps: The steps.
        end: How the last step ends: ``ok``, ``failed``, or ``killed``.
        seconds: The time of all logs.
    """
    logs = folder / name / VARIANT / "logs"
    logs.mkdir(parents=True)
    rez = logs.parents[2] / "rez.log"
    with rez.open("w") as stream, contextlib.redirect_stdout(stream):
        print(f"zlib 1.3 (fast, 2 jobs): logs in {logs}")
        for step in steps:
            (logs / f"{step}.log").write_text(f"$ {step}\n")
            last = step == steps[-1]
            with contextlib.suppress(ArithmeticError), Reporter().step(step):
                if last and end == "failed":
                    raise ArithmeticError
    if end == "killed":
        rez.write_text(rez.read_text().rpartition(" ")[0].rpartition(" ")[0])
    for path in (rez, *logs.iterdir()):
        os.utime(path, (seconds, seconds))
    return logs.parents[2]


@pytest.mark.parametrize(
    ("end", "shown"),
    [("ok", "rez.log"), ("failed", "02-make.log"), ("killed", "02-make.log")],
)
def test_log_of_an_unfinished_step_is_the_last_one(tmp_path, end, shown) -> None:
    write(tmp_path, "1.3-fast", "01-configure", "02-make", end=end)
    (logs,) = build_logs.find([tmp_path])
    assert logs.last.name == shown
    assert (logs.version, logs.profile) == ("1.3", "fast")
    assert [path.name for path in logs.steps] == ["01-configure.log", "02-make.log"]


def test_newest_build_is_the_first(tmp_path) -> None:
    for seconds, name in enumerate(("1.2-fast", "1.3-optimized", "1.2.1-fast")):
        write(tmp_path, name, "01-make", seconds=seconds)
    found = build_logs.find([tmp_path, tmp_path / "nothing"])
    assert [logs.version for logs in found] == ["1.2.1", "1.3", "1.2"]


def test_logs_of_upstream_are_no_logs_of_the_build(tmp_path) -> None:
    build = write(tmp_path, "1.3-fast", "01-make")
    for name in ("work/source/logs", "staging/share/logs"):
        folder = build / VARIANT / name
        folder.mkdir(parents=True)
        (folder / "99-upstream.log").write_text("")
    (logs,) = build_logs.find([tmp_path])
    assert [path.name for path in logs.steps] == ["01-make.log"]


def test_logs_without_output_of_rez_have_no_version(tmp_path) -> None:
    """rez-build by hand has one folder for all versions."""
    build = write(tmp_path, "any", "01-make", "02-make-install")
    (build / "rez.log").unlink()
    (build / VARIANT).rename(tmp_path / "platform-linux")
    (logs,) = build_logs.find([tmp_path])
    assert (logs.version, logs.last.name) == ("", "02-make-install.log")
