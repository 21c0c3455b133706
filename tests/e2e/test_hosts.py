"""Fresh Debian systems: the README's commands, and payloads of older releases."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator

import pytest
from chroots import CLONE, Chroot, scratch_folder
from extension_module import MODULE, SETUP
from host_tools import documented_packages
from moves import NAMES

pytestmark = pytest.mark.e2e

# These take the longest, so only `make test-all` builds them.
LONG = ("python", "openssl")
SMOKE = "all work"


@pytest.fixture(scope="module")
def system() -> Iterator[Callable[[str], Chroot]]:
    """Make one fresh system a release, with the packages that the README names."""
    made: dict[str, Chroot] = {}

    def get(suite: str) -> Chroot:
        if suite not in made:
            chroot = Chroot(suite, scratch_folder())
            made[suite] = chroot
            chroot.install(*documented_packages()[0])
            chroot.copy_clone()
        return made[suite]

    yield get
    for chroot in made.values():
        shutil.rmtree(chroot.folder)


def test_packages_build_with_a_newer_compiler(system):
    """gcc 14 of Debian 13 refuses code that older compilers only warn about."""
    trixie = system("trixie")
    trixie.run("make", ".venv/.base", cwd=CLONE)
    names = [name for name in NAMES if name not in LONG]
    env = {"REZ_CONFIG_FILE": f"{CLONE}/rezconfig.py", "REZBUILD_MIRRORS": "/sources"}
    out = trixie.run(f"{CLONE}/.venv/bin/rezbuild", "build", *names, cwd=CLONE, **env).stdout
    assert all(f"{name}==" in out.rpartition("ready:")[2] for name in names), out


@pytest.mark.matrix
@pytest.mark.parametrize("suite", ["bullseye", "trixie"])
def test_make_python_builds_on_a_fresh_system(system, suite):
    chroot = system(suite)
    assert SMOKE in chroot.run("make", "python", cwd=CLONE).stdout
    rez = f". .venv/bin/activate && export REZ_CONFIG_FILE={CLONE}/rezconfig.py && "
    chroot.run("sh", "-c", f"{rez} rez-test python", cwd=CLONE)


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("suite", "compiler", "version", "packages"),
    [
        ("trixie", "clang", "clang version 19.", ["clang"]),
        ("bullseye", "gcc-9", "gcc-9 (Debian 9.", ["gcc-9", "g++-9"]),
    ],
    ids=["clang", "gcc-9"],
)
def test_chain_builds_with_another_compiler(system, suite, compiler, version, packages):
    """The Python is complete, names no compiler, and builds an extension with the system's cc."""
    chroot = system(suite)
    chroot.install(*packages)
    # A folder whose name contains no compiler's name.
    env = {"REZ_LOCAL_PACKAGES_PATH": "/other", "REZ_PACKAGES_PATH": "/other"}
    out = chroot.run("make", "python", cwd=CLONE, REZBUILD_CC=compiler, **env).stdout
    assert SMOKE in out
    rez = f". .venv/bin/activate && export REZ_CONFIG_FILE={CLONE}/rezconfig.py && "
    chroot.run("sh", "-c", f"{rez} rez-test python", cwd=CLONE, **env)
    (payload,) = (chroot.folder / "other/python").glob("*/platform-*/arch-*")
    records = (chroot.folder / "other").glob("*/*/platform-*/arch-*/rezbuild.json")
    compilers = {json.loads(record.read_text())["compiler"] for record in records}
    assert all(version in name for name in compilers), compilers
    python = f"/{payload.relative_to(chroot.folder)}/bin/python3"
    # Users of this Python may have a different compiler.
    told = chroot.run(python, "-Im", "sysconfig").stdout
    # Before glibc 2.34, the option adds libpthread.
    assert re.search(r'\bCC = "cc( -pthread)?"', told)
    assert not re.findall(rf".*\b(?:{compiler}|llvm-).*", told)
    assert built_extension(chroot, python) == "42\n"


def built_extension(chroot: Chroot, python: str) -> str:
    """Install an extension module in C with pip in a virtual environment, and call it."""
    source = chroot.folder / "sdist"
    source.mkdir()
    (source / "setup.py").write_text(SETUP)
    (source / "module.c").write_text(MODULE.replace("NAME", "by_setuptools"))
    chroot.run(python, "-Im", "venv", "/venv")
    chroot.run("/venv/bin/pip", "install", "-q", "/sdist")
    call = "import by_setuptools; print(by_setuptools.answer())"
    return chroot.run("/venv/bin/python", "-Ic", call).stdout


@pytest.mark.matrix
def test_another_series_builds_on_a_newer_release(system):
    trixie = system("trixie")
    assert SMOKE in trixie.run("make", "python", "PYTHON=3.13", cwd=CLONE).stdout


