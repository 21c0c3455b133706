"""``packages/<name>/sources.toml`` as frozen dataclasses, validated when read.

The file says which versions exist, where each can be had and what its bytes are:

    default = "1.3.1"                # what a bare rez-build builds
    rolling = true                   # upstream maintains only the newest release of 1.x
    license = "Zlib"                 # SPDX expression
    license_files = ["LICENSE"]      # its text in the source
    cpe = "zlib:zlib"                # vendor and product in the lists of vulnerabilities
    file = "zlib-{version}.tar.gz"   # upstream's archive
    urls = ["https://…/{file}"]      # tried in this order
    requires = ["ncurses-6"]         # Rez requests of what it is built against
    version_in = { file = "VERSION", text = "{version}" }   # in the source, where the name of its
                                                            # top folder does not say the version
    [series."1.2"]                   # each key above but default may stand here, for the versions
    patches = ["old.patch"]          # that begin so
    signed = { suffix = ".asc", by = ["…"] }   # by which keys; their files stand in keys/
    [versions."1.3.1"]               # … and here, for one
    sha256 = "…"
    size = 1512791                   # bytes, where known
    signed_on = "2024-01-22"         # the day of upstream's signature, by add-version
    tested = { on = "2026-12-01", host = "debian12", suites = ["check"] }   # see `test_records`
    debian = { source = "zlib", file = "zlib_….orig.tar.gz" }   # with its own sha256 and size where
                                                                # the distribution packed it anew

A package that is made of another one's sources says whose: it has the versions of that one.

    versions_of = "python"
    requires = ["python-=={version}"]
    [tested]
    "3.11.2" = { on = "2026-12-01", host = "debian12", suites = ["e2e"] }

Such a package may also be built by the recipe of that one, in another way:

    versions_of = "python"
    since = "3.13"                   # without the older versions
    default = "3.13.5"
    same_recipe = true               # recipe.py, check.py, host/ and requires are that package's
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rezbuild.catalogue import test_records
from rezbuild.catalogue.test_records import Record
from rezbuild.errors import CatalogueError
from rezbuild.util import toml

FILE_NAME = "sources.toml"

# Not \d, which are the digits of all scripts.
VERSION = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}){1,9}[a-z]?")
_SERIES = re.compile(r"[0-9]{1,9}\.[0-9]{1,9}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]*")
_PACKAGE = re.compile(r"[a-z][a-z0-9_]*")
_CPE = re.compile(r"[a-z0-9._~-]+:[a-z0-9._~-]+")
_REQUEST = re.compile(r"[a-z][a-z0-9_]*(-[0-9A-Za-z.+<>=,|]+)?")
# OpenPGP, of version 4 and 6.
_FINGERPRINT = re.compile(r"[0-9A-F]{40}|[0-9A-F]{64}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_SUFFIX = re.compile(r"(\.[a-z0-9]{1,9}){1,2}")
_SHARED = {
    *("license", "license_files", "cpe", "file", "urls", "requires", "patches", "signed"),
    "version_in",
}
_TOP = _SHARED | {"default", "rolling", "profiled", "debug", "series", "versions"}
_ENTRY = _SHARED | {"sha256", "size", "debian", "tested", "signed_on"}
_DEBIAN = {"source", "file", "sha256", "size"}
_SIGNED = {"suffix", "by", "identity", "issuer"}
_BORROWED = {"versions_of", "since", "default", "same_recipe", "requires", "tested"}


@dataclass(frozen=True)
class DistributionFile:
    """A file of a distribution's source package.

    Attributes:
        source: Name of the source package, e.g. ``python3.11``.
        file: Name of the file, e.g. ``python3.11_3.11.2.orig.tar.gz``.
    """

    source: str
    file: str


@dataclass(frozen=True)
class Archive:
    """One sequence of bytes and every place that is known to give it.

    Attributes:
        file: File name in the cache and in mirrors.
        sha256: Lower-case hex digits.
        size: Bytes, or None where it is not known.
        urls: Upstream's addresses, in the order they are tried.
        debian: The same bytes in Debian's source archive.
    """

    file: str
    sha256: str
    size: int | None = None
    urls: tuple[str, ...] = ()
    debian: DistributionFile | None = None


@dataclass(frozen=True)
class Signed:
    """How upstream signs its archives; asked when a version is added, not when it is built.

    Attributes:
        suffix: What the signature's file name has after the archive's, such as ``.asc``.
        keys: OpenPGP: public keys, one of which must have signed; each file is named by the
            fingerprint of the key in it.
        identity: Sigstore: who must have signed, such as a mail address; empty for OpenPGP.
        issuer: Sigstore: who vouches for the identity, an address.
    """

    suffix: str
    keys: tuple[Path, ...] = ()
    identity: str = ""
    issuer: str = ""


@dataclass(frozen=True)
class Release:
    """One version of one package.

    Attributes:
        archives: Alternatives: any of them is this version's source. The first is upstream's.
        requires: Rez requests of the packages it is built against.
        patches: File names in the recipe's ``patches`` folder, applied in this order.
        license: SPDX expression.
        license_files: Patterns of the files in the source that have its text; empty: the
            usual names.
        cpe: Vendor and product in the NVD's dictionary, as ``zlib:zlib``, or "".
        tested: Records of its tests; of a version without any, only the sums are known.
        source: The package whose archives and patches these are, where it is another one.
        signed: How upstream signs it; None where no key of upstream's is known.
        signed_on: The day of upstream's signature, as 2026-11-28, or "".
        version_in: A file in the source and the text in it that names the version, or ().
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
        """The package that its archives are kept for, in the cache and in mirrors."""
        return self.source or self.name


