"""The staging folder of a repository: permissions, and recovery after a kill."""

from __future__ import annotations

import getpass
import os
import platform
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rezbuild.files import atomic_swap, safe_files
from rezbuild.repository import staging

NAME = "thing-1.0"
PLACE = Path("thing/1.0")


def make(folder: Path, content: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "file").write_text(content)
    return folder


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    return folder


def leftovers(repository: Path) -> list[str]:
    """Return the files below .rezbuild, without locks."""
    folder = repository / staging.FOLDER
    found = [path.relative_to(folder).as_posix() for path in folder.rglob("*")]
    return sorted(
        name for name in found if not name.endswith(".lock") and name not in ("staged", "swapping")
    )


def replace(repository: Path, content: str, *, keep: bool = False) -> None:
    with staging.locked(repository, NAME, print), staging.stage(repository, NAME) as stage:
        staging.put(make(stage / PLACE, content), PLACE, repository, NAME, keep=keep)


def test_stage_is_empty_and_records_its_target(repository):
    with staging.stage(repository, NAME) as stage:
        (stage / "left").mkdir()
        inside = stage / PLACE / "platform-linux"
        assert staging.stage_of(inside) == stage
        assert staging.final_place(inside) == repository / PLACE / "platform-linux"
    assert leftovers(repository) == []
    assert staging.stage_of(repository / PLACE) is None
    assert staging.final_place(repository / PLACE) == repository / PLACE


def test_next_build_removes_leftovers_of_a_killed_build(repository):
    old = make(repository / staging.FOLDER / "staged" / NAME / "killed", "half made")
    old.chmod(0o555)
    with staging.stage(repository, NAME) as stage:
        assert not old.exists()
        assert list(stage.iterdir()) == []


@pytest.mark.parametrize("exchange", [True, False], ids=["in one step", "as on NFS"])
@pytest.mark.parametrize("keep", [True, False], ids=["kept", "gone"])
def test_old_variant_is_replaced(repository, monkeypatch, exchange, keep):
    """NFS cannot exchange two names (rename(2)), so the exchange is switched off here."""
    if not exchange:
        monkeypatch.setattr(atomic_swap, "exchange", lambda *_: False)
    replace(repository, "first")
    (repository / PLACE).chmod(0o555)
    replace(repository, "second", keep=keep)
    assert (repository / PLACE / "file").read_text() == "second"
    kept = list((repository / staging.FOLDER / "old").glob("*"))
    assert [(path / "file").read_text() for path in kept] == (["first"] if keep else [])
    assert not list((repository / staging.FOLDER / "swapping").iterdir())


def test_replaced_variant_is_removed_after_a_week(repository):
    replace(repository, "first")
    replace(repository, "second", keep=True)
    staging.prune(repository)
    (kept,) = (repository / staging.FOLDER / "old").iterdir()
    long_ago = time.time_ns() - int((staging.KEPT + 60) * 1e9)
    kept.rename(kept.with_name(f"{NAME}-{long_ago}"))
    staging.prune(repository)
    assert not list((repository / staging.FOLDER / "old").iterdir())


def test_kill_between_two_renames_restores_the_old_variant(repository):
    """For a moment no variant exists; the next run repairs this."""
    replace(repository, "first")
    code = (
        "import os, pathlib, signal, sys\n"
        "from rezbuild.files import atomic_swap as publish, safe_files\n"
        "from rezbuild.repository import staging as staged\n"
        "repository, place = pathlib.Path(sys.argv[1]), pathlib.Path('thing/1.0')\n"
        "publish.exchange = lambda *_: False\n"
        "rename = pathlib.Path.rename\n"
        "def killed(path, target):\n"
        "    if pathlib.Path(target) == repository / place:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return rename(path, target)\n"
        "pathlib.Path.rename = killed\n"
        "name = 'thing-1.0'\n"
        "with staged.locked(repository, name, print), staged.stage(repository, name) as stage:\n"
        "    (stage / place).mkdir(parents=True)\n"
        "    staged.put(stage / place, place, repository, name, keep=False)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, repository], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (repository / PLACE).exists()
    with staging.locked(repository, NAME, print):
        assert (repository / PLACE / "file").read_text() == "first"
    replace(repository, "second")
    assert (repository / PLACE / "file").read_text() == "second"
    assert leftovers(repository) == []


def test_removed_variant_is_not_restored(repository):
    replace(repository, "first")
    replace(repository, "second", keep=True)
    safe_files.remove(repository / PLACE)
    with staging.locked(repository, NAME, print):
        assert not (repository / PLACE).exists()


def test_group_members_can_build_in_a_shared_repository(repository):
    repository.chmod(0o2775)
    umask = os.umask(0o077)
    try:
        replace(repository, "first")
    finally:
        os.umask(umask)
    assert stat.S_IMODE((repository / "thing").stat().st_mode) == 0o2775
    assert stat.S_IMODE((repository / staging.FOLDER).stat().st_mode) == 0o2770
    (lock,) = (repository / staging.FOLDER).glob("*.lock")
    assert stat.S_IMODE(lock.stat().st_mode) == 0o660


def test_waiting_build_prints_a_message(repository):
    said: list[str] = []
    code = (
        "import pathlib, sys, time\n"
        "from rezbuild.repository import staging as staged\n"
        f"with staged.locked(pathlib.Path(sys.argv[1]), {NAME!r}, print):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(1.5)\n"
    )
    argv = [sys.executable, "-c", code, str(repository)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with staging.locked(repository, NAME, said.append):
            pass
    (line,) = said
    assert line.startswith(f"{NAME}: waiting for another build of it into {repository} (process ")
    assert f"process {holder.pid} of {getpass.getuser()} on {platform.node()}" in line


def test_leftovers_of_other_packages_are_removed(repository):
    """Folders in use stay, and a removed variant returns."""
    folder = repository / staging.FOLDER
    make(folder / "staged" / NAME / "killed", "half made")
    make(folder / "swapping" / "other-1.abc" / "other%2F1", "old")
    (repository / "other").mkdir()
    with (
        staging.locked(repository, "third-1", print),
        staging.stage(repository, "third-1") as stage,
    ):
        staging.tidy(repository, print)
        assert stage.is_dir()
        assert leftovers(repository) == ["staged/third-1", f"staged/third-1/{stage.name}"]
    assert (repository / "other/1/file").read_text() == "old"


def test_failed_cleanup_stops_no_build(tmp_path):
    """The folder does not exist, or is a file."""
    staging.tidy(tmp_path / "none", print)
    (tmp_path / staging.FOLDER).write_text("in the way")
    staging.tidy(tmp_path, print)
