"""The catalogue as frozen dataclasses: recipes, their releases and archives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rezbuild.catalogue.test_records import Record
from rezbuild.errors import CatalogueError

FILE_NAME = "sources.toml"


@dataclass(frozen=True)
class DistributionFile:
    """A file of a distribution's source package.

    Attributes:
        source: Name of the source package, e.g. ``python3.11``.
        file: File name, e.g. ``python3.11_3.11.2.orig.tar.gz``.
    """

    source: str
    file: str


@dataclass(frozen=True)
class Archive:
    """An archive, and all places that have the same bytes.

    Attributes:
        file: File name in the cache and in mirrors.
        sha256: Lower-case hex digits.
        size: Bytes, or None if unknown.
        urls: Upstream's addresses, in the order in which they are tried.
        debian: The same bytes in Debian's source archive.
    """

    file: str
    sha256: str
    size: int | None = None
    urls: tuple[str, ...] = ()
    debian: DistributionFile | None = None


@dataclass(frozen=True)
class Signed:
    """The signatures of upstream, which are verified when a version is added.

    Attributes:
        suffix: The suffix of the signature's file name, e.g. ``.asc``.
        keys: OpenPGP: files of the accepted public keys, named by fingerprint.
        identity: Sigstore: the signer, e.g. a mail address; "" for OpenPGP.
        issuer: Sigstore: the address of the identity provider.
    """

    suffix: str
    keys: tuple[Path, ...] = ()
    identity: str = ""
    issuer: str = ""


@dataclass(frozen=True)
class Release:
    """One version of one package.

    Attributes:
        archives: Alternatives: each of them is this version's source. The first is upstream's.
        requires: Rez requests of its dependencies.
        patches: File names in the recipe's ``patches`` folder, applied in this order.
        license: SPDX expression.
        license_files: Patterns of the source's files with its text; empty: the usual names.
        cpe: Vendor and product in the NVD's dictionary, e.g. ``zlib:zlib``, or "".
        tested: Records of its tests; empty if it was never built.
        source: The package that the archives and patches belong to, if it is another package.
        signed: Upstream's signatures; None if no key of upstream is pinned.
        signed_on: The day of upstream's signature, e.g. ``2026-11-28``, or "".
        version_in: A file of the source and a text in it that names the version, or ().
    """

    name: str
    version: str
    archives: tuple[Archive, ...]
    requires: tuple[str, ...]
    patches: tuple[str, ...]
    license: str
    tested: tuple[Record, ...] = ()
    source: str = ""
    license_files: tuple[str, ...] = ()
    cpe: str = ""
    signed: Signed | None = None
    signed_on: str = ""
    version_in: tuple[str, ...] = ()

    @property
    def home(self) -> str:
        """The package whose folder in the cache and in mirrors has the archives."""
        return self.source or self.name


@dataclass(frozen=True)
class Recipe:
    """A recipe folder, with ``package.py``, ``sources.toml`` and ``recipe.py``.

    Attributes:
        profiled: The build profile changes the payload.
        releases: The releases by version, in the order of the file.
        debug: Its debug data is kept; see `rezbuild.payload.debug_data`.
        rolling: Upstream maintains only the newest release of a major version.
        recipe_of: The package whose recipe builds it, if it is another package.
    """

    name: str
    folder: Path
    default: str
    profiled: bool
    releases: Mapping[str, Release]
    debug: bool = False
    rolling: bool = False
    recipe_of: str = ""

    @property
    def steps(self) -> Path:
        """The folder with recipe.py, check.py and host/."""
        return self._folder_of(self.recipe_of)

    def patches(self, release: Release) -> list[Path]:
        """Return the patches of a release, in the order in which they are applied."""
        return [self._folder_of(release.source) / "patches" / name for name in release.patches]

    def _folder_of(self, package: str) -> Path:
        # Do not resolve a link: the other recipes are beside the link, not beside its target.
        return self.folder.absolute().parent / package if package else self.folder

    def release(self, version: str) -> Release:
        """Return the release of a version.

        Raises:
            CatalogueError: The version is not in the catalogue.
        """
        try:
            return self.releases[version]
        except KeyError:
            raise CatalogueError(
                f"{self.name} {version} is not in {self.folder / FILE_NAME}",
                advice=[
                    f"choose a version: {', '.join(self.releases)}",
                    f"or add it: rezbuild add-version {self.name} {version}",
                ],
            ) from None
