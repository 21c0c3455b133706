"""Sources on this machine: in the cache or a mirror folder.

Rez evaluates ``package.py`` several times per command, and each time this module is used. So it
reads no file and imports nothing heavy.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from rezbuild.catalogue.model import Recipe, Release
from rezbuild.settings import Settings


def mirror_folder(mirror: str) -> Path | None:
    """Return the folder of a mirror, or None for an address."""
    if mirror.startswith("file:"):
        return Path(url2pathname(urlsplit(mirror).path))
    return None if "://" in mirror else Path(mirror).expanduser()


def candidates(folder: Path, package: str, file: str) -> tuple[Path, Path]:
    """Return the paths that a file of a package may have in the cache or a mirror folder."""
    return folder / package / file, folder / file


def is_available(release: Release, settings: Settings) -> bool:
    """Whether an archive of a release is in the cache or a mirror folder, with the pinned size.

    The checksum is compared when the archive is used.
    """
    folders = [settings.cache / "sources", *filter(None, map(mirror_folder, settings.mirrors))]
    for archive in release.archives:
        for folder in folders:
            for path in candidates(folder, release.home, archive.file):
                if path.is_file() and archive.size in (None, path.stat().st_size):
                    return True
    return False


def newest(recipe: Recipe, settings: Settings) -> Release:
    """Return the newest release of the default's series with a local source, else the default."""
    from rezbuild.plan import resolve  # noqa: PLC0415 (Rez has imported its own versions by then)

    for release in resolve.same_series(recipe, recipe.default):
        if is_available(release, settings):
            return release
    return recipe.release(recipe.default)