@pytest.mark.matrix
def test_payload_of_an_older_release_runs_on_newer_ones(system, tmp_path):
    """The package's own test passes here and on the newest release."""
    old, new = system("bullseye"), system("trixie")
    if not (old.folder / "root/packages/python").is_dir():
        old.run("make", "python", cwd=CLONE)
    (payload,) = (old.folder / "root/packages/python").glob("*/platform-*/arch-*")
    here = tmp_path / "from an older release"
    shutil.copytree(payload, here, symlinks=True)
    there = new.folder / "from an older release"
    shutil.copytree(payload, there, symlinks=True)
    test = "rezbuild-test/run.sh"
    subprocess.run(["sh", here / test, "long"], check=True)
    new.run("sh", f"/{there.name}/{test}", "long")


# Headers and libraries that configure scripts of the chain search, or have searched once.
DEVELOPMENT = """
gettext libb2-dev libbluetooth-dev libbz2-dev libcap-dev libdb-dev libedit-dev libexpat1-dev
libffi-dev libgdbm-compat-dev libgdbm-dev libgpm-dev libicu-dev liblzma-dev
libncurses-dev libnsl-dev libpcre2-dev libreadline-dev libselinux1-dev libsqlite3-dev libssl-dev
libsystemd-dev libtirpc-dev libxml2-dev libxss-dev libzstd-dev systemtap-sdt-dev tcl-dev tk-dev
uuid-dev zlib1g-dev
"""


@pytest.mark.matrix
def test_development_packages_of_the_host_change_no_byte(system):
    chroot = system("bookworm")
    chroot.run("make", ".venv/.base", cwd=CLONE)

    bare = sums(chroot, "/bare")
    chroot.install(*DEVELOPMENT.split())
    rich = sums(chroot, "/rich")
    assert bare.keys() == rich.keys() >= {"python", "ncurses", "tcl"}
    assert [name for name in bare if bare[name] != rich[name]] == []


def sums(chroot: Chroot, repository: str, *options: str, **environ: str) -> dict[str, str]:
    """Build python into a new repository; return the checksums of each package's files."""
    env = {
        "REZ_CONFIG_FILE": f"{CLONE}/rezconfig.py",
        "REZ_LOCAL_PACKAGES_PATH": repository,
        "REZ_PACKAGES_PATH": repository,
        "REZBUILD_CACHE": f"{repository}/cache",
        "REZBUILD_MIRRORS": "/sources",
        **environ,
    }
    rezbuild = f"{CLONE}/.venv/bin/rezbuild"
    chroot.run(rezbuild, "build", "python", *options, cwd=CLONE, **env)
    found = (chroot.folder / repository[1:]).glob("*/*/platform-*/arch-*/rezbuild-files.sha256")
    return {path.parts[-5]: path.read_text() for path in found}


# Debian 12's compiler and binutils; the packages of one version need each other.
TOOLS = """
binutils binutils-common binutils-x86-64-linux-gnu cpp-12 g++-12 gcc-12 gcc-12-base libbinutils
libctf-nobfd0 libctf0 libgcc-12-dev libgprofng0 libstdc++-12-dev
"""


@pytest.mark.matrix
def test_same_tools_make_the_same_bytes_on_another_release(system):
    """Both build for one glibc. Headers of X11, Python, Perl, make and libraries differ."""
    found = []
    for suite in ("bookworm", "trixie"):
        chroot = system(suite)
        chroot.add_release("bookworm", TOOLS.split())
        chroot.install("gcc-12", "g++-12", "binutils")
        chroot.run("make", ".venv/.glibc", cwd=CLONE)
        found.append(sums(chroot, "/same", "--glibc", "2.28", REZBUILD_CC="gcc-12"))
    here, there = found
    assert here.keys() == there.keys() >= {"python", "openssl", "tk"}
    assert [name for name in here if here[name] != there[name]] == []


@pytest.mark.matrix
def test_make_test_passes_on_a_fresh_system(system):
    """No test fails, and few are skipped."""
    chroot = Chroot("bookworm", scratch_folder())
    try:
        chroot.install(*(name for group in documented_packages() for name in group))
        chroot.copy_clone()
        repository(chroot)
        done = chroot.run("make", "test", cwd=CLONE, ok=False)
        assert done.returncode == 0, done.stdout[-20000:]
        assert not re.findall(r"(?m)^SKIPPED.* here: .*", done.stdout)
    finally:
        shutil.rmtree(chroot.folder)


def repository(chroot: Chroot) -> None:
    """Make the copy a git repository: the tests of releases clone it."""
    git = ("git", "-c", "user.name=TD", "-c", "user.email=td@studio.example", "-C", CLONE)
    chroot.run(*git, "init", "-q")
    chroot.run(*git, "add", "--all")
    chroot.run(*git, "commit", "-q", "-m", "import")
