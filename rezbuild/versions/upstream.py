"""Upstream's versions, read from the web folder of an archive's address."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import BinaryIO, cast
from urllib.parse import urlsplit, urlunsplit

from rez.version import Version

from rezbuild.catalogue.model import Archive, Recipe, Release
from rezbuild.errors import FetchError
from rezbuild.plan.resolve import series
from rezbuild.settings import Settings
from rezbuild.sources.http_client import HttpClient
from rezbuild.sources.http_errors import DownloadError
from rezbuild.sources.partial_file import PartialFile

_NUMBER = r"([0-9]+(?:\.[0-9]+)+[a-z]?)"
# GitHub does not list the folder of its downloads; its feed has the latest tags.
_DOWNLOADS, _FEED = "/releases/download/", "/releases.atom"


class Upstream:
    """Ask upstream's servers; read each page once."""

    def __init__(self, settings: Settings, say: Callable[[str], None]) -> None:
        self._web = HttpClient(replace(settings, max_size=10), say, backoff=0.5, pages=True)
        self._pages: dict[str, str | DownloadError] = {}

    def newest(self, recipe: Recipe, release: Release) -> str:
        """Return upstream's newest version of the series of ``release``.

        Raises:
            FetchError: No page of upstream could be read.
        """
        tried, there = [], set()
        for page, pattern in places(release):
            try:
                found = versions(self._read(page), pattern)
            except DownloadError as error:
                tried.append(f"{page}: {error}")
                continue
            of_series = {v for v in found if series(v) == series(release.version)}
            there |= of_series
            if not of_series:
                tried.append(f"{page}: the page has no version of {series(release.version)}")
        if there:
            return str(max(map(Version, there)))
        raise FetchError(
            f"upstream's versions of {recipe.name} {series(release.version)} cannot be read",
            tried=tried or ["no address in the catalogue contains the version"],
            advice=["look at upstream's web site"],
        )

    def _read(self, url: str) -> str:
        if url not in self._pages:
            try:
                self._pages[url] = self._get(url)
            except DownloadError as error:
                self._pages[url] = error
        known = self._pages[url]
        if isinstance(known, DownloadError):
            raise known
        return known

    def _get(self, url: str) -> str:
        with tempfile.NamedTemporaryFile(mode="a+b") as file:
            part = PartialFile(cast(BinaryIO, file), Archive("page", ""))
            self._web.get(url, part)
            file.seek(0)
            return file.read().decode(errors="replace")


def places(release: Release) -> Iterator[tuple[str, re.Pattern[str]]]:
    """Yield the pages that may name upstream's versions, each with a pattern for the versions."""
    for url in release.archives[0].urls:
        parts = urlsplit(url)
        above, forge, below = parts.path.partition(_DOWNLOADS)
        names = (below if forge else parts.path).split("/")
        held = [number for number, name in enumerate(names) if release.version in name]
        if not held:
            continue
        folder = above + _FEED if forge else "/".join([*names[: held[0]], ""])
        pattern = re.escape(names[held[0]]).replace(re.escape(release.version), _NUMBER)
        whole = re.compile(rf"(?<![\w.-]){pattern}(?![\w.-])")
        yield urlunsplit(parts._replace(path=folder)), whole


def versions(page: str, pattern: re.Pattern[str]) -> set[str]:
    """Return the versions that a page names."""
    return {found[1] for found in pattern.finditer(page)}