@dataclass(frozen=True)
class Recipe:
    """A recipe folder: what ``package.py``, ``sources.toml`` and ``recipe.py`` stand in.

    Attributes:
        profiled: The profile (fast, optimized) changes what is built.
        releases: By version, in the order of the file.
        debug: What debuggers read of it is kept; see `rezbuild.payload.debug_data`.
        rolling: Upstream maintains only the newest release of a major version.
        recipe_of: The package whose recipe builds it, where that is another one.
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
        """The folder of recipe.py, check.py and host/."""
        return self._folder_of(self.recipe_of)

    def patches(self, release: Release) -> list[Path]:
        """The patches of one of its releases, in the order they are applied in."""
        return [self._folder_of(release.source) / "patches" / name for name in release.patches]

    def _folder_of(self, package: str) -> Path:
        # The link's folder, where it is one: what stands beside it is not the target's neighbour.
        return self.folder.absolute().parent / package if package else self.folder

    def release(self, version: str) -> Release:
        """The entry of exactly ``version``.

        Raises:
            CatalogueError: It is not in the catalogue.
        """
        try:
            return self.releases[version]
        except KeyError:
            raise CatalogueError(
                f"{self.name} {version} is not in {self.folder / FILE_NAME}",
                advice=[
                    f"versions: {', '.join(self.releases)}",
                    "add an entry with its url and sha256 to build another one",
                ],
            ) from None


def load(folder: Path) -> Recipe:
    """Reads and validates the catalogue of one recipe folder.

    Raises:
        CatalogueError: It is missing or wrong; the message names file, key and reason.
    """
    return _recipe(_read(folder), folder)


def loads(text: str, folder: Path) -> Recipe:
    """What `load` would read of ``folder`` if its file held ``text``.

    Raises:
        CatalogueError: It is wrong.
    """
    path = folder / FILE_NAME
    try:
        return _recipe(_Table(path, "", toml.loads(text)), folder)
    except toml.UNREADABLE as error:
        raise toml.unreadable(path, error) from None


def _read(folder: Path) -> _Table:
    path = folder / FILE_NAME
    try:
        data = toml.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CatalogueError(
            f"{folder} is no recipe folder: it has no {FILE_NAME}",
            advice=["name a folder such as packages/zlib"],
        ) from None
    except toml.UNREADABLE as error:
        raise toml.unreadable(path, error) from None
    return _Table(path, "", data)


class _Table:
    """A TOML table that knows where it stands, so that each complaint names file and key."""

    def __init__(self, path: Path, key: str, data: object) -> None:
        self.path, self.key = path, key
        if not isinstance(data, dict):
            raise self.wrong("", "is not a table")
        self.data: dict[str, Any] = data

    def wrong(self, key: str, reason: str) -> CatalogueError:
        where = ".".join(part for part in (self.key, key) if part)
        return CatalogueError(
            f"{self.path}: {where or 'the file'} {reason}",
            advice=["docs/reference/catalogue.md describes each key"],
        )

    def only(self, allowed: set[str]) -> None:
        for key in self.data:
            if key not in allowed:
                raise self.wrong(key, f"is unknown; known here: {', '.join(sorted(allowed))}")

    def table(self, key: str) -> _Table:
        return _Table(self.path, f"{self.key}.{key}" if self.key else key, self.data.get(key, {}))

    def text(self, key: str, pattern: re.Pattern[str] | None = None, what: str = "") -> str:
        value = self.data.get(key)
        if value is None:
            raise self.wrong(key, "is missing")
        if not isinstance(value, str) or not value:
            raise self.wrong(key, "is not a text")
        if pattern is not None and not pattern.fullmatch(value):
            raise self.wrong(key, f"is not {what}: {value!r}")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        value = self.data.get(key, [])
        if not isinstance(value, list) or not all(isinstance(v, str) and v for v in value):
            raise self.wrong(key, "is not a list of texts")
        return tuple(value)

    def size(self) -> int | None:
        value = self.data.get("size")
        if value is not None and (type(value) is not int or value <= 0):
            raise self.wrong("size", f"is not a number of bytes: {value!r}")
        return value

    def switch(self, key: str) -> bool:
        value = self.data.get(key, False)
        if not isinstance(value, bool):
            raise self.wrong(key, "is not true or false")
        return value

    def tested(self, key: str) -> tuple[Record, ...]:
        """The records of one version; empty where there are none."""
        if key not in self.data:
            return ()

        def wrong(inner: str, reason: str) -> CatalogueError:
            return self.wrong(".".join(filter(None, (key, inner))), reason)

        return test_records.read(self.data[key], wrong)

    def sha256(self) -> str:
        return self.text("sha256", _SHA256, "64 lower-case hex digits")


def _recipe(top: _Table, folder: Path) -> Recipe:
    if "versions_of" in top.data:
        return _borrowed(top, folder)
    top.only(_TOP)
    profiled, debug = top.switch("profiled"), top.switch("debug")
    versions = top.table("versions")
    if not versions.data:
        raise top.wrong("versions", "is missing: a catalogue has at least one version")
    name = folder.resolve().name
    if not _PACKAGE.fullmatch(name):
        raise top.wrong("", f"stands in a folder whose name is no package's: {name!r}")
    releases = {version: _release(top, versions, name, version) for version in versions.data}
    _check_files(versions, releases)
    default = top.text("default")
    if default not in releases:
        raise top.wrong("default", f"is {default!r}, which is not among the versions")
    return Recipe(name, folder, default, profiled, releases, debug, top.switch("rolling"))


def _borrowed(top: _Table, folder: Path) -> Recipe:
    """The versions of another recipe, made of the same sources into something else."""
    top.only(_BORROWED)
    theirs = top.text("versions_of", _PACKAGE, "a package's name")
    place = folder.absolute().parent / theirs
    if not (place / FILE_NAME).is_file():
        raise top.wrong("versions_of", f"is {theirs!r}, and there is no {place / FILE_NAME}")
    there = _read(place)
    if "versions_of" in there.data:
        raise top.wrong("versions_of", f"is {theirs!r}, whose versions are another one's too")
    origin = _recipe(there, place)
    same = top.switch("same_recipe")
    if same == ("requires" in top.data):
        raise top.wrong("requires", "is for a recipe of its own, and needed there; see same_recipe")
    name, records = folder.resolve().name, top.table("tested")
    versions = _since(top, origin.releases)
    for version in records.data:
        if version not in versions:
            raise records.wrong(version, f"is no version of {theirs}")
    releases = {
        version: replace(
            release,
            name=name,
            requires=release.requires if same else _requests(top, version),
            tested=records.tested(version),
            source=theirs,
        )
        for version, release in versions.items()
    }
    default = top.text("default") if "default" in top.data else origin.default
    if default not in releases:
        raise top.wrong("default", f"is {default!r}, which is not among the versions")
    profiled = same and origin.profiled
    recipe_of = theirs if same else ""
    return Recipe(name, folder, default, profiled, releases, recipe_of=recipe_of)


def _since(top: _Table, releases: Mapping[str, Release]) -> Mapping[str, Release]:
    """Return the releases of the series that the key ``since`` names, and of later ones.

    Rez's own order of versions is not used here: a payload is built without Rez.
    """
    if "since" not in top.data:
        return releases
    oldest = _numbers(top.text("since", _SERIES, "a series such as 3.13"))
    return {v: release for v, release in releases.items() if _numbers(v) >= oldest}


def _numbers(version: str) -> tuple[int, ...]:
    """Return the numbers of a version's series, e.g. (3, 13) of 3.13.5."""
    return tuple(int(part) for part in re.findall(r"[0-9]+", version)[:2])


