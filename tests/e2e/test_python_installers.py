"""Hatch, PDM and mise install or use the Python that was exported for uv."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard
from inspection import venv
from moves import PYTHON, variant
from slow_server import slow_server
from studio import Studio

pytestmark = [pytest.mark.e2e, pytest.mark.matrix]

SERIES = ".".join(PYTHON.split(".")[:2])
FACTS = """\
import json, sys, sysconfig
found = {name: sysconfig.get_config_var(name) for name in ("prefix", "LIBDIR", "INCLUDEPY")}
print(json.dumps({"base": sys.base_prefix, **found}))
"""


class Export:
    """An export for uv on a loopback server, and a user with an empty home.

    Attributes:
        archive, url: The archive and its address.
        entry: Its entry in the list of downloads.
    """

    def __init__(self, folder: Path, url: str, home: Path) -> None:
        (self.entry,) = json.loads((folder / "downloads.json").read_text()).values()
        self.archive = folder / Path(self.entry["url"]).name
        self.url = f"{url}/{self.archive.name}"
        self.home = home

    def run(self, *argv: str | Path, **env: str) -> str:
        given = {"HOME": str(self.home), "PATH": "/usr/bin:/bin", "NO_COLOR": "1", **env}
        done = subprocess.run(
            argv, env=given, cwd=self.home, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def facts(self, *python: str | Path, **env: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run(*python, "-c", FACTS, **env))
        return found


@pytest.fixture
def export(built: Studio, tmp_path: Path) -> Iterator[Export]:
    built.rezbuild("export", variant(built.local), tmp_path / "uv", "--uv")
    home = tmp_path / "home"
    home.mkdir()
    with slow_server(tmp_path / "uv", pace=0) as server:
        yield Export(tmp_path / "uv", server.url, home)


def check_places(found: dict[str, Any], root: Path) -> None:
    """Check that sysconfig names the folder of the installation."""
    assert found["prefix"] == str(root)
    assert found["LIBDIR"] == f"{root}/lib"
    assert found["INCLUDEPY"] == f"{root}/include/python{SERIES}"


def test_hatch_installs_the_exported_python(scratch, export):
    hatch = venv(Path(sys.executable), scratch / "hatch", ["hatch"]) / "hatch"
    source = {f"HATCH_PYTHON_CUSTOM_SOURCE_{SERIES.replace('.', '_')}": export.url}
    pythons = export.home / "pythons"
    export.run(hatch, "python", "install", "--private", "-d", pythons, SERIES, **source)
    root = pythons / SERIES / "python"
    check_places(export.facts(root / "bin/python3"), root)
    export.run("sh", root / "rezbuild-test/run.sh")


def test_mise_installs_the_exported_python(export):
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is missing: it installs mise")
    # npm finds its registry by the caller's environment.
    install = [npm, "install", "--prefix", str(export.home), "@jdxcode/mise-linux-x64"]
    subprocess.run(install, cwd=export.home, capture_output=True, check=True)
    mise = export.home / "node_modules/@jdxcode/mise-linux-x64/bin/mise"
    (export.home / "mise.toml").write_text(
        "[tools.'http:python']\n"
        f"version = '{PYTHON}'\nurl = '{export.url}'\nbin_path = 'bin'\nstrip_components = 1\n"
        f"checksum = 'sha256:{export.entry['sha256']}'\n"
    )
    trust = {"MISE_TRUSTED_CONFIG_PATHS": str(export.home), "MISE_YES": "1"}
    export.run(mise, "install", **trust)
    root = export.home / f".local/share/mise/installs/http-python/{PYTHON}"
    check_places(export.facts(mise, "exec", "--", "python3", **trust), root)


def test_pdm_uses_an_unpacked_export(scratch, export):
    """PDM downloads no other Pythons than those whose checksums it contains."""
    pdm = venv(Path(sys.executable), scratch / "pdm", ["pdm"]) / "pdm"
    root = export.home / "python"
    with (
        export.archive.open("rb") as packed,
        zstandard.ZstdDecompressor().stream_reader(packed) as stream,
        tarfile.open(fileobj=stream, mode="r|") as archive,
    ):
        archive.extractall(export.home)
    project = f'[project]\nname = "tool"\nversion = "1"\nrequires-python = "=={SERIES}.*"\n'
    (export.home / "pyproject.toml").write_text(project)
    quiet = {"PDM_CHECK_UPDATE": "0"}
    export.run(pdm, "python", "link", root / "bin/python3", **quiet)
    export.run(pdm, "use", "-i", f"cpython@{PYTHON}", **quiet)
    found = export.facts(pdm, "run", "python", **quiet)
    assert found["base"] == str(root)
    assert found["LIBDIR"] == f"{root}/lib"
