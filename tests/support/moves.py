"""Ways to move a payload, and to hide its original."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from studio import ROOT, Studio

from rezbuild.elf import reader
from rezbuild.elf.host_libraries import host_libraries
from rezbuild.plan import resolve
from rezbuild.settings import Settings
from rezbuild.sources.fetch import Fetcher

# The request for the chain under test; test_matrix.py sets other requests than the default.
REQUEST = os.environ.get("REZBUILD_TEST_REQUEST") or "python"
_VERSIONS = "REZBUILD_TEST_VERSIONS"
# Bytes. Libraries are larger; files in lib-dynload without code are smaller.
LIBRARY_SIZE = 12_000


def _versions() -> dict[str, str]:
    """Return the version of each package that `rezbuild build` chooses on this machine.

    This fetches the sources. The workers of pytest-xdist inherit the result.
    """
    known = json.loads(os.environ.get(_VERSIONS) or "{}")
    if REQUEST not in known:
        fetcher, recipes = Fetcher(Settings.read()), resolve.recipes(ROOT / "packages")
        plan = resolve.plan(recipes, [REQUEST], lambda _, release: fetcher.available(release))
        known[REQUEST] = {step.release.name: step.release.version for step in plan}
        os.environ[_VERSIONS] = json.dumps(known)
    return known[REQUEST]


DEFAULTS = _versions()
NAMES = tuple(DEFAULTS)
PYTHON = DEFAULTS["python"]
PYTHON_SERIES = tuple(int(part) for part in PYTHON.split(".")[:2])
# The pip of CPython 3.9.2 chooses the newest version if an index states no Python version;
# its new resolver, off by default, then looks for an older one.
RESOLVER = {"PIP_USE_FEATURE": "2020-resolver"} if PYTHON_SERIES < (3, 10) else {}
# Facts of the interpreter; runs inside rez-env.
PROBE = """\
import ctypes, json, os, readline, sqlite3, ssl, sys, zlib
maps = {line.split(None, 5)[5].strip() for line in open("/proc/self/maps") if "/" in line}
print(json.dumps({
    "version": "%d.%d.%d" % sys.version_info[:3],
    "prefix": sys.prefix,
    "executable": sys.executable,
    "openssl": ssl.OPENSSL_VERSION.split()[1],
    "zlib": zlib.ZLIB_RUNTIME_VERSION,
    "readline": readline._READLINE_LIBRARY_VERSION,
    "sqlite": sqlite3.connect(":memory:").execute("select 6*7").fetchone()[0],
    "ctypes": ctypes.CDLL(None).getpid() == os.getpid(),
    "path": sys.path,
    "maps": sorted(maps),
}))
"""


def host_python() -> Path:
    """Return the host's interpreter of the version under test; skip the test without one."""
    path = Path("/usr/bin/python{}.{}".format(*PYTHON_SERIES))
    if path.is_file():
        said = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)
        if said.stdout.split() == ["Python", PYTHON]:
            return path
    pytest.skip(f"the host has no Python {PYTHON} to compare with")


def build_folders() -> list[Path]:
    """Return the build folders of this clone."""
    return [folder for folder in (ROOT / "packages").glob("*/build") if folder.is_dir()]


@contextlib.contextmanager
def hide(*folders: Path) -> Iterator[None]:
    """Hide folders during the block."""
    with contextlib.ExitStack() as stack:
        for folder in folders:
            place = folder.with_name(f".hidden-{folder.name}")
            folder.rename(place)
            stack.callback(place.rename, folder)
        yield


def variant(repository: Path, name: str = "python", version: str = PYTHON) -> Path:
    (root,) = (repository / name / version).glob("platform-*/arch-*")
    return root


def add_host_packages(studio: Studio, repository: Path) -> None:
    """Create Rez's packages platform and arch in a repository that is used alone."""
    for name in ("platform", "arch"):
        shutil.copytree(studio.local / name, repository / name)


def copy_packages(
    studio: Studio, repository: Path, *requests: str, options: tuple[str, ...] = ()
) -> Path:
    """Copy packages with rez-cp into a new repository, which can be used alone; return it."""
    repository.mkdir()
    add_host_packages(studio, repository)
    for request in requests:
        studio.rez("cp", *options, "--dest-path", repository, request)
    return repository


def copy_with_rez_cp(
    studio: Studio, folder: Path, name: str = "python", options: tuple[str, ...] = ()
) -> Path:
    request = f"{name}-{DEFAULTS[name]}"
    return copy_packages(studio, folder / "second repository", request, options=options)


def find_on_host(soname: str) -> Path | None:
    """Return the path at which the host's loader finds a library."""
    out = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=False)
    for line in out.stdout.splitlines():
        if line.split(" ")[0].strip() == soname:
            return Path(line.rpartition("=> ")[2])
    return None


def probe(studio: Studio, repository: Path, request: str = "python", **env: str) -> dict:
    done = studio.in_env(repository, request, "python3", "-c", PROBE, **env)
    return json.loads(done.stdout)


def check(seen: dict, root: Path, **versions: str) -> None:
    """Assert the packages' versions, and that only glibc and listed libraries are the host's."""
    expected = {**DEFAULTS, **versions}
    assert {name: seen[name] for name in ("openssl", "zlib", "readline")} == {
        name: expected[name] for name in ("openssl", "zlib", "readline")
    }
    assert seen["version"] == expected["python"]
    assert Path(seen["prefix"]).resolve() == root.resolve()
    assert (seen["sqlite"], seen["ctypes"]) == (42, True)
    allowed = host_libraries().glibc | set(host_libraries().known)
    top = str(root.resolve())
    for name in seen["maps"]:
        if name.startswith((top + "/", "/usr/lib/locale/")):
            continue
        if "/gconv/" in name:
            continue  # glibc's own character sets
        soname = reader.read(Path(name)).soname
        assert soname in allowed, f"{name} ({soname}) is neither ours nor glibc's"


def move_and_check(studio: Studio, folder: Path, **versions: str) -> Path:
    """Copy by rez-cp, check the copy while the original is hidden, and return its root."""
    folder.mkdir()
    version = versions.get("python", PYTHON)
    repository = copy_packages(studio, folder / "a repository", f"python-{version}")
    root = variant(repository, "python", version)
    with hide(studio.local):
        check(probe(studio, repository), root, **versions)
        studio.rezbuild("audit", root)
    return root


def snapshot(root: Path) -> dict[str, tuple[int, int]]:
    facts = {path: path.lstat() for path in root.rglob("*")}
    return {str(path): (stat.st_size, stat.st_mtime_ns) for path, stat in facts.items()}


def cache_settings(folder: Path, repository: Path) -> dict[str, str]:
    """Return variables that make Rez cache local packages, from the same disk and from /tmp."""
    cache, temporary = folder / "cache", folder / "tmp"
    cache.mkdir()
    temporary.mkdir()
    return {
        "REZ_CACHE_PACKAGES_PATH": str(cache),
        "REZ_TMPDIR": str(temporary),
        "REZ_PACKAGES_PATH": str(repository),
        "REZ_PACKAGE_CACHE_LOCAL": "1",
        "REZ_PACKAGE_CACHE_SAME_DEVICE": "1",
        "REZ_READ_PACKAGE_CACHE": "1",
        "REZ_WRITE_PACKAGE_CACHE": "1",
    }
