"""Add a version to a catalogue: fetch it, verify its signature, and write the entry."""

from __future__ import annotations

import difflib
import json
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from rez.version import Version

from rezbuild.catalogue import model, sources_toml
from rezbuild.catalogue.model import Recipe, Release, Signed
from rezbuild.errors import CatalogueError, ChecksumError, FetchError, SignatureError, UsageError
from rezbuild.files import safe_files, unpack
from rezbuild.reporter import Reporter
from rezbuild.settings import Settings
from rezbuild.sources.fetch import Fetched, Fetcher
from rezbuild.util import toml
from rezbuild.versions import signatures
from rezbuild.versions.signatures import Verified

_HEADER = re.compile(r"""\[versions\.(?:"([^"]+)"|'([^']+)')\]\s*(?:#.*)?""")
_TABLE = re.compile(r"\s*\[")
# Keys that a new entry copies from the version before.
_COPIED = ("license", "requires", "patches")
_UNKNOWN = "0" * 64
# As in bzip2-1.0.8, openssl-1.1.1w, libexpat-R_2_8_3 and tcl8.6.18.
_VERSION = re.compile(r"(?<![0-9.])[0-9]+(?:[._][0-9]+)+[a-z]?(?![a-z0-9])")


@dataclass(frozen=True)
class NewVersion:
    """The arguments of ``rezbuild add-version``.

    Attributes:
        version: e.g. ``3.11.17``.
        url: The archive's address if it does not follow the catalogue's pattern, else "".
        sha256: The checksum that the user read on upstream's page, or "".
        unsigned: Accept an archive whose signature cannot be verified.
        older_signature: Accept a signature that is older than the one of the previous version.
        dry_run: Write nothing.
    """

    version: str
    url: str = ""
    sha256: str = ""
    unsigned: bool = False
    older_signature: bool = False
    dry_run: bool = False


def add(recipe: Recipe, new: NewVersion, settings: Settings, reporter: Reporter) -> str:
    """Add a version, or verify one that the catalogue already has.

    Args:
        recipe: The recipe whose catalogue is changed.
        new: The version.
        settings: The cache, the mirrors and the limits.
        reporter: Prints the findings.

    Returns:
        The change as a unified diff, or "".

    Raises:
        UsageError: The arguments contradict each other or the catalogue.
        CatalogueError: The entry cannot be inserted into the catalogue.
        FetchError: The archive or its signature could not be downloaded.
        SignatureError: Upstream did not sign the archive.
        ChecksumError: The archive has another checksum than the user or the catalogue says.
    """
    path = recipe.folder.resolve() / model.FILE_NAME
    before = path.read_bytes()
    text = before.decode()
    known = recipe.releases.get(new.version)
    release = known or _draft(recipe, text, new)
    _check_arguments(release, new, known)
    settings.cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="pin-", dir=settings.cache) as folder:
        fetcher = Fetcher(settings, reporter=reporter)
        fetched, signed_on = _verified(fetcher, release, new, Path(folder), reporter.info)
        if known and _is_of_distribution(known, fetched):
            reporter.info(f"{path} already has {recipe.name} {new.version}, with this archive")
            return ""
        _check_other_versions(recipe, release, fetched)
        _check_names(release, fetched, Path(folder), reporter.info)
        _check_date(recipe, release, signed_on, new)
        if known:
            reporter.info(f"{path} already has {recipe.name} {new.version} with this checksum")
            return ""
        after = insert(text, new.version, _entry(text, new, fetched, signed_on))
        added = sources_toml.loads(after, recipe.folder).releases[new.version]
        if not new.dry_run:
            _replace(path, before, after.encode())
            fetcher.keep(added, fetched.path)
    return _diff(path, text, after)


def _check_arguments(release: Release, new: NewVersion, known: Release | None) -> None:
    if new.sha256 and not re.fullmatch(r"[0-9a-fA-F]{64}", new.sha256):
        raise UsageError(f"invalid --sha256 {new.sha256[:80]!r}: it must have 64 hex digits")
    if new.url and known:
        raise UsageError(
            f"{known.name} {known.version} is already in the catalogue, with an address",
            advice=["leave out --url to verify it again"],
        )
    if new.unsigned and release.signed:
        raise UsageError(
            f"--unsigned is not needed: upstream signs {release.name} {release.version}",
            advice=["if this version has no signature, name its checksum: --sha256 SUM"],
        )
    if not (release.signed or new.sha256 or new.unsigned or known):
        raise UsageError(
            f"{release.name} {release.version} cannot be verified: its catalogue pins no key of "
            "upstream",
            advice=[
                "read its checksum on upstream's page, and name it: --sha256 SUM",
                "or accept the archive now, and compare it later: --unsigned",
                "if upstream signs, pin its key: docs/how-to/security.md",
            ],
        )


