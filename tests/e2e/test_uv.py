"""The real uv installs exported Pythons, without a network."""

from __future__ import annotations

import functools
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from moves import PYTHON, variant
from studio import Studio

pytestmark = pytest.mark.e2e

UV = Path(sys.executable).with_name("uv")
SERIES = ".".join(PYTHON.split(".")[:2])
KEY = f"cpython-{PYTHON}-linux-x86_64-gnu"
# uv exchanges this address for UV_PYTHON_INSTALL_MIRROR.
UPSTREAM = "https://github.com/astral-sh/python-build-standalone/releases/download"
FACTS = """\
import json, sys, sysconfig
names = ("prefix", "LIBDIR", "INCLUDEPY", "LDLIBRARY")
found = dict(zip(names, sysconfig.get_config_vars(*names)))
print(json.dumps({"base": sys.base_prefix, **found}))
"""

Uv = Callable[..., str]


@pytest.fixture
def uv(tmp_path: Path) -> Uv:
    """Return a function that runs uv with its files in a folder of the test."""
    if not UV.exists():
        pytest.skip("the PyPI package uv is missing")
    (tmp_path / "bin").mkdir()

    def run(*argv: str | Path, **given: str) -> str:
        env = {
            # No Python of the host.
            "PATH": f"{tmp_path}/bin",
            "HOME": str(tmp_path),
            "UV_NO_CONFIG": "1",
            "UV_MANAGED_PYTHON": "1",
            "UV_PYTHON_INSTALL_DIR": str(tmp_path / "pythons"),
            "UV_PYTHON_BIN_DIR": str(tmp_path / "bin"),
            "UV_CACHE_DIR": str(tmp_path / "cache"),
            **given,
        }
        done = subprocess.run(
            [UV, *argv], env=env, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="module")
def exported(built: Studio, scratch: Path) -> Path:
    """Export the chain's Python for uv, and return the folder."""
    folder = scratch / "for uv"
    built.rezbuild("export", f"python-{PYTHON}", folder, "--uv")
    return folder


@pytest.fixture
def address(exported: Path) -> Iterator[str]:
    """Serve the folder on loopback."""
    serve = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(exported))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def facts(python: Path | str) -> dict[str, str]:
    out = subprocess.run([python, "-c", FACTS], capture_output=True, text=True, check=True).stdout
    found: dict[str, str] = json.loads(out)
    return found


def test_uv_installs_and_uses_the_exported_python_offline(built, exported, uv, tmp_path):
    where = {"UV_PYTHON_DOWNLOADS_JSON_URL": f"{exported.as_uri()}/downloads.json"}
    where["UV_OFFLINE"] = "1"
    assert KEY in uv("python", "list", "--only-downloads", **where)
    uv("python", "install", SERIES, **where)
    root = tmp_path / "pythons" / KEY
    # sysconfig names the folder where uv has installed it.
    told = facts(tmp_path / f"bin/python{SERIES}")
    assert told["prefix"] == str(root)
    assert told["LIBDIR"] == f"{root}/lib"
    assert told["INCLUDEPY"] == f"{root}/include/python{SERIES}"
    # It is the package's Python: the same program, the same library.
    for name in (f"bin/python{SERIES}", f"lib/{told['LDLIBRARY']}"):
        assert (root / name).read_bytes() == (variant(built.local) / name).read_bytes()
    uv("venv", "-p", SERIES, "env")
    assert Path(facts(tmp_path / "env/bin/python")["base"]).resolve() == root
    assert uv("run", "--no-project", "-p", SERIES, "python", "-c", "print(6 * 7)") == "42\n"
    project = '[project]\nname = "tool"\nversion = "1"\nrequires-python = "==3.*"\n'
    (tmp_path / "pyproject.toml").write_text(project)
    uv("sync", **where)
    assert uv("run", "python", "-c", "import ssl; print(ssl.OPENSSL_VERSION[:7])") == "OpenSSL\n"


def test_payload_test_passes_where_uv_has_installed_it(exported, uv, tmp_path):
    uv("python", "install", KEY, UV_PYTHON_DOWNLOADS_JSON_URL=f"{exported}/downloads.json")
    script = tmp_path / "pythons" / KEY / "rezbuild-test/run.sh"
    subprocess.run(["sh", script], check=True)


def test_uv_downloads_from_an_address(built, exported, uv, address, tmp_path):
    built.rezbuild("export", f"python-{PYTHON}", exported, "--uv", "--url", address)
    uv("python", "install", SERIES, UV_PYTHON_DOWNLOADS_JSON_URL=f"{address}/downloads.json")
    assert facts(tmp_path / f"bin/python{SERIES}")["prefix"] == str(tmp_path / "pythons" / KEY)


def test_mirror_of_upstream_gives_the_exported_python(built, exported, uv, address, tmp_path):
    built.rezbuild("export", f"python-{PYTHON}", exported, "--uv", "--url", UPSTREAM)
    uv(
        *("python", "install", SERIES),
        UV_PYTHON_DOWNLOADS_JSON_URL=f"{exported}/downloads.json",
        UV_PYTHON_INSTALL_MIRROR=address,
    )
    assert facts(tmp_path / f"bin/python{SERIES}")["prefix"] == str(tmp_path / "pythons" / KEY)


def test_second_export_keeps_other_entries_and_gives_the_same_archive(built, tmp_path):
    folder = tmp_path / "uv"
    folder.mkdir()
    (folder / "downloads.json").write_text('{"cpython-3.9.2-linux-x86_64-gnu": {"name": "a"}}')
    for _ in range(2):
        built.rezbuild("export", variant(built.local), folder, "--uv")
    listed = json.loads((folder / "downloads.json").read_text())
    assert listed.keys() == {"cpython-3.9.2-linux-x86_64-gnu", KEY}
    (archive,) = folder.glob("*.tar.zst")
    assert listed[KEY]["url"] == f"{folder.as_uri()}/{archive.name}"
    assert oct(archive.stat().st_mode & 0o777) == "0o644"
    assert sorted(os.listdir(folder)) == [".downloads.lock", archive.name, "downloads.json"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["zlib"], "is not a payload of python, so uv cannot install it"),
        (["python", "--profile", "optimized"], "--uv takes installed packages"),
    ],
)
def test_wrong_export_for_uv_is_refused(built, tmp_path, words, message):
    done = built.rezbuild("export", *words, tmp_path / "uv", "--uv", ok=False)
    assert done.returncode == 2
    assert message in done.stderr
    assert not (tmp_path / "uv").exists()


def test_damaged_list_is_refused(built, tmp_path):
    (tmp_path / "downloads.json").write_text("[]")
    done = built.rezbuild("export", "python", tmp_path, "--uv", ok=False)
    assert done.returncode == 14
    assert "downloads.json is not a list of downloads" in done.stderr
    assert (tmp_path / "downloads.json").read_text() == "[]"
