"""Rez on other hosts, installed by its own installer, with and without rezbuild; rez-test."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import rez_install
from moves import (
    DEFAULTS,
    NAMES,
    PROBE,
    PYTHON,
    build_folders,
    cache_settings,
    check,
    hide,
    variant,
)
from other_host import on_host, unshare
from studio import ROOT, Studio

pytestmark = pytest.mark.e2e


class Host(Studio):
    """A host with its own Rez.

    Attributes:
        commands: The folder of rez-env and Rez's other commands.
    """

    commands: Path

    def rez(self, command, *argv, ok=True, cwd=ROOT, **env):
        return self.run(self.commands / f"rez-{command}", *argv, ok=ok, cwd=cwd, **env)


def host(folder: Path, commands: Path) -> Host:
    made = Host(folder)
    made.commands = commands
    # The variables name neither this project nor the Rez that runs the tests.
    made.env = {k: v for k, v in made.env.items() if k not in ("REZ_CONFIG_FILE", "VIRTUAL_ENV")}
    made.env["PATH"] = os.pathsep.join((str(commands), os.defpath))
    return made


@pytest.fixture(scope="session")
def artists_rez(scratch: Path) -> Path:
    return rez_install.install(scratch / "artists-rez")


@pytest.fixture(scope="session")
def build_host_rez(scratch: Path) -> Path:
    return rez_install.install(scratch / "build-box-rez", ROOT)


@pytest.fixture
def artist(artists_rez: Path, copied: Path, tmp_path: Path) -> Host:
    """Return a host that has Rez and the studio's repository, but not rezbuild."""
    made = host(tmp_path / "artist", artists_rez)
    made.env["REZ_PACKAGES_PATH"] = str(copied)
    return made


def test_artist_runs_python_without_rezbuild(built, artist, copied):
    with hide(built.local, *build_folders()):
        done = artist.rez("env", "python", "--", "python3", "-c", PROBE)
    check(json.loads(done.stdout), variant(copied))


def test_leaked_pythonhome_does_not_end_the_studios_rez(artists_rez, tmp_path):
    made = host(tmp_path, artists_rez)
    folder = made.local / "thing/1.0"
    folder.mkdir(parents=True)
    (folder / "package.py").write_text('name = "thing"\nversion = "1.0"\n')
    out = made.rez("env", "thing", "--", "printenv", "REZ_THING_VERSION", PYTHONHOME="/dcc").stdout
    assert out == "1.0\n"


def test_rez_caches_the_package_automatically(built, artist, copied, tmp_path):
    """This needs a Rez that its own installer installed."""
    env = cache_settings(tmp_path, copied)
    artist.rez("env", "--pkg-cache-mode", "sync", "python", "--", "true", **env)
    done = artist.rez("env", "python", "--", "python3", "-c", PROBE, **env)
    seen = json.loads(done.stdout)
    assert tmp_path / "cache" in Path(seen["prefix"]).parents
    check(seen, Path(seen["prefix"]))


def test_rez_test_passes_on_the_host(built, artist):
    """Only the check before a release needs rezbuild."""
    with hide(built.local, *build_folders()):
        out = artist.rez("test", f"python-{PYTHON}").stdout
    assert "programs and libraries load with this host's glibc" in out
    assert "ok      TLS: OpenSSL" in out
    assert "handshake" not in out
    assert artist.rez("test", "--list", f"python-{PYTHON}").stdout.split()[-2:] == [
        "host",
        "host-long",
    ]


def test_long_rez_test_passes(built, artist):
    out = artist.rez("test", f"python-{PYTHON}", "host-long").stdout
    for name in ("handshake: TLSv1.3", "venv: pip ", "files: ", "standard library: "):
        assert f"ok      {name}" in out


