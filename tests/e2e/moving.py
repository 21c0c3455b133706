"""What the tests of moved packages share: where things are, and how they vanish for a while."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from studio import ROOT, Studio


def build_folders() -> list[Path]:
    """Where packages were built in this clone."""
    return [folder for folder in (ROOT / "packages").glob("*/build") if folder.is_dir()]


@contextlib.contextmanager
def gone(*folders: Path) -> Iterator[None]:
    """Nothing stands at these places meanwhile."""
    hidden = [(folder, folder.with_name(f".hidden-{folder.name}")) for folder in folders]
    for folder, place in hidden:
        folder.rename(place)
    try:
        yield
    finally:
        for folder, place in hidden:
            place.rename(folder)


def host_family(studio: Studio, repository: Path) -> None:
    """A repository of its own needs Rez's platform and arch packages as well."""
    for name in ("platform", "arch"):
        shutil.copytree(studio.local / name, repository / name)
