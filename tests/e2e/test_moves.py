"""Each way of Rez to move or use a payload, while the original is hidden.

docs/explanation/relocation.md has the table of these.
"""

from __future__ import annotations

import collections
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from host_tools import require_tool
from moves import (
    DEFAULTS,
    LIBRARY_SIZE,
    NAMES,
    PROBE,
    PYTHON,
    add_host_packages,
    build_folders,
    cache_settings,
    check,
    copy_with_rez_cp,
    hide,
    probe,
    snapshot,
    variant,
)
from studio import Studio

pytestmark = pytest.mark.e2e


def move_with_rez(studio: Studio, folder: Path) -> Path:
    first = copy_with_rez_cp(studio, folder)
    repository = folder / "moved"
    repository.mkdir()
    add_host_packages(studio, repository)
    studio.rez("mv", "--dest-path", repository, f"python-{PYTHON}", first)
    shutil.rmtree(first)
    return repository


def copy_by_hand(studio: Studio, folder: Path) -> Path:
    first = copy_with_rez_cp(studio, folder)
    repository = folder / "a much longer path than before" / ("x" * 100) / "repository"
    repository.parent.mkdir(parents=True)
    first.rename(repository)
    return repository


def reach_by_link(studio: Studio, folder: Path) -> Path:
    first = copy_with_rez_cp(studio, folder)
    repository = folder / "link"
    repository.symlink_to(first)
    return repository


def copy_read_only(studio: Studio, folder: Path) -> Path:
    repository = copy_with_rez_cp(studio, folder)
    subprocess.run(["chmod", "-R", "a-w", repository], check=True)
    return repository


def copy_following_links(studio: Studio, folder: Path) -> Path:
    return copy_with_rez_cp(studio, folder, options=("--follow-symlinks",))


MOVES: dict[str, Callable[[Studio, Path], Path]] = {
    "rez-cp": copy_with_rez_cp,
    "rez-cp --follow-symlinks": copy_following_links,
    "rez-mv": move_with_rez,
    "by hand": copy_by_hand,
    "symlinked": reach_by_link,
    "read-only": copy_read_only,
}


@pytest.mark.parametrize("way", MOVES)
def test_python_works_after_a_move(built, scratch, way):
    folder = scratch / f"way {way}"
    folder.mkdir()
    repository = MOVES[way](built, folder)
    root = variant(repository)
    before = snapshot(root)
    with hide(built.local, *build_folders()):
        check(probe(built, repository), root)
        built.rezbuild("audit", root)
    # The use wrote no file.
    assert snapshot(root) == before


def test_shallow_copy_is_a_link_to_the_original(built, tmp_path):
    """rez-cp --shallow makes links, which work as long as the original exists."""
    repository = copy_with_rez_cp(built, tmp_path, options=("--shallow",))
    assert any(path.is_symlink() for path in (repository / "python" / PYTHON).rglob("*"))
    check(probe(built, repository), variant(built.local))


def test_removed_package_is_copied_again(built, tmp_path):
    repository = copy_with_rez_cp(built, tmp_path)
    built.rez("rm", "-p", f"python-{PYTHON}", repository)
    assert not (repository / "python" / PYTHON).exists()
    done = built.in_env(repository, "python", "true", ok=False)
    assert done.returncode != 0
    built.rez("rm", "-f", "python", repository)
    assert sorted(path.name for path in repository.iterdir()) == ["arch", "platform"]
    built.rez("cp", "--dest-path", repository, f"python-{PYTHON}")
    check(probe(built, repository), variant(repository))


def test_two_versions_work_in_one_repository(built, moved, tmp_path):
    """The second package is the same payload under another version; each finds its own files."""
    repository = tmp_path / "two"
    shutil.copytree(moved, repository, symlinks=True)
    other = f"{PYTHON}.1"
    paths = ("--paths", repository, "--dest-path", repository, "--reversion", other)
    built.rez("cp", *paths, f"python-{PYTHON}")
    for version in (PYTHON, other):
        done = built.in_env(repository, f"python=={version}", "python3", "-c", PROBE)
        check(json.loads(done.stdout), variant(repository, version=version))


def test_several_repositories_work_at_once(built, moved, tmp_path):
    """Python, the host's packages and a tool are in three repositories."""
    (tmp_path / "python").mkdir()
    shutil.copytree(moved / "python", tmp_path / "python/python", symlinks=True)
    (tmp_path / "host").mkdir()
    for name in ("platform", "arch"):
        shutil.copytree(moved / name, tmp_path / "host" / name)
    tool = tmp_path / "tools/tool/1.0"
    tool.mkdir(parents=True)
    (tool / "package.py").write_text('name = "tool"\nversion = "1.0"\nrequires = ["python-3"]\n')
    paths = os.pathsep.join(str(tmp_path / name) for name in ("tools", "host", "python"))
    done = built.rez("env", "--paths", paths, "tool", "--", "python3", "-c", PROBE)
    check(json.loads(done.stdout), variant(tmp_path / "python"))


