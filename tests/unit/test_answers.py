"""What a configure script leaves: put into another build's folder, or not kept at all."""

from __future__ import annotations

import dataclasses
import io
import os
import subprocess
import tarfile
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from rezbuild.build import configure_cache
from rezbuild.build.configure_cache import Answers
from rezbuild.build.recipe_api import Build, Dependency
from rezbuild.errors import BuildError

# The suite may be run by a make, which one below it would tell of.
ALONE = {"PATH": "/usr/bin:/bin"}

SCRIPT = """\
#!/bin/sh
echo ran >>"$COUNT"
echo "checking in $(pwd)"
printf 'all:\\n\\t@echo made in %s of %s\\nMakefile: Makefile.in\\n\\t@echo remade\\n' \\
    "$(pwd)" "$LDFLAGS" >Makefile
echo "home $HOME, needs $1" >config.status
chmod +x config.status
mkdir -p empty made/deep
echo deep >made/deep/file
ln -sf deep/file made/link
echo more >>given
touch .
"""


class Place:
    """The folders of one build; ``runs`` counts how often its configure has run."""

    def __init__(self, root: Path, name: str, **facts: str) -> None:
        self.root = root / name
        self.work, self.home = self.root / "work", self.root / "home"
        self.source, self.low = self.work / "source", root / f"low-{name}"
        for folder in (self.source, self.home, self.root / "logs", self.work / "needs", self.low):
            folder.mkdir(parents=True)
        (self.low / "rezbuild.json").write_text('{"fingerprint": "1"}')
        (self.work / "needs/low").symlink_to(self.low)
        self.count = root / "count"
        self.script(SCRIPT)
        for file in ("given", "Makefile.in"):
            (self.source / file).write_text(f"{file}\n")
        self.facts = ["gcc 12", *facts.values()]
        self.dependencies = {"low": self.low}

    def script(self, text: str) -> None:
        path = self.source / "configure"
        path.write_text(text)
        path.chmod(0o755)

    def build(self, env: Mapping[str, str] | None = None) -> Build:
        need = self.work / "needs/low"
        store = Answers(
            folder=self.root.parent / "cache" / configure_cache.FOLDER,
            name="thing-1.0",
            build=self.root,
            work=self.work,
            home=self.home,
            dependencies=self.dependencies,
            facts=lambda: list(self.facts),
        )
        environ = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.home),
            "COUNT": str(self.count),
            "LDFLAGS": f"-L{need}/lib",
        }
        return Build(
            name="thing",
            version="1.0",
            recipe=self.root,
            source=self.source,
            destdir=self.work / "dest",
            logs=self.root / "logs",
            profile="fast",
            jobs=1,
            env={**environ, **(env or {})},
            dependencies={"low": Dependency("low", "1.0", need)},
            answers=store,
        )

    def configure(self, *arguments: str, env: Mapping[str, str] | None = None) -> Build:
        build = self.build(env)
        build.configure("./configure", *(arguments or (f"{self.work}/needs/low",)))
        return build

    @property
    def runs(self) -> int:
        return len(self.count.read_text().splitlines()) if self.count.exists() else 0

    def tree(self) -> dict[str, object]:
        """Names with contents, targets and modes; this place's folders are called PLACE."""
        found: dict[str, object] = {}
        for path in sorted(self.source.rglob("*")):
            name = path.relative_to(self.source).as_posix()
            if path.is_symlink():
                found[name] = os.readlink(path)
            elif path.is_dir():
                found[name] = "folder"
            else:
                text = path.read_bytes().replace(str(self.root).encode(), b"PLACE")
                found[name] = (text, path.stat().st_mode & 0o777)
        return found


@pytest.fixture
def one(tmp_path):
    # Another number of letters than the other's.
    place = Place(tmp_path, "one")
    place.configure()
    assert place.runs == 1
    return place


def other(one: Place, name: str = "the.other") -> Place:
    return Place(one.root.parent, name)


def test_another_folder_is_given_the_same_without_a_run(one, capfd):
    place = other(one)
    build = place.configure()
    assert place.runs == 1
    assert "01-configure ... as before" in capfd.readouterr().out
    assert place.tree() == one.tree()
    assert str(place.source) in (place.source / "Makefile").read_text()
    assert (place.source / "config.status").read_text().startswith(f"home {place.home}, needs")
    assert (place.source / "given").read_text() == "given\nmore\n"
    log = (place.root / "logs/01-configure.log").read_text()
    assert log == f"$ ./configure {place.work}/needs/low\nchecking in {place.source}\n"
    # As a step of this build, for the record of how it was built.
    assert build.commands == [["./configure", f"{place.work}/needs/low"]]
    build.run("echo", "next")
    assert (place.root / "logs/02-echo-next.log").exists()