def _draft(recipe: Recipe, text: str, new: NewVersion) -> Release:
    """Return the release as the catalogue will have it, except for its checksum."""
    if not sources_toml.VERSION.fullmatch(new.version):
        raise UsageError(
            f"invalid version {new.version[:80]!r}: expected e.g. 1.2.3",
            advice=[f"compare it with the versions of {recipe.name}: {', '.join(recipe.releases)}"],
        )
    entry = _table(new.version, {**_keys(text, new), "sha256": _UNKNOWN})
    return sources_toml.loads(insert(text, new.version, entry), recipe.folder).release(new.version)


def _verified(
    fetcher: Fetcher, release: Release, new: NewVersion, folder: Path, say: Callable[[str], None]
) -> tuple[Fetched, str]:
    """Return the archive, and the day of its signature or ""."""
    try:
        pinned = release.archives[0].sha256 != _UNKNOWN
        # The cache may have a pinned archive.
        fetched = fetcher.fetch(release) if pinned else fetcher.unpinned(release, "", folder)
    except FetchError as error:
        raise FetchError(
            error.message,
            tried=error.tried,
            advice=[
                "check on upstream's page that the version exists",
                "if its address does not follow the catalogue's pattern, name it: --url URL",
                "or put the archive into a folder, and set REZBUILD_MIRRORS to the folder",
            ],
        ) from None
    archive = fetched.archive
    say(f"{archive.file}: {archive.size} bytes from {fetched.location}")
    say(f"  sha256 {archive.sha256}")
    if pinned and _is_of_distribution(release, fetched):
        first = release.archives[0]
        if new.sha256.lower() not in {"", first.sha256}:
            _compare(fetched, new.sha256.lower(), "--sha256 says")
        say(f"  the pinned archive of the distribution; upstream's is {first.file}")
        return fetched, ""
    if new.sha256:
        _compare(fetched, new.sha256.lower(), "--sha256 says")
        say("  it has the checksum of --sha256")
    if not release.signed:
        say("  not verified by a signature: the catalogue pins no key of upstream")
        return fetched, ""
    signer = _signer(fetcher, release, release.signed, fetched, named=bool(new.sha256))
    say(f"  {signer}")
    return fetched, "" if isinstance(signer, str) else signer.on


def _is_of_distribution(release: Release, fetched: Fetched) -> bool:
    """Return whether a pinned archive has other bytes than upstream's, so no signature fits it."""
    return fetched.archive.sha256 != release.archives[0].sha256


def _check_other_versions(recipe: Recipe, release: Release, fetched: Fetched) -> None:
    """Refuse the archive of another version, whose signature is valid, too.

    Raises:
        ChecksumError: Another version has this checksum.
    """
    for other in recipe.releases.values():
        sums = {archive.sha256 for archive in other.archives}
        if other.version != release.version and fetched.archive.sha256 in sums:
            raise _wrong_version(
                release, fetched, f"it has the sha256 of {other.name} {other.version}"
            )


def _check_names(
    release: Release, fetched: Fetched, folder: Path, say: Callable[[str], None]
) -> None:
    """Compare the version with the name of the source's top folder, or with ``version_in``.

    Raises:
        ChecksumError: The source has another version.
        UnpackError: The archive cannot be unpacked.
    """
    top = unpack.unpack(fetched.path, folder / "tree")
    if release.version_in:
        file, text = release.version_in
        try:
            found = text.encode() in safe_files.read(top / file)
        except OSError:
            found = False
        if not found:
            raise _wrong_version(release, fetched, f"its {file} does not hold {text!r}")
        return
    names = [name.replace("_", ".") for name in _VERSION.findall(top.name)]
    if names and release.version not in names:
        raise _wrong_version(release, fetched, f"its top folder is {top.name!r}")
    if not names:
        say(
            f"  notice: the name of its top folder, {top.name!r}, has no version: "
            "set version_in in sources.toml to a file of the source that has it"
        )


def _check_date(recipe: Recipe, release: Release, signed_on: str, new: NewVersion) -> None:
    """Compare the day of a signature with the one of the previous version of the series.

    Raises:
        SignatureError: The previous version was signed later.
    """
    own = Version(release.version)
    before = [
        other
        for other in recipe.releases.values()
        if Version(other.version).trim(2) == own.trim(2) and Version(other.version) < own
    ]
    dated = [other for other in before if other.signed_on]
    last = max(dated, key=lambda other: Version(other.version), default=None)
    if last and signed_on and signed_on < last.signed_on and not new.older_signature:
        raise SignatureError(
            f"{release.name} {release.version} was signed on {signed_on}, before {last.version}, "
            f"which was signed on {last.signed_on}",
            advice=[
                "check its release day on upstream's page: an old release may have a new name",
                "if upstream really signed it so early, add --older-signature",
            ],
        )


