"""Attacks by a user who can create files in a repository, or only read it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from rezbuild.errors import MachineError
from rezbuild.files import locks, safe_files
from rezbuild.repository import staging

NAME, PLACE = "thing-1.0", Path("thing/1.0")
SCRIPT = "#!/bin/sh\necho owned\n"


def build(repository: Path, content: str = "new") -> list[str]:
    """Install a payload as a build process does, and return the messages to the user."""
    said: list[str] = []
    staging.tidy(repository, said.append)
    with staging.locked(repository, NAME, said.append), staging.stage(repository, NAME) as stage:
        (stage / PLACE).mkdir(parents=True)
        (stage / PLACE / "file").write_text(content)
        staging.put(stage / PLACE, PLACE, repository, NAME, keep=False)
    return said


PLANT = """
import os, sys
folder, names = sys.argv[1], sys.argv[2:]
os.umask(0)
at = os.path.join(folder, *names)
os.makedirs(at)
open(os.path.join(at, "profile.sh"), "w").write("echo owned")
"""


@pytest.mark.parametrize("target", ["{home}/profile.d", "../home/profile.d"])
def test_planted_place_moves_nothing_out_of_the_repository(
    attacker, repository, home, place, target
):
    """The attack: swapping/x-1/{payload,place}, with a place outside."""
    wanted = target.format(home=home)
    attacker.run(PLANT, repository, ".rezbuild", "swapping", NAME, "payload")
    folder = repository / ".rezbuild/swapping" / NAME
    attacker.run("import sys; open(sys.argv[1], 'w').write(sys.argv[2])", folder / "place", wanted)
    said = build(repository)
    assert os.listdir(home) == ["file"]
    assert (folder / "payload/profile.sh").is_file(), "it is left alone"
    assert any("is left alone" in line for line in said)


@pytest.mark.parametrize(
    "name",
    ["/etc", "../home/x", "thing/1.0/../../../home/x", "other/1", "thing/1.0", ".rezbuild/old/x"],
)
def test_planted_name_moves_nothing(attacker, repository, home, name):
    """The same attack in the current layout, in which the folder's name is its target."""
    folder = f"{NAME}.abc"
    attacker.run(PLANT, repository, ".rezbuild", "swapping", folder, quote(name, safe=""))
    said = build(repository)
    assert os.listdir(home) == ["file"]
    assert not (repository / "other").exists()
    assert sorted(os.listdir(repository / PLACE)) == ["file"]
    assert any("is left alone" in line for line in said)


def test_swapped_folder_returns_to_its_own_package_only(repository, home):
    """The folder belongs to the builder, but its name points to another package."""
    for name in ("/home/x", "../home/x", "other/1", "thing/1.0/..", "thing", "thing/1.0/.hidden"):
        made = repository / ".rezbuild/swapping" / f"{NAME}.a" / quote(name, safe="")
        made.mkdir(parents=True)
    (repository / ".rezbuild/swapping" / f"{NAME}.a" / "thing%2f1.0").mkdir()
    said = build(repository)
    assert sum("is left alone" in line for line in said) >= 7
    assert sorted(os.listdir(home.parent)) == ["home", "repository"]
    assert sorted(os.listdir(repository)) == [".rezbuild", "thing"]


def test_link_at_the_package_is_not_followed_when_a_variant_goes_back(attacker, repository, home):
    attacker.run("import os, sys; os.symlink(sys.argv[1], sys.argv[2])", home, repository / "thing")
    old = repository / ".rezbuild/swapping" / f"{NAME}.a" / "thing%2F1.0"
    old.mkdir(parents=True)
    with staging.locked(repository, NAME, print):
        assert os.listdir(home) == ["file"]
        assert old.is_dir()