@pytest.mark.parametrize("damage", ["library lost", "library cut", "file cut"])
def test_rez_test_finds_a_damaged_copy(built, artist, copied, tmp_path, damage):
    repository = tmp_path / "damaged"
    shutil.copytree(copied, repository, symlinks=True)
    artist.env["REZ_PACKAGES_PATH"] = str(repository)
    root = variant(repository)
    test = "host"
    (library,) = root.glob("deps/zlib/*/lib/*")
    if damage == "library lost":
        library.unlink()
    elif damage == "library cut":
        os.truncate(library, 5000)
    else:
        test = "host-long"
        (root / "lib" / f"python{'.'.join(PYTHON.split('.')[:2])}" / "this.py").write_text("")
    done = artist.rez("test", f"python-{PYTHON}", test, ok=False)
    assert done.returncode != 0
    assert "FAILED  " in done.stdout
    place = library.relative_to(root).as_posix() if test == "host" else "this.py"
    assert place in done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_each_payload_contains_its_test(built, name):
    script = variant(built.local, name, DEFAULTS[name]) / "rezbuild-test/run.sh"
    done = subprocess.run(["sh", script], capture_output=True, text=True, env={}, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "load with this host's glibc" in done.stdout
    assert done.stderr == ""


def test_host_without_x11_gets_a_note(built, tmp_path):
    """X11 is the documented exception: Tk does not work, and this is no failure."""
    names = ("libX11.so.6", "libXft.so.2", "libfontconfig.so.1")
    asked = ["cc", f"-print-file-name={names[0]}"]
    found = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    folder = Path(found).parent.resolve()
    (tmp_path / "tree").mkdir()
    without = on_host(tmp_path / "tree", [str(folder / name) for name in names])
    script = variant(built.local, "tk", DEFAULTS["tk"]) / "rezbuild-test/run.sh"
    done = subprocess.run([*without, "sh", script], capture_output=True, text=True, check=False)
    for name in names:
        assert f"note    lib/libtk8.6.so does not load here: this host has no {name}" in done.stdout
    assert done.returncode == 0, done.stdout
    python = variant(built.local)
    argv = [*without, python / "bin/python3", "-I", "-B", python / "rezbuild-test/stdlib.py"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_host_without_proc_gets_a_note(built):
    """The dynamic linker does not find the program's own folder there."""
    script = variant(built.local) / "rezbuild-test/run.sh"
    hide = 'mount -t tmpfs none /proc && exec "$@"'
    argv = [*namespaces(), "--mount", "sh", "-c", hide, "sh", "sh", script]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert "note    /proc is not mounted here: programs load libraries of the host" in done.stdout
    assert done.returncode == 0, done.stdout


def test_host_without_libgcc_gets_a_note(built):
    script = variant(built.local) / "rezbuild-test/run.sh"
    told = subprocess.run(["sh", script], capture_output=True, text=True, check=True).stdout
    assert "libgcc_s" not in told
    found = subprocess.run(
        ["cc", "-print-file-name=libgcc_s.so.1"], capture_output=True, text=True, check=True
    )
    library = Path(found.stdout.strip()).resolve()
    hide = f'mount --bind /dev/null {library} && exec "$@"'
    argv = [*namespaces(), "--mount", "sh", "-c", hide, "sh", "sh", script]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert "note    this host has no libgcc_s.so.1" in done.stdout
    assert done.returncode == 0, done.stdout


def namespaces() -> list[str]:
    start = unshare()
    if start is None:
        pytest.skip("no mount namespaces: neither as root nor by `unshare --map-root-user`")
    return start


# A build host: Rez from its own installer, and rezbuild beside it.


@pytest.fixture
def build_host(build_host_rez: Path, samples, tmp_path: Path) -> Host:
    made = host(tmp_path / "build box", build_host_rez)
    made.env |= {k: v for k, v in samples.environ.items() if k.startswith("REZBUILD")}
    for command in ("platform", "arch"):
        made.rez("bind", command)
    return made


@pytest.mark.parametrize("ours", [True, False], ids=["with our rezconfig.py", "without"])
def test_studio_configuration_works_with_an_installed_rez(build_host, samples, ours):
    """The studio's own configuration overrides ours."""
    studios = build_host.folder / "studio.py"
    studios.write_text("max_package_changelog_revisions = 3\n")
    files = [str(ROOT / "rezconfig.py"), str(studios)] if ours else [str(studios)]
    env = {"REZ_CONFIG_FILE": os.pathsep.join(files)}
    said = build_host.rez("config", "max_package_changelog_revisions", **env).stdout
    assert said.strip() == "3"
    for name in ("low", "top"):
        build_host.rez("build", "-i", cwd=samples.recipes / name, **env)
    assert build_host.rez("env", "top", "--", "top", **env).stdout.strip() == "42"
    samples.edit("top/recipe.py", "    b.install", "    b.run('false')\n#")
    assert (
        build_host.rez("build", "-i", cwd=samples.recipes / "top", ok=False, **env).returncode != 0
    )
    done = build_host.rez("env", "top", "--", "top", ok=False, **env)
    # The purpose of the build process in our rezconfig.py.
    assert (done.stdout.strip() == "42") is ours


def test_rezconfig_works_without_rezbuild(artist):
    """The file names no plugin that Rez cannot load without rezbuild."""
    env = {"REZ_CONFIG_FILE": str(ROOT / "rezconfig.py")}
    assert artist.rez("config", "default_build_process", **env).stdout.strip() == "local"
    folder = artist.folder / "other"
    folder.mkdir()
    (folder / "package.py").write_text("name = 'other'\nversion = '1'\nbuild_command = 'true'\n")
    artist.rez("build", "-i", cwd=folder, **env)