def test_make_takes_nothing_for_older_than_another(one):
    place = other(one)
    place.configure()
    said = subprocess.run(
        ["make"], cwd=place.source, env=ALONE, capture_output=True, text=True, check=True
    ).stdout
    assert said == f"made in {place.source} of -L{place.work}/needs/low/lib\n"


def relink(link: Path, target: str) -> None:
    link.unlink()
    link.symlink_to(target)


# One thing each that a configure may read.
CHANGES = {
    "a source": lambda p: (p.source / "given").write_text("other\n"),
    "a mode": lambda p: (p.source / "given").chmod(0o755),
    "a new file": lambda p: (p.source / "new").touch(),
    "a new folder": lambda p: (p.source / "new").mkdir(),
    "a file beside the source": lambda p: (p.work / "static").touch(),
    "a link": lambda p: relink(p.work / "needs/low", "/usr"),
    "a dependency": lambda p: (p.low / "rezbuild.json").write_text('{"fingerprint": "2"}'),
    "one dependency more": lambda p: p.dependencies.update(zlib=p.low),
    "the compiler": lambda p: p.facts.__setitem__(0, "gcc 13"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_whatever_it_reads_makes_it_run(one, what):
    place = other(one)
    CHANGES[what](place)
    place.configure()
    assert place.runs == 2


def test_a_flag_makes_it_run(one):
    place = other(one)
    place.configure(env={"CFLAGS": "-O3"})
    assert place.runs == 2


def test_other_words_make_it_run(one):
    place = other(one)
    place.configure("--enable-more")
    assert place.runs == 2


def test_another_folder_of_the_source_makes_it_run(one):
    place = other(one)
    (place.source / "empty").mkdir()
    for name in ("first", "second"):
        (place.source / name).mkdir()
    place.build().configure("../configure", folder="first")
    place.build().configure("../configure", folder="second")
    assert place.runs == 3


def test_what_differs_each_time_does_not(one):
    other(one).configure(env={"CCACHE_DIR": "/elsewhere", "MAKEFLAGS": "-j --jobserver-auth=5,6"})
    assert one.runs == 1


def behind_a_link(one: Place, name: str) -> Place:
    """A shell's pwd is the real folder; here the build stands behind a link."""
    real = Place(one.root.parent / "disk", name)
    link = one.root.parent / f"behind-{name}"
    link.symlink_to(real.root)
    real.root, real.count = link, one.count
    real.work, real.home = link / "work", link / "home"
    real.source = real.work / "source"
    return real


def test_where_links_lead(tmp_path):
    places = []
    for first in ("linked", "plain"):
        one = Place(tmp_path / first, "one")
        places = [one, other(one), other(one, "third")]
        places.insert(0 if first == "linked" else 1, behind_a_link(one, "real"))
        for place in places:
            place.configure()
            assert b"@" not in b"".join(p.read_bytes() for p in place.source.glob("*.*"))
        assert one.runs == 1
        assert places[-1].tree() == places[-2].tree()
        assert str(places[-1].source) in (places[-1].source / "Makefile").read_text()


def test_a_path_that_autoconf_has_cut(tmp_path):
    """config.status holds long values in pieces of 148 characters."""
    halves = '"$(pwd | cut -c-20)" "$(pwd | cut -c21-)"'
    write = f"""printf 's,@CFLAGS@,%s"\\\\\\n"%s,\\n' {halves} >status"""
    script = f"#!/bin/sh\necho ran >>$COUNT\n{write}\n"
    for name in ("one", "the.other"):
        place = Place(tmp_path, name)
        place.script(script)
        place.configure()
    assert place.runs == 1
    assert (place.source / "status").read_text() == f"s,@CFLAGS@,{place.source},\n"


LEAVES = {
    "a compiled file with its place": 'printf "\\\\000%s" "$(pwd)" >compiled',
    "a link to an absolute place": 'ln -s "$(pwd)/given" absolute',
    "a file less": "rm given",
    "its place, escaped": "pwd | sed 's,/,\\\\/,g' >escaped",
    "the folder above": 'dirname "$(dirname "$(pwd)")" >above',
    "a link out of the folder": "ln -s ../../../elsewhere out",
    "a pipe": "mkfifo pipe",
    "a file in a folder's place": "rmdir folder && echo >folder",
    "another spelling of its place": 'echo "$(dirname "$(pwd)")2" >spelled',
}


@pytest.mark.parametrize("what", LEAVES)
def test_what_would_not_be_the_same_elsewhere_is_not_kept(tmp_path, what):
    for name in ("one", "the.other"):
        place = Place(tmp_path, name)
        place.script(f"#!/bin/sh\necho ran >>$COUNT\n{LEAVES[what]}\n")
        (place.source / "folder").mkdir()
        place.configure()
    assert place.runs == 2
    assert not list(tmp_path.glob("cache/*/*"))


def test_one_that_fails_is_not_kept(tmp_path):
    for name in ("one", "the.other"):
        place = Place(tmp_path, name)
        place.script("#!/bin/sh\necho ran >>$COUNT\nexit 1\n")
        with pytest.raises(BuildError):
            place.configure()
    assert place.runs == 2


def test_a_folder_with_a_space_goes_without(one):
    place = other(one, "with space")
    place.configure()
    other(one, "with  spaces").configure()
    assert place.runs == 3


def test_a_dependency_without_a_record_goes_without(one):
    for name in ("second", "third"):
        place = other(one, name)
        (place.low / "rezbuild.json").unlink()
        place.configure()
    assert place.runs == 3


@pytest.mark.parametrize("damage", ["cut", "other bytes", "empty"])
def test_a_damaged_archive_is_replaced(one, damage, capfd):
    (archive,) = one.root.parent.glob("cache/configure/thing-1.0-*.tar.gz")
    data = archive.read_bytes()
    bad = {"cut": data[:-30], "other bytes": data[:90] + b"12345" + data[95:], "empty": b""}
    archive.write_bytes(bad[damage])
    place = other(one)
    place.configure()
    assert place.runs == 2
    assert "cannot be used" in capfd.readouterr().out
    assert place.tree() == one.tree()
    other(one, "third").configure()
    assert place.runs == 2


def test_a_damaged_one_in_a_cache_that_cannot_be_written(one, capfd):
    (archive,) = one.root.parent.glob("cache/configure/thing-1.0-*.tar.gz")
    archive.write_bytes(b"")
    archive.chmod(0o444)
    archive.parent.rename(archive.parent.with_name("moved"))
    # Of root too: nothing can be made in a folder that is none.
    archive.parent.symlink_to("/proc/self/task")
    place = other(one)
    place.configure()
    assert place.runs == 2
    assert "is not kept" in capfd.readouterr().out


def test_nothing_is_written_through_a_link(one):
    (archive,) = one.root.parent.glob("cache/configure/thing-1.0-*.tar.gz")
    with tarfile.open(archive, "w:gz") as tar:
        for name in ("log", "tree/needs/low/hostile"):
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    place = other(one)
    place.configure()
    assert place.runs == 2
    assert not (place.low / "hostile").exists()


def test_a_name_of_a_folder_that_this_build_does_not_have(one, capfd):
    (archive,) = one.root.parent.glob("cache/configure/thing-1.0-*.tar.gz")
    text = b"@rezbuild-place-need-more@/lib"
    with tarfile.open(archive, "w:gz") as tar:
        for name in ("log", "tree/source/Makefile"):
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text))
    place = other(one)
    place.configure()
    assert place.runs == 2
    assert "names a folder that this build does not have" in capfd.readouterr().out


