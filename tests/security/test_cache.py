"""A cache into which another user has written."""

from __future__ import annotations

from pathlib import Path

import pytest

from rezbuild.errors import MachineError
from rezbuild.files import ownership
from rezbuild.settings import Settings
from rezbuild.verify import reproduce

PLANT = """
import os, sys
os.makedirs(os.path.dirname(sys.argv[1]), exist_ok=True)
open(sys.argv[1], "w").write("planted")
"""
FILES = [
    "durations.json",
    "durations.new",
    "timelines/2026-11-28-012147.svg",
    "farm/payloads/00ff/rezbuild.json",
    "farm/store/zlib/1.3.1/key.json",
    "debug/.build-id/ab/cdef.debug",
    "profiles/python-3.11.2-abc.tar.gz",
    "ccache/0/0/object",
    "sources/zlib/zlib-1.3.1.tar.gz",
    "debian/apt.conf",
]


@pytest.fixture
def cache(place: Path) -> Path:
    folder = place / "cache"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("name", FILES)
def test_file_of_another_user_is_refused_anywhere_in_the_cache(attacker, cache, name):
    """The cache was writable for a moment."""
    folder = cache / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.parent.chmod(0o777)
    attacker.run(PLANT, folder)
    folder.parent.chmod(0o755)
    with pytest.raises(MachineError, match="belongs to the user nobody"):
        ownership.check_folder(Settings(cache), cache)
    ownership.check_folder(Settings(cache, trust_cache=True), cache)


@pytest.mark.parametrize("name", sorted({Path(name).parts[0] for name in FILES if "/" in name}))
@pytest.mark.parametrize("mode", [0o777, 0o757])
def test_world_writable_folder_is_refused(cache, name, mode):
    (cache / name).mkdir()
    (cache / name).chmod(mode)
    with pytest.raises(MachineError, match="anyone may write"):
        ownership.check_folder(Settings(cache), cache)


def test_world_writable_root_is_refused_by_a_second_build(cache):
    """``rezbuild reproduce`` must check the folders themselves, not only their content."""
    cache.chmod(0o777)
    subject = reproduce._Subject.__new__(reproduce._Subject)
    with pytest.raises(MachineError, match="anyone may write"):
        reproduce._cache(subject, cache / "folder", Settings(cache))


def test_own_files_and_locks_are_accepted(attacker, cache):
    (cache / "sources").mkdir()
    (cache / "sources/.zlib.lock").touch()
    (cache / "sources/.zlib.lock").chmod(0o666)
    (cache / "sources/link").symlink_to("/usr/share")
    ownership.check_folder(Settings(cache), cache)
    ownership.check_folder(Settings(cache), cache / "none")
