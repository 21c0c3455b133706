"""Read ``packages/<name>/sources.toml``: the versions of a package, their sources and checksums.

    default = "1.3.1"                # the version of a bare rez-build
    rolling = true                   # upstream maintains only the newest release of 1.x
    license = "Zlib"                 # SPDX expression
    license_files = ["LICENSE"]      # the files of the source with its text
    cpe = "zlib:zlib"                # vendor and product in lists of vulnerabilities
    file = "zlib-{version}.tar.gz"   # upstream's archive
    urls = ["https://…/{file}"]      # tried in this order
    requires = ["ncurses-6"]         # Rez requests of the dependencies
    version_in = { file = "VERSION", text = "{version}" }   # a file of the source with the version,
                                                            # if its top folder does not name it
    [series."1.2"]                   # each key above except default, for the versions 1.2.*
    patches = ["old.patch"]
    signed = { suffix = ".asc", by = ["…"] }   # fingerprints of keys in the folder keys/
    [versions."1.3.1"]               # each key above except default, for one version
    sha256 = "…"
    size = 1512791                   # bytes, if known
    signed_on = "2024-01-22"         # the day of upstream's signature, written by add-version
    tested = { on = "2026-12-01", host = "debian12", suites = ["check"] }   # see `test_records`
    debian = { source = "zlib", file = "zlib_….orig.tar.gz" }   # with sha256 and size if the
                                                                # distribution repacked the archive

A package that is made from the sources of another package has the versions of that package:

    versions_of = "python"
    requires = ["python-=={version}"]
    [tested]
    "3.11.2" = { on = "2026-12-01", host = "debian12", suites = ["e2e"] }

It may also use the recipe of that package:

    versions_of = "python"
    since = "3.13"                   # without older versions
    default = "3.13.5"
    same_recipe = true               # use the recipe.py, check.py, host/ and requires of python
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rezbuild.catalogue.model import FILE_NAME, Archive, DistributionFile, Recipe, Release, Signed
from rezbuild.catalogue.toml_table import Table
from rezbuild.errors import CatalogueError
from rezbuild.util import toml, words

# Not \d, which matches the digits of all scripts.
VERSION = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}){1,9}[a-z]?")
_SERIES = re.compile(r"[0-9]{1,9}\.[0-9]{1,9}")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]*")
_PACKAGE = re.compile(r"[a-z][a-z0-9_]*")
_CPE = re.compile(r"[a-z0-9._~-]+:[a-z0-9._~-]+")
_REQUEST = re.compile(r"[a-z][a-z0-9_]*(-[0-9A-Za-z.+<>=,|]+)?")
# OpenPGP keys of version 4 and 6.
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


def load(folder: Path) -> Recipe:
    """Read and validate the catalogue of a recipe folder.

    Raises:
        CatalogueError: The file is missing or invalid; the message names file, key and reason.
    """
    return _recipe(_read(folder), folder)


def loads(text: str, folder: Path) -> Recipe:
    """Read and validate a text as the catalogue of ``folder``.

    Raises:
        CatalogueError: The text is invalid.
    """
    path = folder / FILE_NAME
    try:
        return _recipe(Table(path, "", toml.loads(text)), folder)
    except toml.UNREADABLE as error:
        raise toml.unreadable(path, error) from None


def _read(folder: Path) -> Table:
    path = folder / FILE_NAME
    try:
        data = toml.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CatalogueError(
            f"{folder} is not a recipe folder: {FILE_NAME} is missing",
            advice=["name a folder such as packages/zlib"],
        ) from None
    except toml.UNREADABLE as error:
        raise toml.unreadable(path, error) from None
    return Table(path, "", data)


def _recipe(top: Table, folder: Path) -> Recipe:
    if "versions_of" in top.data:
        return _borrowed(top, folder)
    top.only(_TOP)
    profiled, debug = top.switch("profiled"), top.switch("debug")
    versions = top.table("versions")
    if not versions.data:
        raise top.wrong("versions", "is missing: a catalogue has at least one version")
    name = folder.resolve().name
    if not _PACKAGE.fullmatch(name):
        raise top.wrong("", f"is in a folder whose name is not a package name: {name!r}")
    releases = {version: _release(top, versions, name, version) for version in versions.data}
    _check_files(versions, releases)
    default = top.text("default")
    if default not in releases:
        raise top.wrong("default", f"is {default!r}, which is not among the versions")
    return Recipe(name, folder, default, profiled, releases, debug, top.switch("rolling"))


def _borrowed(top: Table, folder: Path) -> Recipe:
    """Read a recipe with the versions and sources of another recipe."""
    top.only(_BORROWED)
    theirs = top.text("versions_of", _PACKAGE, "a package's name")
    place = folder.absolute().parent / theirs
    if not (place / FILE_NAME).is_file():
        raise top.wrong("versions_of", f"is {theirs!r}, but {place / FILE_NAME} does not exist")
    there = _read(place)
    if "versions_of" in there.data:
        raise top.wrong("versions_of", f"is {theirs!r}, which has the key versions_of, too")
    origin = _recipe(there, place)
    same = top.switch("same_recipe")
    if same == ("requires" in top.data):
        raise top.wrong("requires", "is required without same_recipe, and forbidden with it")
    name, records = folder.resolve().name, top.table("tested")
    versions = _since(top, origin.releases)
    for version in records.data:
        if version not in versions:
            raise records.wrong(version, f"is not a version of {theirs}")
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


def _since(top: Table, releases: Mapping[str, Release]) -> Mapping[str, Release]:
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


def _check_files(versions: Table, releases: Mapping[str, Release]) -> None:
    """Refuse two archives of one name: in the cache, each would be a damaged copy of the other."""
    known: dict[str, tuple[str, str]] = {}
    for version, release in releases.items():
        for archive in release.archives:
            other, sha256 = known.setdefault(archive.file, (version, archive.sha256))
            if sha256 != archive.sha256:
                reason = f"has the file {archive.file} with another sha256 than {other}"
                raise versions.wrong(version, reason)


def _release(top: Table, versions: Table, name: str, version: str) -> Release:
    if not VERSION.fullmatch(version):
        raise versions.wrong(version, "is not a version such as 1.2.3 or 1.1.1w")
    own = versions.table(version)
    own.only(_ENTRY)
    # Keys of a version override those of its series and of the top of the file.
    entry = Table(own.path, own.key, {**_shared(top), **_series(top, version), **own.data})
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


def _version_in(entry: Table, version: str) -> tuple[str, ...]:
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


def _license_files(entry: Table) -> tuple[str, ...]:
    found = entry.texts("license_files")
    for pattern in found:
        if pattern.startswith("/") or ".." in pattern.split("/"):
            raise entry.wrong("license_files", f"holds {pattern!r}, which leaves the source")
    return found


def _signed(entry: Table, folder: Path) -> Signed | None:
    if "signed" not in entry.data:
        return None
    table = entry.table("signed")
    table.only(_SIGNED)
    suffix = table.text("suffix", _SUFFIX, "what follows a file name, such as .asc")
    if "by" not in table.data:
        return Signed(suffix, (), table.text("identity"), table.text("issuer"))
    if len(table.data) > 2:
        raise table.wrong(
            "by", "is for OpenPGP, identity and issuer are for Sigstore: use one of them"
        )
    keys = table.texts("by")
    if not keys:
        raise table.wrong("by", "names no key")
    for key in keys:
        if not _FINGERPRINT.fullmatch(key):
            raise table.wrong(
                "by", f"holds {key!r}, which is not a fingerprint in upper-case hex digits"
            )
        if not (folder / "keys" / f"{key}.asc").is_file():
            raise table.wrong("by", f"names {key}, but {folder / 'keys' / key}.asc does not exist")
    return Signed(suffix, tuple(folder / "keys" / f"{key}.asc" for key in keys))


def _requests(entry: Table, version: str) -> tuple[str, ...]:
    found = tuple(_expand(entry, "requires", r, version) for r in entry.texts("requires"))
    for request in found:
        if not _REQUEST.fullmatch(request):
            raise entry.wrong("requires", f"holds {request!r}, which is not a Rez request")
    return found


def _shared(top: Table) -> dict[str, Any]:
    return {key: top.data[key] for key in _SHARED if key in top.data}


def _series(top: Table, version: str) -> dict[str, Any]:
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


def _check_patch(entry: Table, folder: Path, patch: str) -> None:
    if not _PLAIN_NAME.fullmatch(patch):
        raise entry.wrong("patches", f"holds {patch!r}, which is not a plain file name")
    if not (folder / "patches" / patch).is_file():
        raise entry.wrong("patches", f"names {patch}, which is not in {folder / 'patches'}")


def _archives(entry: Table, version: str) -> tuple[Archive, ...]:
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
    in_debian = DistributionFile(source, debian.text("file", _PLAIN_NAME, "a plain file name"))
    if "sha256" not in debian.data:
        return (Archive(file, sha256, size, urls, in_debian),)
    repacked = Archive(in_debian.file, debian.sha256(), debian.size(), debian=in_debian)
    return (Archive(file, sha256, size, urls), repacked)


def _url(entry: Table, template: str, version: str, file: str) -> str:
    url = _expand(entry, "urls", template, version, file)
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise entry.wrong("urls", f"holds {url!r}: {words.reason(error)}") from None
    if parts.scheme != "https" or not parts.hostname or re.search(r"\s", url):
        raise entry.wrong("urls", f"holds {url!r}, which is not an https address")
    if parts.username or parts.password:
        raise entry.wrong("urls", "holds a user name or password; use REZBUILD_MIRRORS for that")
    return url


def _expand(entry: Table, key: str, template: str, version: str, file: str = "") -> str:
    values = {"version": version, "series": ".".join(version.split(".")[:2])}
    if file:
        values["file"] = file
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise entry.wrong(
            key, f"holds an invalid pattern {template!r}: {words.reason(error)}"
        ) from None
    if any(form or conversion for _, _, form, conversion in parts):
        raise entry.wrong(key, f"holds a pattern with a format: {template!r}")
    unknown = [name for _, name, _, _ in parts if name is not None and name not in values]
    if unknown:
        raise entry.wrong(key, f"holds {{{unknown[0]}}}; known: {', '.join(values)}")
    return template.format(**values)