def _check_files(versions: _Table, releases: Mapping[str, Release]) -> None:
    """Of two files of one name, each would be the damaged one to who wants the other."""
    known: dict[str, tuple[str, str]] = {}
    for version, release in releases.items():
        for archive in release.archives:
            other, sha256 = known.setdefault(archive.file, (version, archive.sha256))
            if sha256 != archive.sha256:
                reason = f"has the file {archive.file} with another sha256 than {other}"
                raise versions.wrong(version, reason)


def _release(top: _Table, versions: _Table, name: str, version: str) -> Release:
    if not VERSION.fullmatch(version):
        raise versions.wrong(version, "is not a version such as 1.2.3 or 1.1.1w")
    own = versions.table(version)
    own.only(_ENTRY)
    # What a version does not say itself, its series says, or the top of the file for all.
    entry = _Table(own.path, own.key, {**_shared(top), **_series(top, version), **own.data})
    for patch in entry.texts("patches"):
        _check_patch(entry, top.path.parent, patch)
    return Release(
        name=name,
        version=version,
        archives=_archives(entry, version),
        requires=_requests(entry, version),
        patches=entry.texts("patches"),
        license=entry.text("license"),
        tested=entry.tested("tested"),
        license_files=_license_files(entry),
        cpe=entry.text("cpe", _CPE, "a vendor and a product: zlib:zlib")
        if "cpe" in entry.data
        else "",
        signed=_signed(entry, top.path.parent),
        signed_on=entry.text("signed_on", _DATE, "a day such as 2026-11-28")
        if "signed_on" in entry.data
        else "",
        version_in=_version_in(entry, version),
    )


