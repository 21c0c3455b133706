"""The locations of an archive besides the cache: mirrors, upstream, the distribution."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from rezbuild.catalogue.model import Archive, DistributionFile, Release
from rezbuild.errors import FetchError
from rezbuild.settings import Settings
from rezbuild.sources import local_sources
from rezbuild.sources.debian_archive import SourceArchive
from rezbuild.sources.http_client import HttpClient
from rezbuild.sources.http_errors import DownloadError, public_address
from rezbuild.sources.partial_file import PartialFile, owner_suffix


@dataclass(frozen=True)
class Location:
    """A place that may have an archive.

    Attributes:
        name: For the user, without credentials.
        archive: The archive that it may have.
        get: Fills a partial file; returns the exact place that the bytes came from.
        probe: Does the same, but may end without bytes if the file is there.
        local: It is a folder.
        url: The address, or "".
    """

    name: str
    archive: Archive
    get: Callable[[PartialFile], str]
    probe: Callable[[PartialFile], object]
    local: bool = False
    url: str = ""


def find(
    release: Release, settings: Settings, http: HttpClient, distribution: SourceArchive
) -> Iterator[Location]:
    """Yield the locations of a release's archives, in the order in which they are tried."""
    for mirror in settings.mirrors:
        for archive in release.archives:
            yield _mirror(mirror, release.home, archive, http)
    for archive in release.archives:
        for url in archive.urls:
            get = functools.partial(http.get, url)
            yield Location(public_address(url), archive, get, get, url=url)
    for archive in release.archives:
        if archive.debian is not None:
            get = functools.partial(
                _get_from_distribution, distribution, settings.cache, archive.debian
            )
            probe = functools.partial(_probe_distribution, distribution, http, archive.debian)
            yield Location("Debian source archive", archive, get, probe)


def join_url(base: str, *names: str) -> str:
    """Return the address of a file below ``base``; keep the query, which may be a token.

    Raises:
        DownloadError: ``base`` is not an address.
    """
    try:
        parts = urlsplit(base)
    except ValueError:
        raise DownloadError("the address is not valid") from None
    path = "/".join([parts.path.rstrip("/"), *map(quote, names)])
    return urlunsplit(parts._replace(path=path, fragment=""))


def _mirror(mirror: str, package: str, archive: Archive, http: HttpClient) -> Location:
    folder = local_sources.mirror_folder(mirror)
    if folder is None:
        get = functools.partial(_get_from_mirror, http, mirror, package)
        return Location(public_address(mirror), archive, get, get, url=mirror)
    get = functools.partial(_get_from_folder, folder, package)
    return Location(str(folder), archive, get, get, local=True)


def _get_from_mirror(http: HttpClient, mirror: str, package: str, part: PartialFile) -> str:
    file = part.archive.file
    try:
        return http.get(join_url(mirror, package, file), part)
    except DownloadError as error:
        if not error.missing:
            raise
    return http.get(join_url(mirror, file), part)


def _get_from_folder(folder: Path, package: str, part: PartialFile) -> str:
    file = part.archive.file
    for path in local_sources.candidates(folder, package, file):
        try:
            exists = path.is_file()
        except OSError as error:
            raise DownloadError(f"{path} cannot be read: {error.strerror}") from None
        if exists:
            part.copy(path)
            return str(path)
    raise DownloadError(f"{file} does not exist there")


def _get_from_distribution(
    distribution: SourceArchive, cache: Path, wanted: DistributionFile, part: PartialFile
) -> str:
    # The archive's lock is held, so a folder of this name was left by a killed process.
    suffix = owner_suffix(cache / "sources")
    folder = cache / f"apt-{part.archive.sha256[:16]}{suffix}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        part.copy(distribution.fetch(wanted, part.archive.sha256, folder))
    except FetchError as error:
        raise DownloadError(error.message) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return f"the Debian source archive ({wanted.source})"


def _probe_distribution(
    distribution: SourceArchive, http: HttpClient, wanted: DistributionFile, part: PartialFile
) -> None:
    try:
        address = distribution.address(wanted, part.archive.sha256)
        http.get(address, part)
    except FetchError as error:
        raise DownloadError(error.message) from None
    except DownloadError as error:
        # apt may reach an address that this client cannot: it has its own proxies and schemes.
        if error.missing:
            raise
