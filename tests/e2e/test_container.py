"""``make container``: a build in an image with foreign libraries in /usr/local."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from chroots import Chroot, scratch_folder
from host_tools import require_tool
from studio import ROOT, Studio, run_command

from rezbuild.settings import Settings
from rezbuild.util.glibc_version import number

pytestmark = [pytest.mark.e2e, pytest.mark.matrix]

# What studios' images set, e.g. those of the ASWF.
VARIABLES = {
    "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
    "LD_LIBRARY_PATH": "/usr/local/lib",
    "LIBRARY_PATH": "/usr/local/lib",
    "CPATH": "/usr/local/include",
    "C_INCLUDE_PATH": "/usr/local/include",
    "PKG_CONFIG_PATH": "/usr/local/lib/pkgconfig",
    "PERL5LIB": "/usr/local/perl",
}
HEADERS = (
    "zlib",
    "expat",
    "ffi",
    "sqlite3",
    "ncurses",
    "openssl/ssl",
    "libintl",
    "iconv",
    "blake2",
)
LIBRARIES = ("z", "expat", "ffi", "sqlite3", "ncursesw", "ssl", "crypto", "intl", "iconv", "b2")
# No installed file may contain it.
POISON = "poison_of_the_image"


def poison(root: Path) -> None:
    """Fill /usr/local of an image with files that spoil each build that uses one of them."""
    local = root / "usr/local"
    for name in HEADERS:
        header = local / "include" / f"{name}.h"
        header.parent.mkdir(parents=True, exist_ok=True)
        header.write_text(f"#error {POISON}\n")
    (local / "lib/pkgconfig").mkdir(parents=True, exist_ok=True)
    for name in LIBRARIES:
        library = local / f"lib/lib{name}.so"
        compiler = ["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(library)]
        subprocess.run(compiler, input=f"int {POISON};", text=True, check=True)
        (local / f"lib/pkgconfig/lib{name}.pc").write_text(
            f"Name: {name}\nDescription: {POISON}\nVersion: 99\nCflags: -D{POISON}\n"
        )
    (local / "perl").mkdir()
    (local / "perl/strict.pm").write_text(f"die '{POISON}';\n")
    for name in ("python3", "gcc", "cc", "ld", "as", "ar", "make", "perl", "pkg-config"):
        program = local / "bin" / name
        program.write_text(f"#!/bin/sh\necho {POISON} >&2\nexit 1\n")
        program.chmod(0o755)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[str]:
    """Give buildah storage of this test; RUN needs no runtime and no network namespace."""
    require_tool("buildah")
    places = {"--root": tmp_path / "images", "--runroot": tmp_path / "run"}
    command = " ".join(["buildah", *(f"{option} {place}" for option, place in places.items())])
    yield command
    for arguments in (("rm", "--all"), ("rmi", "--all", "--force")):
        subprocess.run([*command.split(), *arguments], capture_output=True, check=False)


@pytest.fixture
def base(engine: str) -> str:
    """Make the image of a minimal Debian 12 with foreign files and variables."""
    folder = scratch_folder()
    try:
        # Before the build, since this package writes the certificates of a network again.
        Chroot("bookworm", folder).install("ca-certificates")
        poison(folder)

        def buildah(*arguments: str | Path) -> str:
            argv = [*engine.split(), *arguments]
            return run_command(argv, ok=True, env=dict(os.environ)).stdout.strip()

        container = buildah("from", "scratch")
        buildah("copy", "-q", container, folder, "/")
        for name, value in VARIABLES.items():
            buildah("config", "--env", f"{name}={value}", container)
        buildah("commit", "-q", "--rm", container, "localhost/base")
    finally:
        shutil.rmtree(folder)
    return "localhost/base"


@pytest.mark.parametrize("glibc", ["", "2.28"], ids=["native", "older"])
def test_container_builds_a_repository_without_files_of_the_image(engine, base, tmp_path, glibc):
    repository, sources = tmp_path / "repository", Settings.read().cache / "sources"
    words = {"ENGINE": engine, "BASE": base, "PYTHON": "3.11", "SOURCES": sources, "TO": repository}
    words["GLIBC"] = glibc
    make = ["make", "container", *(f"{name}={value}" for name, value in words.items())]
    env = {**os.environ, "BUILDAH_ISOLATION": "chroot"}
    run_command(make, ok=True, cwd=ROOT, env=env)
    found = [path for path in repository.rglob("*") if path.is_file() and not path.is_symlink()]
    assert not [path for path in found if POISON.encode() in path.read_bytes()]
    assert not (repository / ".rezbuild").exists()
    (record,) = repository.glob("python/*/platform-*/arch-*/rezbuild.json")
    needed = json.loads(record.read_text())["glibc"]
    assert number(needed) <= number(glibc or "2.36")
    studio = Studio(tmp_path / "studio")
    env = {"REZ_PACKAGES_PATH": str(repository)}
    said = studio.rez("env", "python-3.11", "--", "python3", "tests/smoke.py", **env).stdout
    assert said.endswith("all work\n")
    said = studio.rez(
        "env", "python-3.11", "--", "python3", "-c", "import sys; print(sys.prefix)", **env
    )
    assert said.stdout.startswith(str(repository))