def _version_in(entry: _Table, version: str) -> tuple[str, ...]:
    if "version_in" not in entry.data:
        return ()
    table = entry.table("version_in")
    table.only({"file", "text"})
    file = _expand(table, "file", table.text("file"), version)
    if file.startswith("/") or ".." in file.split("/"):
        raise table.wrong("file", f"is {file!r}, which leaves the source")
    text = _expand(table, "text", table.text("text"), version)
    if version not in text:
        raise table.wrong("text", "has no {version}")
    return file, text


def _license_files(entry: _Table) -> tuple[str, ...]:
    found = entry.texts("license_files")
    for pattern in found:
        if pattern.startswith("/") or ".." in pattern.split("/"):
            raise entry.wrong("license_files", f"holds {pattern!r}, which leaves the source")
    return found


def _signed(entry: _Table, folder: Path) -> Signed | None:
    if "signed" not in entry.data:
        return None
    table = entry.table("signed")
    table.only(_SIGNED)
    suffix = table.text("suffix", _SUFFIX, "what follows a file name, such as .asc")
    if "by" not in table.data:
        return Signed(suffix, (), table.text("identity"), table.text("issuer"))
    if len(table.data) > 2:
        raise table.wrong("by", "is for OpenPGP, identity and issuer for Sigstore: not both")
    keys = table.texts("by")
    if not keys:
        raise table.wrong("by", "names no key")
    for key in keys:
        if not _FINGERPRINT.fullmatch(key):
            raise table.wrong("by", f"holds {key!r}, no fingerprint in upper-case hex digits")
        if not (folder / "keys" / f"{key}.asc").is_file():
            raise table.wrong("by", f"names {key}, and there is no {folder / 'keys' / key}.asc")
    return Signed(suffix, tuple(folder / "keys" / f"{key}.asc" for key in keys))


