"""Rez's other commands: search, help, suite, depends, orderers, memcached."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import rez_install
from host_tools import require_tool
from moves import DEFAULTS, PROBE, PYTHON, check, variant
from polling import wait_until
from studio import ROOT, Studio

pytestmark = pytest.mark.e2e

CLASH = ".glibc==2.17"


@pytest.fixture(scope="module")
def commands(scratch: Path) -> Path:
    """Install Rez with its own installer; a suite does not work with Rez from pip."""
    return rez_install.install(scratch / "tools-rez")


def rez(commands: Path, studio: Studio, command: str, *argv: str | Path, **env: str) -> str:
    """Run one of Rez's commands in the studio's environment, and return its output."""
    return studio.run(commands / f"rez-{command}", *argv, cwd=ROOT, **env).stdout


@pytest.mark.parametrize("name", ["python", "openssl", "ncurses", "zlib"])
def test_search_and_help_show_the_attributes(built, commands, name):
    shown = "{qualified_name}|{description}|{authors}"
    out = rez(commands, built, "search", "--type", "package", "--format", shown, name)
    (found,) = (line.split("|") for line in out.splitlines() if line.startswith(f"{name}-"))
    assert found[0] == f"{name}-{DEFAULTS[name]}"
    assert all(found)
    assert "https://" in rez(commands, built, "help", "--entries", name)


def test_depends_lists_what_a_package_needs_at_run_time(studio, samples):
    """``top`` contains the library of ``low``, as docs/how-to/studio.md says of python and zlib."""
    studio.rezbuild("build", "top")
    assert studio.rez("depends", "-q", "low").stdout.split() == ["low"]
    assert studio.rez("depends", "-q", "platform").stdout.split() == ["platform", "low", "top"]


def test_suite_runs_python(built, commands, tmp_path):
    context, suite = tmp_path / "python.rxt", tmp_path / "a suite"
    rez(commands, built, "env", "python", "--output", context)
    rez(commands, built, "suite", "--create", suite)
    rez(commands, built, "suite", "--add", context, "--context", "python", suite)
    # A suite's wrappers call Rez's commands.
    path = os.pathsep.join((str(commands), built.env["PATH"]))
    out = built.run(suite / "bin/python3", "-c", PROBE, PATH=path).stdout
    check(json.loads(out), variant(built.local))


def test_orderer_chooses_the_version(built, commands, tmp_path):
    """A studio that pins a series finds it, though a newer one is installed."""
    repository = tmp_path / "packages"
    shutil.copytree(built.local / "python", repository / "python", symlinks=True)
    newer = repository / "python/99.0.0"
    shutil.copytree(repository / f"python/{PYTHON}", newer, symlinks=True)
    text = (newer / "package.py").read_text()
    (newer / "package.py").write_text(text.replace(f"version = '{PYTHON}'", "version = '99.0.0'"))
    series = ".".join(PYTHON.split(".")[:2])
    config = tmp_path / "orderer.py"
    order = {"type": "version_split", "first_version": f"{series}.99"}
    config.write_text(
        f"package_orderers = [{{'type': 'per_family', 'orderers': [\n"
        f"    {{'packages': ['python'], **{order}}}]}}]\n"
    )
    env = {"REZ_PACKAGES_PATH": os.pathsep.join(map(str, (repository, built.local)))}
    show = ("env", "python", "--", "printenv", "REZ_PYTHON_VERSION")
    assert rez(commands, built, *show, **env).strip() == "99.0.0"
    files = os.pathsep.join(map(str, (ROOT / "rezconfig.py", config)))
    assert rez(commands, built, *show, **env, REZ_CONFIG_FILE=files).strip() == PYTHON


@pytest.fixture
def memcached() -> Iterator[str]:
    """Run a memcached on loopback, and return its address."""
    require_tool("memcached")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    process = subprocess.Popen(["memcached", "-l", "127.0.0.1", "-p", str(port), "-u", "nobody"])
    try:
        wait_until(lambda: _answers(port))
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_cached_resolve_of_one_host_is_not_used_on_a_host_with_an_older_glibc(
    built, commands, tmp_path, memcached
):
    config = tmp_path / "old-host.py"
    config.write_text(f"implicit_packages = ['{CLASH}']\n")
    env = {"REZ_MEMCACHED_URI": memcached, "REZ_RESOLVE_CACHING": "1"}
    show = ("env", "python", "--", "printenv", "REZ_PYTHON_VERSION")
    for _ in range(2):
        assert rez(commands, built, *show, **env).strip() == PYTHON
    done = built.run(
        *(commands / "rez-env", "python", "--", "true"),
        cwd=ROOT,
        ok=False,
        **env,
        REZ_CONFIG_FILE=str(config),
    )
    assert done.returncode != 0
    assert CLASH in done.stdout + done.stderr
