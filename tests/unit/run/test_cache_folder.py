"""``rezbuild cache``: the disk space of each kind, and what is removed when."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import json_page
import pytest
from payloads import payload, put
from trees import tree

from rezbuild.cli import main
from rezbuild.files import cache_lock
from rezbuild.run.cache_folder import KINDS
from rezbuild.store import Store

ROOT = Path(__file__).parents[3]
KEPT = {"debug", "profiles", "timelines", "durations"}
FILES = {
    "sources": ("sources/zlib/zlib-0.1.tar.gz",),
    "ccache": ("ccache/a/1/object", "ccache/a/stats"),
    "debian": ("debian/lists/Sources",),
    "glibc": ("glibc/2.28-1234/sysroot/libc.so",),
    "stage": ("stage/zlib/1.3-fast/staging/file",),
    "bench": ("bench/cpython-311/abcd/bin/python",),
    "farm": ("farm/payloads/abcd/file", "farm/store/zlib/1.3/abcd.json"),
    "stock": ("stock/3.11/bin/python",),
    "unfinished": ("pin-1234/archive", "apt-1234/file"),
    "configure": ("configure/answers",),
    "debug": ("debug/ab/cd.debug",),
    "profiles": ("profiles/python-3.11.2-abcd.tar.gz",),
    "timelines": ("timelines/run.svg",),
    "durations": ("durations.json",),
}
NOT_CACHED = (
    *("ccache/ccache.conf", "notes.txt", "glibc/2.28-1234.lock", "durations.lock"),
    cache_lock.MARKER,
)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    for name in (*(name for names in FILES.values() for name in names), *NOT_CACHED):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 5000)
    monkeypatch.setenv("REZBUILD_CACHE", str(folder))
    monkeypatch.setenv("REZBUILD_RECIPES", str(ROOT / "packages"))
    return folder


def left(cache: Path) -> set[str]:
    """Return the kinds that still have all their files; none may have lost only some."""
    for name in NOT_CACHED:
        assert (cache / name).is_file()
    found = set()
    for kind, names in FILES.items():
        there = [(cache / name).exists() for name in names]
        assert len(set(there)) == 1, kind
        if there[0]:
            found.add(kind)
    return found


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = main.main(["cache", *argv])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_files_of_the_test_are_of_all_kinds() -> None:
    assert set(FILES) == {kind.name for kind in KINDS}


def test_page_has_each_kind_and_says_what_is_kept() -> None:
    page = (ROOT / "docs/how-to/cache.md").read_text(encoding="utf-8")
    rows = re.findall(r"(?m)^\| `(\w+)` \| [^|]* \| (\w+)[^|]* \|", page)
    assert {name: word == "no" for name, word in rows} == {k.name: k.kept for k in KINDS}


def test_size_has_each_kind_and_the_sum(cache, capsys) -> None:
    found = json_page.read(run(capsys, "size", "--json")[1])
    sizes = {one["kind"]: (one["size"], one["files"]) for one in found["kinds"]}
    assert sizes["stock"] == (cache_size(cache / "stock"), 1)
    assert sizes["farm"][1] == 2
    assert sizes["other"][1] == 3
    assert set(sizes) == {*FILES, "other"}
    assert found["size"] == sum(size for size, _ in sizes.values())
    assert found["store"] is None
    out = run(capsys, "size")[1]
    assert "Pythons that tests compare with" in out
    assert f"{cache}: " in out


def cache_size(folder: Path) -> int:
    done = subprocess.run(["du", "-s", "-B1", folder], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[0])


def test_size_counts_a_kind_on_another_disk(cache, tmp_path, capsys) -> None:
    (tmp_path / "disk").mkdir()
    (cache / "stock").rename(tmp_path / "disk/stock")
    (cache / "stock").symlink_to(tmp_path / "disk/stock")
    found = json_page.read(run(capsys, "size", "--json")[1])["kinds"]
    (stock,) = (one for one in found if one["kind"] == "stock")
    assert stock["size"] == cache_size(tmp_path / "disk/stock")


def test_size_of_the_store_counts_shared_payloads_once(cache, tmp_path, monkeypatch, capsys):
    store = Store(str(tmp_path / "store"))
    root = payload(tmp_path / "root")
    entries = [put(store, root), put(store, root, compiler="another")]
    monkeypatch.setenv("REZBUILD_STORE", str(tmp_path / "store"))
    found = json_page.read(run(capsys, "size", "--json")[1])["store"]
    assert (found["size"], found["payloads"]) == (entries[0].size, 2)
    assert "in 2 payloads" in run(capsys, "size")[1]


def test_clean_keeps_needed_sources_and_what_no_build_can_make(cache, capsys) -> None:
    archive = cache / "sources/zlib/zlib-1.3.2.tar.gz"
    signature = archive.with_name(f"{archive.name}.asc")
    for path in (archive, signature):
        path.write_text("x")
    assert run(capsys, "clean")[0] == 0
    assert left(cache) == KEPT
    assert archive.exists()
    assert signature.exists()
    code, out, _ = run(capsys, "clean", "sources", "debug")
    assert code == 0
    assert "sources: 8.2 kB in 2 files removed" in out
    assert left(cache) == KEPT - {"debug"}
    assert not archive.exists()


def test_clean_removes_only_named_kinds(cache, capsys) -> None:
    found = json_page.read(run(capsys, "clean", "--json", "ccache", "stock")[1])
    assert left(cache) == set(FILES) - {"ccache", "stock"}
    assert [one["kind"] for one in found["removed"]] == ["ccache", "stock"]
    assert found["dry_run"] is False


def test_dry_run_removes_nothing_and_says_the_same(cache, capsys) -> None:
    out = run(capsys, "clean", "--dry-run")[1]
    assert left(cache) == set(FILES)
    assert run(capsys, "clean")[1] == out.replace("would be removed", "removed")


def test_clean_keeps_newer_files(cache, capsys) -> None:
    """A folder is as old as its newest file."""
    old = time.time() - 40 * 24 * 3600
    for kind in ("stock", "stage", "ccache"):
        for path in sorted((cache / kind).rglob("*"), reverse=True):
            os.utime(path, (old, old))
    os.utime(cache / FILES["stage"][0])
    run(capsys, "clean", "--older-than", "30")
    assert left(cache) == set(FILES) - {"stock", "ccache"}


def test_clean_follows_no_links(cache, tmp_path, capsys) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("x")
    (cache / "glibc/link").symlink_to(outside)
    (outside / "large").write_bytes(b"x" * 10_000_000)
    assert "MB" not in run(capsys, "clean")[1]
    assert not os.path.lexists(cache / "glibc/link")
    assert (outside / "file").exists()


def test_clean_without_recipes_keeps_all_sources(cache, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("REZBUILD_RECIPES", str(tmp_path / "nothing"))
    assert "all sources are kept" in run(capsys, "clean")[2]
    assert left(cache) == {*KEPT, "sources"}


def test_clean_removes_nothing_while_a_build_uses_the_cache(cache, capsys) -> None:
    code = """