def _requests(entry: _Table, version: str) -> tuple[str, ...]:
    found = tuple(_expand(entry, "requires", r, version) for r in entry.texts("requires"))
    for request in found:
        if not _REQUEST.fullmatch(request):
            raise entry.wrong("requires", f"holds {request!r}, which is no Rez request")
    return found


def _shared(top: _Table) -> dict[str, Any]:
    return {key: top.data[key] for key in _SHARED if key in top.data}


def _series(top: _Table, version: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    table = top.table("series")
    for name in table.data:
        if not _SERIES.fullmatch(name):
            raise table.wrong(name, "is not a series such as 3.11")
        series = table.table(name)
        series.only(_SHARED)
        if version.startswith(f"{name}."):
            found = series.data
    return found


def _check_patch(entry: _Table, folder: Path, patch: str) -> None:
    if not _PLAIN_NAME.fullmatch(patch):
        raise entry.wrong("patches", f"holds {patch!r}, which is no plain file name")
    if not (folder / "patches" / patch).is_file():
        raise entry.wrong("patches", f"names {patch}, which is not in {folder / 'patches'}")


def _archives(entry: _Table, version: str) -> tuple[Archive, ...]:
    file = _expand(entry, "file", entry.text("file"), version)
    if not _PLAIN_NAME.fullmatch(file):
        raise entry.wrong("file", f"is not a plain file name: {file!r}")
    urls = tuple(_url(entry, url, version, file) for url in entry.texts("urls"))
    if not urls:
        raise entry.wrong("urls", "is missing: upstream's address")
    sha256, size = entry.sha256(), entry.size()
    if "debian" not in entry.data:
        return (Archive(file, sha256, size, urls),)
    debian = entry.table("debian")
    debian.only(_DEBIAN)
    source = debian.text("source", _PLAIN_NAME, "a source package's name")
    there = DistributionFile(source, debian.text("file", _PLAIN_NAME, "a plain file name"))
    if "sha256" not in debian.data:
        return (Archive(file, sha256, size, urls, there),)
    packed_anew = Archive(there.file, debian.sha256(), debian.size(), debian=there)
    return (Archive(file, sha256, size, urls), packed_anew)


def _url(entry: _Table, template: str, version: str, file: str) -> str:
    url = _expand(entry, "urls", template, version, file)
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise entry.wrong("urls", f"holds {url!r}: {error}") from None
    if parts.scheme != "https" or not parts.hostname or re.search(r"\s", url):
        raise entry.wrong("urls", f"holds {url!r}, which is no https address")
    if parts.username or parts.password:
        raise entry.wrong("urls", "holds a user name or password; use REZBUILD_MIRRORS for that")
    return url


def _expand(entry: _Table, key: str, template: str, version: str, file: str = "") -> str:
    values = {"version": version, "series": ".".join(version.split(".")[:2])}
    if file:
        values["file"] = file
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise entry.wrong(key, f"holds a bad pattern {template!r}: {error}") from None
    if any(form or conversion for _, _, form, conversion in parts):
        raise entry.wrong(key, f"holds a pattern that is more than a name: {template!r}")
    unknown = [name for _, name, _, _ in parts if name is not None and name not in values]
    if unknown:
        raise entry.wrong(key, f"holds {{{unknown[0]}}}; known: {', '.join(values)}")
    return template.format(**values)
