"""``rezbuild add-version`` with real archives, real signatures and the keys of this repository."""

from __future__ import annotations

import functools
import hashlib
import http.server
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sample_packages import LOW
from studio import ROOT, Studio

from rezbuild.catalogue import sources_toml
from rezbuild.plan import resolve

pytestmark = pytest.mark.e2e
REAL = ROOT / "tests/data/signatures"
# The wheel of test_signatures.py, as the archive of a package.
WHEEL = "rfc8785-0.1.2-py3-none-any.whl"
WORKFLOW = (
    "https://github.com/trailofbits/rfc8785.py/.github/workflows/release.yml@refs/tags/v0.1.2"
)
matrix = pytest.mark.matrix


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """Serve a folder over HTTP, and return the address."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture
def recipes(tmp_path: Path) -> Path:
    """Copy the recipes of this project."""
    ignored = shutil.ignore_patterns("build", "__pycache__")
    return shutil.copytree(ROOT / "packages", tmp_path / "packages", ignore=ignored)


def add_to_mirror(studio: Studio, folder: Path, name: str, version: str) -> Path:
    """Copy a real archive and its real signature into the mirror."""
    studio.rezbuild("fetch", f"{name}=={version}", "--to", folder)
    archive = resolve.recipes(ROOT / "packages")[name].release(version).archives[0]
    shutil.copy(next(REAL.glob(f"{archive.file}.*")), folder / name)
    return folder / name / archive.file


def remove_entry(recipes: Path, name: str, version: str) -> str:
    """Remove the entry of a version, and return its lines."""
    path = recipes / name / "sources.toml"
    text = path.read_text()
    begin = text.index(f'[versions."{version}"]')
    entry = text[begin:].partition("\n\n")[0] + "\n"
    default = sources_toml.load(path.parent).default
    if default == version:
        other = next(v for v in sources_toml.load(path.parent).releases if v != version)
        text = text.replace(f'default = "{default}"', f'default = "{other}"')
    path.write_text(text.replace(entry, ""))
    # Test records of packages from the same sources.
    for other in recipes.glob(f"{name}_*/sources.toml"):
        lines = other.read_text().splitlines(keepends=True)
        other.write_text("".join(ln for ln in lines if not ln.startswith(f'"{version}" = ')))
    return entry


@pytest.mark.parametrize(
    ("name", "version", "by"),
    [
        ("xz", "5.8.1", "3690C240CE51B4670D30AD1C38EE757D69184620 on 2025-04-03"),
        pytest.param(
            *("openssl", "3.5.6", "BA5473A2B0587B07FB27CF2D216094DFD0CB81EF on 2026-04-07"),
            marks=matrix,
        ),
        pytest.param(
            *("ncurses", "6.4", "19882D92DDA4C400C22C0D56CC2AF4472167BE03 on 2023-01-01"),
            marks=matrix,
        ),
        pytest.param(
            *("openssl", "3.0.20", "BA5473A2B0587B07FB27CF2D216094DFD0CB81EF on 2026-04-07"),
            marks=matrix,
        ),
        pytest.param(
            *("python", "3.13.5", "7169605F62C751356D054A26A821E680E5FA6305 on 2025-06-11"),
            marks=matrix,
        ),
    ],
)
def test_signed_release_is_added(studio, recipes, mirror, tmp_path, name, version, by):
    """The test removes the entry of a pinned archive; the command must write the same entry."""
    folder, address = mirror
    archive = add_to_mirror(studio, folder, name, version)
    entry = remove_entry(recipes, name, version)
    before = (recipes / name / "sources.toml").read_text()
    words = ("add-version", name, version, "--recipes", recipes)
    done = studio.rezbuild(*words, REZBUILD_MIRRORS=address, REZBUILD_CACHE=str(tmp_path / "cache"))
    assert f"signed by {by}" in done.stderr
    assert done.stdout.startswith("--- a/packages/")
    added = {line[1:] for line in done.stdout.splitlines() if line[0] == "+"}
    assert {line for line in entry.splitlines() if line.startswith(("sha256", "size"))} <= added
    after = (recipes / name / "sources.toml").read_text()
    assert len(after.splitlines()) == len(before.splitlines()) + len(added) - 1
    # For other bytes, no entry is written.
    with archive.open("ab") as file:
        file.write(b"\0")
    (recipes / name / "sources.toml").write_text(before)
    done = studio.rezbuild(*words, ok=False, REZBUILD_MIRRORS=address)
    assert (done.returncode, done.stdout) == (5, "")
    assert "is not a valid signature" in done.stderr
    assert (recipes / name / "sources.toml").read_text() == before


@pytest.mark.parametrize(
    ("name", "version", "by"),
    [
        ("xz", "5.8.1", "3690C240CE51B4670D30AD1C38EE757D69184620"),
        # Signed by a separate key, which has expired since.
        pytest.param(
            *("openssl", "1.1.1w", "EFC0A467D613CB83C7ED6D30D894E2CE8B3D79F5"), marks=matrix
        ),
    ],
)
def test_pinned_version_is_verified_again(studio, recipes, mirror, name, version, by):
    """The entry does not change."""
    folder, address = mirror
    add_to_mirror(studio, folder, name, version)
    before = (recipes / name / "sources.toml").read_bytes()
    words = ("add-version", name, version, "--recipes", recipes)
    done = studio.rezbuild(*words, REZBUILD_MIRRORS=address)
    assert f"signed by {by}" in done.stderr
    assert "with this checksum" in done.stderr
    assert done.stdout == ""
    assert (recipes / name / "sources.toml").read_bytes() == before


def test_sigstore_bundle_is_verified(studio, samples, mirror):
    """The upstream of this package signs in its release workflow."""
    folder, address = mirror
    for suffix in ("", ".sigstore"):
        shutil.copy(REAL / f"{WHEEL}{suffix}", folder / f"low-0.1.2.tar.gz{suffix}")
    signed = (
        f'signed = {{ suffix = ".sigstore", identity = "{WORKFLOW}", '
        'issuer = "https://token.actions.githubusercontent.com" }\n'
    )
    samples.edit("low/sources.toml", "profiled", f"{signed}profiled")
    words = ("add-version", "low", "0.1.2", "--recipes", samples.recipes)
    env = {"REZBUILD_MIRRORS": address, "REZBUILD_OFFLINE": "0"}
    done = studio.rezbuild(*words, ok=False, **env)
    assert f"signed by {WORKFLOW}" in done.stderr
    # The signed file is a wheel, so no build is possible.
    assert "it is a zip archive" in done.stderr
    assert "0.1.2" not in sources_toml.load(samples.recipes / "low").releases
    samples.edit("low/sources.toml", WORKFLOW, WORKFLOW.replace("v0.1.2", "v0.1.1"))
    done = studio.rezbuild(*words, ok=False, **env)
    assert done.returncode == 5
    assert "is not a valid signature" in done.stderr


def test_added_version_builds(studio, samples):
    """The machine has no network; the sources are in a mirror folder, and the checksum is given."""
    path = samples.recipes / "low/sources.toml"
    before = path.read_text()
    samples.add("low", "1.0.5", LOW)  # to download the archive
    del samples.entries["low"]["1.0.5"]
    path.write_text(before)
    made = (samples.mirror / "low-1.0.5.tar.gz").read_bytes()
    words = ("add-version", "low", "1.0.5", "--recipes", samples.recipes)
    done = studio.rezbuild(*words, ok=False)
    assert done.returncode == 2
    assert "low 1.0.5 cannot be verified" in done.stderr
    done = studio.rezbuild(*words, "--sha256", hashlib.sha256(made).hexdigest())
    assert "rezbuild build low-1.0.5" in done.stderr
    (samples.mirror / "low-1.0.5.tar.gz").unlink()  # the archive is in the cache by now
    built = studio.rezbuild("build", "low-1.0.5", "--recipes", samples.recipes)
    assert "ready: rez-env low==1.0.5" in built.stdout


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (("nothing", "1.0"), 3, "no recipe for nothing"),
        (("python_debug", "3.11.30"), 2, "rezbuild add-version python 3.11.30"),
        (("openssl", "3.5.99", "--unsigned"), 2, "--unsigned is not needed"),
        (("openssl", "3.5.99"), 4, "openssl-3.5.99.tar.gz could not be downloaded"),
    ],
)
def test_errors_of_add_version_give_advice(studio, argv, code, words, tmp_path):
    env = {"REZBUILD_OFFLINE": "1", "REZBUILD_CACHE": str(tmp_path / "cache")}
    done = studio.rezbuild("add-version", *argv, ok=False, **env)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr
