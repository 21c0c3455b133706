"""What the end-to-end tests share: a scratch folder, an empty studio, one with the built chain."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from studio import ROOT, Studio
from toys import Toys

from rezbuild import catalogue


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A folder that other users may enter, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="rezbuild-e2e-"))
    folder.chmod(0o755)
    yield folder
    subprocess.run(["chmod", "-R", "u+w", folder], check=True)
    shutil.rmtree(folder)


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    """A studio with empty repositories."""
    return Studio(tmp_path / "studio")


@pytest.fixture
def toys(studio: Studio, tmp_path: Path) -> Toys:
    """Small packages for that studio, whose sources lie in a mirror folder."""
    toys = Toys(tmp_path / "toys")
    studio.env |= {
        "REZBUILD_MIRRORS": str(toys.mirror),
        "REZBUILD_RECIPES": str(toys.recipes),
        "REZBUILD_CACHE": str(tmp_path / "cache"),
        # Nothing here may depend on a network.
        "REZBUILD_OFFLINE": "1",
    }
    return toys


@pytest.fixture(scope="session")
def built(scratch: Path) -> Studio:
    """The default chain, built by ``rezbuild build python``.

    While tests are written, REZBUILD_TEST_CHAIN names a folder to build it in and find it again.
    """
    studio = Studio(Path(os.environ.get("REZBUILD_TEST_CHAIN") or scratch / "built"))
    version = catalogue.load(ROOT / "packages/python").default
    assert f"ready: rez-env python=={version}" in studio.rezbuild("build", "python").stdout
    return studio


@pytest.fixture(scope="session")
def copied_payload(built: Studio, scratch: Path) -> Path:
    from test_python import by_rez_cp, variant

    folder = scratch / "elsewhere"
    folder.mkdir()
    return variant(by_rez_cp(built, folder))


@pytest.fixture
def payload(built: Studio, copied_payload: Path) -> Iterator[Path]:
    """The variant's root of a python moved by rez-cp; the original and its build are gone."""
    from test_python import build_folders, gone

    with gone(built.local, *build_folders()):
        yield copied_payload