def _wrong_version(release: Release, fetched: Fetched, reason: str) -> ChecksumError:
    return ChecksumError(
        f"{fetched.archive.file} from {fetched.location} is not {release.name} {release.version}: "
        f"{reason}",
        advice=[
            "do not use these bytes: an old release with a new name has a valid signature",
            "compare the file with upstream's page",
        ],
    )


def _signer(
    fetcher: Fetcher, release: Release, signed: Signed, fetched: Fetched, *, named: bool
) -> Verified | str:
    """Return who signed an archive.

    The signature may be missing if the user ``named`` the checksum, but it must not be wrong.
    """
    try:
        signature = fetcher.unpinned(release, signed.suffix, fetched.path.parent)
    except FetchError as error:
        if named:
            return f"not verified by a signature: {error.message}"
        raise FetchError(
            f"the signature {error.message}",
            tried=error.tried,
            advice=[
                "try again later, or put it into a mirror beside the archive",
                "if upstream has no signature for it, name the checksum of its page: --sha256 SUM",
            ],
        ) from None
    return signatures.check(fetched.path, signature.path, signed)


def _compare(fetched: Fetched, sha256: str, says: str) -> None:
    if fetched.archive.sha256 != sha256:
        raise ChecksumError(
            f"{fetched.archive.file} from {fetched.location} has sha256 {fetched.archive.sha256}, "
            f"but {says} {sha256}",
            advice=[
                "do not use these bytes until you know the reason",
                "compare the file with upstream's page",
            ],
        )


def _entry(text: str, new: NewVersion, fetched: Fetched, signed_on: str) -> str:
    found = {"sha256": fetched.archive.sha256, "size": fetched.archive.size}
    found |= {"signed_on": signed_on} if signed_on else {}
    return _table(new.version, {**_keys(text, new), **found})


def _keys(text: str, new: NewVersion) -> dict[str, Any]:
    """Return the keys of the new entry except its checksum."""
    data = toml.loads(text)
    own = data.get("versions", {})
    series = Version(new.version).trim(2)
    near = sorted(Version(v) for v in own if Version(v).trim(2) == series)
    older = [version for version in near if version < Version(new.version)]
    chosen: dict[str, Any] = {}
    if near:
        previous = own[str(older[-1] if older else near[0])]
        chosen = {key: previous[key] for key in _COPIED if key in previous}
    if new.url:
        chosen["file"] = unquote(urlsplit(new.url).path.rpartition("/")[2])
        chosen["urls"] = [new.url]
    return chosen


def _table(version: str, values: dict[str, Any]) -> str:
    # JSON and TOML write a text, a number and a list of texts alike.
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
    return "\n".join([f'[versions."{version}"]', *lines, ""])


def insert(text: str, version: str, entry: str) -> str:
    """Insert an entry into the text of a catalogue, before the next higher version.

    Everything else, including comments, stays unchanged.

    Raises:
        CatalogueError: The layout of the file differs from `docs/reference/catalogue.md`.
    """
    end = "\r\n" if "\r\n" in text else "\n"
    lines = text.splitlines(keepends=True)
    place = _place(lines, Version(version))
    block = entry.replace("\n", end)
    before, after = "".join(lines[:place]), "".join(lines[place:])
    if before and not before.endswith("\n"):
        before += end
    if before and not before.endswith(end * 2):
        before += end
    after = end + after if after else ""
    whole = before + block + after
    try:
        expected = toml.loads(text)
        expected["versions"][version] = toml.loads(entry)["versions"][version]
        fits = toml.loads(whole) == expected
    except (KeyError, ValueError):
        fits = False
    if not fits:
        raise CatalogueError(
            f"the entry of {version} cannot be inserted automatically:\n{entry}",
            advice=["insert it by hand: docs/reference/catalogue.md shows the layout"],
        )
    return whole


def _place(lines: list[str], version: Version) -> int:
    """Return the number of the line before which a new entry is inserted."""
    place, inside = len(lines), False
    for number, line in enumerate(lines):
        header = _HEADER.fullmatch(line.strip())
        if header:
            inside = True
            if Version(header[1] or header[2]) > version:
                place = number
                break
        elif inside and _TABLE.match(line) and not line.lstrip().startswith("[versions."):
            place = number
            break
    else:
        return place
    # Comments before the next entry stay with it.
    while place and lines[place - 1].startswith("#"):
        place -= 1
    return place


def _replace(path: Path, before: bytes, after: bytes) -> None:
    """Replace the file atomically, unless it was changed since it was read."""
    if path.read_bytes() != before:
        raise CatalogueError(f"{path} was changed meanwhile", advice=["run the command again"])
    safe_files.replace(path, after, path.stat().st_mode & 0o777)


def _diff(path: Path, before: str, after: str) -> str:
    name = "/".join(path.parts[-3:])
    lines = difflib.unified_diff(
        before.splitlines(keepends=True),
        after.splitlines(keepends=True),
        f"a/{name}",
        f"b/{name}",
    )
    return "".join(lines)