def test_what_is_written_next_is_newer(one):
    """To make, a file of the same time as a Makefile is no reason to write that again."""
    place = other(one)
    place.configure()
    (place.source / "Makefile.in").write_text("edited\n")
    argv = ["make", "Makefile"]
    said = subprocess.run(
        argv, cwd=place.source, env=ALONE, capture_output=True, text=True, check=True
    )
    assert said.stdout.startswith("remade\n")


def test_where_clocks_stand_for_long(one, monkeypatch):
    """Those of ext4 and NFS stood for 4 ms up to Linux 6.12; some stand for a second."""

    def coarse(_folder: Path) -> int:
        return time.time_ns() // 50_000_000 * 50_000_000

    monkeypatch.setattr(configure_cache, "_clock", coarse)
    place = other(one)
    place.configure()
    assert coarse(place.work) > (place.source / "Makefile").stat().st_mtime_ns


def test_a_host_that_changes_meanwhile(tmp_path):
    """What began with the old libraries is no answer for the new ones, nor for the old."""
    place = Place(tmp_path, "one")
    build = place.build()
    states = iter([["before"], ["after"]])
    build.answers = dataclasses.replace(build.answers, facts=lambda: next(states))
    build.configure("./configure")
    assert not list(tmp_path.glob("cache/configure/*"))


def test_what_nobody_has_used_for_long_goes(one):
    (archive,) = one.root.parent.glob("cache/configure/thing-1.0-*.tar.gz")
    old, used = archive.with_name("old-1.0-0.tar.gz"), archive
    left = archive.with_name(".part-1234")
    left.mkdir()
    for path, days in ((old, 61), (used, 61), (left, 2)):
        path.touch() if path != left else None
        then = time.time() - days * 86400
        os.utime(path, (then, then))
    other(one).configure()
    other(one, "third").configure("--another")
    assert used.exists()
    assert not old.exists()
    assert not left.exists()


def test_a_cache_that_is_a_file_is_said(tmp_path, capfd):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/configure").write_text("")
    Place(tmp_path, "one").configure()
    assert "is not kept" in capfd.readouterr().out