def context(studio: Studio, repository: Path, file: Path) -> Path:
    """Save a context of python in a repository."""
    studio.rez("env", "--paths", repository, "python", "--output", file)
    return file


def test_saved_context_works(built, moved, tmp_path):
    file = context(built, moved, tmp_path / "python.rxt")
    done = built.rez("env", "--input", file, "--", "python3", "-c", PROBE)
    check(json.loads(done.stdout), variant(moved))


@pytest.mark.parametrize("options", [(), ("--no-lib-patch",)], ids=["patched", "as it is"])
def test_bundle_works(built, copied, tmp_path, options):
    """rez-bundle edits rpaths; our payloads have none to edit."""
    file = context(built, copied, tmp_path / "python.rxt")
    bundle = tmp_path / "a bundle"
    built.rez("bundle", *options, file, bundle)
    moved_bundle = tmp_path / "moved"
    bundle.rename(moved_bundle)
    root = variant(moved_bundle / "packages")
    with hide(built.local, copied, *build_folders()):
        done = built.rez("env", "-i", moved_bundle / "context.rxt", "--", "python3", "-c", PROBE)
        check(json.loads(done.stdout), root)
        built.rezbuild("audit", root)


def test_suite_works(built, moved, tmp_path):
    """Its tools are wrappers that enter the context."""
    file = context(built, moved, tmp_path / "python.rxt")
    suite = tmp_path / "suite"
    built.rez("suite", "--create", suite)
    built.rez("suite", "--add", file, "--context", "python", suite)
    tools = {path.name for path in (suite / "bin").iterdir()}
    assert {"python", "python3"} <= tools
    path = os.pathsep.join((str(Path(sys.executable).parent), os.defpath))
    done = built.run(suite / "bin/python3", "-c", PROBE, cwd=tmp_path, PATH=path)
    check(json.loads(done.stdout), variant(moved))


# Rez's package cache: copies of packages of an NFS repository on the host's own disk.


def uri(repository: Path, name: str) -> str:
    return f"{repository}/{name}/{DEFAULTS[name]}/package.py[0]"


def test_package_cache_copy_works(built, copied, tmp_path):
    """test_rez.py covers Rez's automatic cache."""
    env = cache_settings(tmp_path, copied)
    built.rez("pkg-cache", "--add-variants", uri(copied, "python"), **env)
    done = built.rez("env", "--paths", copied, "python", "--", "python3", "-c", PROBE, **env)
    seen = json.loads(done.stdout)
    root = Path(seen["prefix"])
    assert tmp_path / "cache" in root.parents
    check(seen, root)
    built.rezbuild("audit", root)
    # The cached copy works alone.
    with hide(built.local, copied / "python", *build_folders()):
        done = subprocess.run(
            [root / "bin/python3", "-I", "-c", PROBE], capture_output=True, text=True, check=True
        )
    check(json.loads(done.stdout), root)


def test_cached_start_makes_no_more_calls(built, copied, tmp_path):
    """This compares opened files and failed searches."""
    require_tool("strace")
    env = cache_settings(tmp_path, copied)
    built.rez("pkg-cache", "--add-variants", uri(copied, "python"), **env)
    (cached,) = (path.parent for path in (tmp_path / "cache").glob("python/*/*/*/rezbuild.json"))
    counts = []
    for root in (variant(copied), cached):
        log = tmp_path / "log"
        code = "import ssl, sqlite3, ctypes, lzma, bz2"
        trace = ["strace", "-f", "-e", "trace=file", "-o", log]
        subprocess.run([*trace, root / "bin/python3", "-I", "-c", code], env={}, check=True)
        lines = [line for line in log.read_text().splitlines() if "(" in line]
        counts.append((len(lines), sum(" = -1 " in line for line in lines)))
    # The cache copies links as files, so readlink may have fewer steps.
    assert all(cached <= uncached for cached, uncached in zip(counts[1], counts[0]))


@pytest.mark.parametrize("name", NAMES)
def test_library_is_at_most_twice_in_the_cache(built, tmp_path, name):
    """Rez's cache copies each link as a file. Files in lib-dynload have no code."""
    env = cache_settings(tmp_path, built.local)
    built.rez("pkg-cache", "--add-variants", uri(built.local, name), **env)
    assert list(tmp_path.glob(f"cache/{name}/*/*/*/rezbuild.json"))
    files = [
        path
        for path in (tmp_path / "cache").rglob("*.so*")
        if path.is_file() and not path.is_symlink() and path.stat().st_size > LIBRARY_SIZE
    ]
    sums = collections.Counter(hashlib.sha256(path.read_bytes()).hexdigest() for path in files)
    assert not sums or max(sums.values()) <= 2
