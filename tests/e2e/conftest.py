"""Fixtures of the end-to-end tests: an empty studio, the built chain, and copies of it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from farm import two_workers
from git_clone import IDENTITY, commit, make_clone
from host_tools import require_tool
from moves import PYTHON, REQUEST, build_folders, copy_with_rez_cp, hide, variant
from sample_packages import Samples
from studio import Studio


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the marks in a hook of the same name
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort tests into groups for the workers of pytest-xdist (--dist loadgroup).

    Tests of sample packages share nothing. All other tests hide the one chain and the build
    folders of this clone for a while, so one worker must run them.
    """
    for item in items:
        names = getattr(item, "fixturenames", ())
        alone = "samples" in names and not {"built", "scratch"}.intersection(names)
        item.add_marker(pytest.mark.xdist_group(item.path.stem if alone else "chain"))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Check that pytest-xdist uses the groups; otherwise two workers would build the chain."""
    grouped = [item for item in session.items if "@" in item.nodeid.rpartition("]")[2]]
    if hasattr(session.config, "workerinput") and len(grouped) < len(session.items):
        pytest.exit("pytest-xdist does not heed groups with this pytest", returncode=4)


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """Return a folder that other users may enter, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="rezbuild-e2e-"))
    folder.chmod(0o755)
    yield folder
    subprocess.run(["chmod", "-R", "u+w", folder], check=True)
    shutil.rmtree(folder)


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    """Return a studio with empty repositories."""
    return Studio(tmp_path / "studio")


@pytest.fixture
def samples(studio: Studio, tmp_path: Path) -> Samples:
    """Return small packages for the studio, with sources in a mirror folder."""
    samples = Samples(tmp_path / "samples")
    studio.env |= samples.environ
    return samples


@pytest.fixture
def release(studio: Studio, samples: Samples) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a release: commit, push and ``rezbuild build --release`` in a shared repository."""
    require_tool("git")
    folder = samples.recipes.parent
    (folder / ".gitignore").write_text("build/\nremote.git/\n__pycache__/\ncache/\n")
    make_clone(folder, folder / "remote.git")
    studio.env |= IDENTITY

    def run(*argv: str, ok: bool = True) -> subprocess.CompletedProcess[str]:
        commit(folder, "Recipes")
        requests = () if argv and argv[0].startswith("top") else ("top",)
        return studio.rezbuild("build", *requests, *argv, "--release", ok=ok)

    return run


@pytest.fixture(scope="session")
def built(scratch: Path) -> Studio:
    """Build the chain under test with ``rezbuild build``.

    REZBUILD_TEST_CHAIN names a folder that keeps the chain for the next run of the tests. With
    REZBUILD_TEST_FARM=1, a farm of two workers builds it. REZBUILD_CCACHE applies, too.
    """
    studio = Studio(Path(os.environ.get("REZBUILD_TEST_CHAIN") or scratch / "built"))
    with contextlib.ExitStack() as stack:
        given = {k: v for k, v in os.environ.items() if k == "REZBUILD_CCACHE"}
        if os.environ.get("REZBUILD_TEST_FARM"):
            given |= stack.enter_context(two_workers(scratch / "farm"))
        out = studio.rezbuild("build", REQUEST, **given).stdout
    assert f"ready: rez-env python=={PYTHON}" in out
    return studio


@pytest.fixture(scope="session")
def copied(built: Studio, scratch: Path) -> Path:
    """Copy python to another repository with rez-cp, and return this repository."""
    folder = scratch / "moved"
    folder.mkdir()
    return copy_with_rez_cp(built, folder)


@pytest.fixture(scope="session")
def copied_openssl(built: Studio, scratch: Path) -> Path:
    """Copy openssl to another repository with rez-cp, and return this repository."""
    folder = scratch / "moved openssl"
    folder.mkdir()
    return copy_with_rez_cp(built, folder, "openssl")


@pytest.fixture
def hidden_original(built: Studio, copied: Path, copied_openssl: Path) -> Iterator[None]:
    """Hide the original packages and their build folders."""
    with hide(built.local, *build_folders()):
        yield


@pytest.fixture
def moved(hidden_original: None, copied: Path) -> Path:
    """Return the copied repository, while the original is hidden."""
    return copied


@pytest.fixture
def moved_openssl(hidden_original: None, copied_openssl: Path) -> Path:
    """Return the copied repository of openssl, while the original is hidden."""
    return copied_openssl


@pytest.fixture
def payload(moved: Path) -> Path:
    """Return the root of the moved python variant."""
    return variant(moved)


@pytest.fixture
def display() -> Iterator[str]:
    """Start an X server without a screen, and return its DISPLAY."""
    require_tool("Xvfb")
    read, write = os.pipe()
    words = ["Xvfb", "-displayfd", str(write), "-nolisten", "tcp", "-screen", "0", "640x480x24"]
    process = subprocess.Popen(words, pass_fds=[write], stderr=subprocess.DEVNULL)
    os.close(write)
    number = os.read(read, 20).decode().strip()
    yield f":{number}"
    process.terminate()
    process.wait()