@pytest.mark.parametrize("name", [f"staged/{NAME}", "staged/other-1", f"staged/{NAME}/run"])
def test_link_in_staged_is_removed_without_its_target(attacker, repository, home, name):
    home.chmod(0o755)
    (home / "inner").mkdir()
    (home / "inner").chmod(0o750)
    code = (
        "import os, sys\nos.umask(0)\n"
        "os.makedirs(os.path.dirname(sys.argv[2]), exist_ok=True)\nos.symlink(*sys.argv[1:])"
    )
    attacker.run(code, home, repository / ".rezbuild" / name)
    build(repository)
    assert stat.S_IMODE(home.stat().st_mode) == 0o755
    assert stat.S_IMODE((home / "inner").stat().st_mode) == 0o750
    assert (home / "file").read_text() == "precious"
    assert not os.path.lexists(repository / ".rezbuild" / name)


def test_link_that_replaces_a_folder_during_removal_is_not_followed(place, home, monkeypatch):
    """The race is forced: the folder becomes a link after its kind was read."""
    left = place / "left"
    (left / "folder").mkdir(parents=True)
    (left / "folder").chmod(0o500)
    (left / "folder" / "file").write_text("old")
    before = home.stat().st_mode
    real = os.listdir

    def make_swapped(folder: int) -> list[str]:
        found = real(folder)
        if "folder" in found:
            shutil.move(left / "folder", place / "elsewhere")
            (left / "folder").symlink_to(home)
        return found

    monkeypatch.setattr(os, "listdir", make_swapped)
    safe_files.remove(left)
    assert home.stat().st_mode == before
    assert (home / "file").read_text() == "precious"
    assert not left.exists()


def test_folders_of_other_users_are_left_alone(attacker, repository):
    attacker.run(PLANT, repository, ".rezbuild", "staged", NAME, "theirs")
    theirs = repository / ".rezbuild/staged" / NAME / "theirs"
    before = theirs.stat().st_mode
    build(repository)
    assert theirs.stat().st_mode == before
    assert (theirs / "profile.sh").is_file()


HOLD = """
import fcntl, os, sys, time
files = []
for folder, _, names in os.walk(sys.argv[1]):
    for name in names:
        if name.endswith(".lock"):
            try:
                files.append(os.open(os.path.join(folder, name), os.O_RDONLY))
                fcntl.flock(files[-1], fcntl.LOCK_EX)
            except OSError:
                pass
print(len(files), flush=True)
time.sleep(60)
"""


def test_reader_of_a_repository_cannot_hold_a_lock(attacker, repository):
    repository.chmod(0o755)
    build(repository)
    lock = repository / ".rezbuild" / f"{NAME}.staged.lock"
    assert lock.is_file()
    with attacker.start(HOLD, repository) as holder:
        try:
            build(repository, "second")
        finally:
            holder.kill()
    assert (repository / PLACE / "file").read_text() == "second"
    done = attacker.run(
        "import os, sys\nprint(os.access(sys.argv[1], os.R_OK | os.X_OK))", repository / ".rezbuild"
    )
    assert done.stdout == "False\n"


def test_reader_of_a_folder_cannot_hold_a_lock_that_an_older_rezbuild_made(attacker, place):
    """Its lock files are readable for everyone."""
    lock = place / "x.lock"
    lock.touch()
    lock.chmod(0o666)
    with locks.open_lock(lock, print):
        pass
    with attacker.start(HOLD, place) as holder:
        try:
            assert locks.open_lock(lock, print).take()
        finally:
            holder.kill()


def test_lock_wait_names_the_holder_and_ends(attacker, place):
    place.chmod(0o777)
    lock, said = place / "x.lock", list[str]()
    lock.touch()
    lock.chmod(0o666)
    with attacker.start(HOLD, place) as holder:
        try:
            with pytest.raises(MachineError) as caught:
                locks.open_lock(lock, said.append).acquire(limit=1.5)
        finally:
            holder.kill()
    assert f"process {holder.pid} of nobody" in str(caught.value)
    assert "next:" in str(caught.value)
    assert len(said) == 1
    assert f"process {holder.pid} of nobody" in said[0]


@pytest.mark.parametrize("dangling", [False, True], ids=["to a file", "to nothing"])
def test_link_at_a_lock_file_is_refused(attacker, place, home, dangling):
    place.chmod(0o777)
    target = home / ("made" if dangling else "file")
    attacker.run("import os, sys; os.symlink(*sys.argv[1:])", target, place / "x.lock")
    with pytest.raises(MachineError, match="a link"):
        locks.open_lock(place / "x.lock", print).acquire()
    assert (home / "file").read_text() == "precious"
    assert os.listdir(home) == ["file"]


def test_hard_link_at_a_lock_file_is_refused(place, home):
    os.link(home / "file", place / "x.lock")
    with pytest.raises(MachineError, match="one name"):
        locks.open_lock(place / "x.lock", print).acquire()
    assert (home / "file").read_text() == "precious"


KILLED = """
import os, pathlib, signal, sys
from rezbuild.files import atomic_swap as publish; from rezbuild.repository import staging as staged
repository, place = pathlib.Path(sys.argv[1]), pathlib.Path("thing/1.0")
publish.exchange = lambda *_: False
rename = pathlib.Path.rename
def killed(path, target):
    done = rename(path, target)
    if "swapping" in str(target):
        os.kill(os.getpid(), signal.SIGKILL)
    return done
pathlib.Path.rename = killed
with staged.locked(repository, "thing-1.0", print):
    with staged.stage(repository, "thing-1.0") as stage:
        (stage / place).mkdir(parents=True)
        staged.put(stage / place, place, repository, "thing-1.0", keep=False)
"""


@pytest.mark.parametrize("state", ["nothing arrived", "something arrived"])
def test_power_loss_while_a_variant_is_replaced_keeps_the_only_copy(repository, state):
    """A disk may have saved only one of the renames, or files without content."""
    build(repository, "first")
    subprocess.run([sys.executable, "-c", KILLED, repository], check=False)
    assert not (repository / PLACE).exists()
    if state == "something arrived":
        (repository / PLACE).mkdir()
        (repository / PLACE / "file").touch()
    said: list[str] = []
    with staging.locked(repository, NAME, said.append):
        found = [p for p in repository.rglob("file") if p.read_text() == "first"]
    assert len(found) == 1
    kept = found[0].relative_to(repository).parts[:2]
    assert kept == (PLACE.parts if state == "nothing arrived" else (".rezbuild", "old"))


@pytest.mark.parametrize("torn", [b"", b"th", b"\xff\xfe\x00"])
def test_leftover_of_an_older_rezbuild_is_never_removed(repository, torn):
    """It wrote the target into a file, which a power loss leaves empty or incomplete."""
    left = repository / ".rezbuild/swapping" / NAME
    (left / "payload").mkdir(parents=True)
    (left / "payload/file").write_text("the only copy")
    (left / "place").write_bytes(torn)
    said = build(repository)
    assert (left / "payload/file").read_text() == "the only copy"
    assert any(str(left) in line and "left alone" in line for line in said)


def test_package_on_a_lower_layer_of_an_overlay_is_replaced(place):
    """rename(2) fails for a folder of a lower layer (EXDEV)."""
    lower, upper, work, merged = (place / name for name in ("lower", "upper", "work", "merged"))
    for folder in (lower / PLACE, upper, work, merged):
        folder.mkdir(parents=True)
    (lower / PLACE / "file").write_text("first")
    disk = ["mount", "-t", "tmpfs", "none"]
    options = f"lowerdir={lower},upperdir={place}/disk/upper,workdir={place}/disk/work"
    (place / "disk").mkdir()
    if os.geteuid() or subprocess.run([*disk, place / "disk"], check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        for name in ("upper", "work"):
            (place / "disk" / name).mkdir()
        argv = ["mount", "-t", "overlay", "none", "-o", options, merged]
        if subprocess.run(argv, check=False).returncode:
            pytest.skip("no overlay can be mounted here")
        try:
            build(merged, "second")
            assert (merged / PLACE / "file").read_text() == "second"
            assert not list((merged / ".rezbuild/swapping").iterdir())
        finally:
            subprocess.run(["umount", merged], check=True)
    finally:
        subprocess.run(["umount", place / "disk"], check=True)