import sys, pathlib
from rezbuild.files import cache_lock
with cache_lock.shared(pathlib.Path(sys.argv[1]), print):
    print("begins", flush=True)
    input()
"""
    argv = [sys.executable, "-c", code, cache]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as build:
        build.stdout.readline()
        status, _, err = run(capsys, "clean")
        assert status == 10
        assert f"is in use by process {build.pid} of " in err
        assert left(cache) == set(FILES)
        # Builds share the lock.
        with cache_lock.shared(cache, pytest.fail):
            pass
        build.communicate(b"end\n")
    assert run(capsys, "clean")[0] == 0


@pytest.mark.parametrize("home", ["cache", "cache/alice"])
def test_clean_refuses_the_home_and_folders_above_it(cache, home, monkeypatch, capsys) -> None:
    (cache.parent / home).mkdir(exist_ok=True)
    monkeypatch.setenv("HOME", str(cache.parent / home))
    code, _, err = run(capsys, "clean")
    assert code == 2
    assert f"the cache {cache} is a folder for other files, too" in err
    assert left(cache) == set(FILES)


def test_clean_refuses_a_folder_that_had_other_files(cache, tmp_path, monkeypatch, capsys):
    """Here, each name of a kind belongs to somebody else; a build may have used the folder."""
    (cache / cache_lock.MARKER).unlink()
    with cache_lock.shared(cache, pytest.fail):
        pass
    before = tree(cache)
    for argv in ((), ("--dry-run",), ("sources",), tuple(FILES)):
        code, out, err = run(capsys, "clean", *argv)
        assert (code, out) == (2, "")
        assert f"the cache {cache} had files before rezbuild used it" in err
        assert "next:  set REZBUILD_CACHE" in err
        assert f"touch {cache}/{cache_lock.MARKER}" in err
    assert tree(cache) == before
    (cache / cache_lock.MARKER).touch()
    assert run(capsys, "clean")[0] == 0
    # The folder that rezbuild uses without REZBUILD_CACHE has its name.
    (cache / cache_lock.MARKER).unlink()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    cache.rename(tmp_path / "home/rezbuild")
    monkeypatch.delenv("REZBUILD_CACHE")
    assert run(capsys, "clean")[0] == 0


@pytest.mark.parametrize("folders", [("zlib", "python"), ("sources", "bench", "farm", "stock")])
def test_build_in_a_foreign_folder_does_not_make_it_a_cache(tmp_path, monkeypatch, capsys, folders):
    """A mirror, a repository or a project, whose folders may have the names of our kinds."""
    files = [tmp_path / "foreign" / name / "1.0/package.py" for name in folders]
    for path in files:
        path.parent.mkdir(parents=True)
        path.write_text("x")
    monkeypatch.setenv("REZBUILD_CACHE", str(tmp_path / "foreign"))
    monkeypatch.setenv("REZBUILD_OFFLINE", "1")
    assert main.main(["fetch", "zlib", "--recipes", str(ROOT / "packages")]) == 4
    capsys.readouterr()
    assert run(capsys, "clean")[0] == 2
    assert all(path.exists() for path in files)


def test_new_cache_is_marked(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("REZBUILD_CACHE", str(tmp_path / "new/cache"))
    monkeypatch.setenv("REZBUILD_OFFLINE", "1")
    main.main(["plan", "zlib", "--recipes", str(ROOT / "packages")])
    assert not (tmp_path / "new").exists()
    main.main(["fetch", "zlib", "--recipes", str(ROOT / "packages")])
    capsys.readouterr()
    assert (tmp_path / "new/cache" / cache_lock.MARKER).is_file()
    (tmp_path / "new/cache/notes.txt").write_text("x")
    assert run(capsys, "clean")[0] == 0
    assert (tmp_path / "new/cache/notes.txt").exists()


def test_clean_follows_a_link_at_the_top_only_for_a_named_kind(cache, tmp_path, capsys):
    """For example, the sources may be a mirror that other machines use."""
    (cache / "sources").rename(tmp_path / "mirror")
    (cache / "sources").symlink_to(tmp_path / "mirror")
    assert run(capsys, "clean")[0] == 0
    assert (tmp_path / "mirror/zlib/zlib-0.1.tar.gz").exists()
    assert run(capsys, "clean", "sources")[0] == 0
    assert not (tmp_path / "mirror/zlib/zlib-0.1.tar.gz").exists()


def test_clean_refuses_a_checkout_and_a_file(cache, tmp_path, monkeypatch, capsys) -> None:
    (cache / ".git").mkdir()
    assert run(capsys, "clean", "--dry-run")[0] == 2
    assert run(capsys, "clean", "ccache")[0] == 2
    assert left(cache) == set(FILES)
    (tmp_path / "file").touch()
    monkeypatch.setenv("REZBUILD_CACHE", str(tmp_path / "file"))
    code, _, err = run(capsys, "clean")
    assert code == 2
    assert "is not a folder" in err


def test_unknown_kind_is_a_usage_error(cache, capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        main.main(["cache", "clean", "nonsense"])
    assert "must be one of sources, ccache" in capsys.readouterr().err


def test_empty_cache_has_no_size(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("REZBUILD_CACHE", str(tmp_path / "none"))
    assert "none: 0 bytes" in run(capsys, "size")[1]
    assert "none: 0 bytes removed" in run(capsys, "clean")[1]
    assert not (tmp_path / "none").exists()
