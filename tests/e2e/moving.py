"""The ways to move a payload, and to be sure that nothing is left where it was."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from studio import ROOT, Studio

from rezbuild import graph

# The chain under test: the default one, or that of the version which test_matrix.py names.
REQUEST = os.environ.get("REZBUILD_TEST_REQUEST") or "python"
DEFAULTS = {
    step.release.name: step.release.version
    for step in graph.plan(graph.recipes(ROOT / "packages"), [REQUEST], lambda *_: True)
}
NAMES = tuple(DEFAULTS)
PYTHON = DEFAULTS["python"]


def build_folders() -> list[Path]:
    """Where packages were built in this clone."""
    return [folder for folder in (ROOT / "packages").glob("*/build") if folder.is_dir()]


@contextlib.contextmanager
def gone(*folders: Path) -> Iterator[None]:
    """Nothing stands at these places meanwhile."""
    with contextlib.ExitStack() as stack:
        for folder in folders:
            place = folder.with_name(f".hidden-{folder.name}")
            folder.rename(place)
            stack.callback(place.rename, folder)
        yield


def variant(repository: Path, name: str = "python", version: str = PYTHON) -> Path:
    (root,) = (repository / name / version).glob("platform-*/arch-*")
    return root


def host_family(studio: Studio, repository: Path) -> None:
    """A repository of its own needs Rez's platform and arch packages as well."""
    for name in ("platform", "arch"):
        shutil.copytree(studio.local / name, repository / name)


def by_rez_cp(studio: Studio, folder: Path, name: str = "python") -> Path:
    repository = folder / "second repository"
    repository.mkdir()
    host_family(studio, repository)
    studio.rez("cp", "--dest-path", repository, f"{name}-{DEFAULTS[name]}")
    return repository


def find_on_host(soname: str) -> Path | None:
    """Where the host's loader finds a library."""
    out = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=False)
    for line in out.stdout.splitlines():
        if line.split(" ")[0].strip() == soname:
            return Path(line.rpartition("=> ")[2])
    return None
