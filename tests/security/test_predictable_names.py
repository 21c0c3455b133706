"""Links, FIFOs and devices at names that rezbuild writes or reads."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from rezbuild.files import safe_files
from rezbuild.payload import manifest
from rezbuild.plan import durations
from rezbuild.run import gantt, timeline
from rezbuild.sources import partial_file
from rezbuild.store.build_note import BuildNote
from rezbuild.versions import add

LINK = "import os, sys\nos.symlink(*sys.argv[1:])"


@pytest.mark.parametrize("name", ["durations.new", "durations.json"])
def test_link_at_the_file_of_durations_is_not_followed(attacker, place, home, name):
    place.chmod(0o777)
    attacker.run(LINK, home / "file", place / name)
    durations._write(place / "durations.json", [])
    assert (home / "file").read_text() == "precious"
    assert json.loads((place / "durations.json").read_text()) == {"builds": []}


def test_link_at_a_timeline_is_not_followed(attacker, place, home):
    shown = gantt.Timeline("a plan", time.time(), 2, (), ())
    folder = place / timeline.FOLDER
    folder.mkdir()
    folder.chmod(0o777)
    name = time.strftime("%Y-%m-%d-%H%M%S", time.localtime(shown.began))
    for suffix in (".svg", ".json", "-2.json"):
        attacker.run(LINK, home / "file", folder / f"{name}{suffix}")
    timeline.write_to_cache(shown, place)
    assert (home / "file").read_text() == "precious"


def test_link_at_the_part_of_a_source_is_not_followed(attacker, place, home):
    place.chmod(0o777)
    attacker.run(LINK, home / "file", place / "x.tar.gz.part")
    with pytest.raises(OSError, match="symbolic link"):
        safe_files.resume(place / "x.tar.gz.part")
    attacker.run(LINK, home / "file", place / f".x.tar.gz.{os.getpid()}.part")
    (home / "source").write_text("archive")
    with pytest.raises(OSError, match="exists"):
        partial_file.copy(home / "source", place / "x.tar.gz")
    assert (home / "file").read_text() == "precious"


def test_link_at_the_part_of_a_catalogue_is_not_followed(attacker, place, home):
    (place / "sources.toml").write_text("before")
    place.chmod(0o777)
    attacker.run(LINK, home / "file", place / f".sources.toml.{os.getpid()}.part")
    add._replace(place / "sources.toml", b"before", b"after")
    assert (home / "file").read_text() == "precious"
    assert (place / "sources.toml").read_text() == "after"


def test_link_at_a_build_note_is_not_followed(attacker, place, home):
    place.chmod(0o777)
    attacker.run(LINK, home / "file", place / "rezbuild.key")
    BuildNote(place).begin("key", ready=False)
    assert (home / "file").read_text() == "precious"


@pytest.mark.parametrize("kind", ["fifo", "device", "endless", "folder", "link"])
@pytest.mark.parametrize("name", [manifest.MANIFEST, manifest.CONTENTS, "durations.json"])
def test_record_that_is_not_a_regular_file_counts_as_missing(place, name, kind):
    """A FIFO has no writer, and a device has no end."""
    path = place / name
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        make_device(path)
    elif kind == "endless":
        with path.open("wb") as file:
            file.truncate(safe_files.MOST + 1)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    assert manifest.read(place) is None
    assert manifest.read_contents(place) is None
    assert durations._read(place / "durations.json") == {}


def make_device(path: Path) -> None:
    try:
        os.mknod(path, 0o20666, os.makedev(1, 5))  # /dev/zero
    except PermissionError:
        pytest.skip("no devices can be made here")
