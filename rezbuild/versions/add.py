"""Adds a version to a catalogue: fetches it, asks who signed it, and writes the entry."""

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

from rezbuild.catalogue import sources_toml
from rezbuild.catalogue.sources_toml import Recipe, Release, Signed
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
# Of a version's own entry, what its neighbours most likely need as well.
_TAKEN_OVER = ("license", "requires", "patches")
_UNKNOWN = "0" * 64
# As in bzip2-1.0.8, openssl-1.1.1w, libexpat-R_2_8_3 and tcl8.6.18.
_VERSION = re.compile(r"(?<![0-9.])[0-9]+(?:[._][0-9]+)+[a-z]?(?![a-z0-9])")


@dataclass(frozen=True)
class Wish:
    """What a user asks for.

    Attributes:
        url: Of the archive, where the catalogue's pattern does not lead there; or empty.
        sha256: What the user has read on upstream's page; or empty.
        unsigned: Takes an archive whose signature nobody can verify.
        older_signature: Takes a signature that is older than that of the version before.
        dry_run: Writes nothing.
    """

    version: str
    url: str = ""
    sha256: str = ""
    unsigned: bool = False
    older_signature: bool = False
    dry_run: bool = False


def add(recipe: Recipe, wish: Wish, settings: Settings, reporter: Reporter) -> str:
    """Adds a version, or verifies the one that is there.

    Args:
        recipe: Whose catalogue.
        wish: What to add.
        settings: Give the cache, the mirrors and the limits.
        reporter: Is told what was found, line by line.

    Returns:
        The change as a unified diff; empty where there is none.

    Raises:
        UsageError: The wish makes no sense.
        CatalogueError: The entry does not fit into the catalogue.
        FetchError: The archive or its signature cannot be had.
        SignatureError: Upstream has not signed it.
        ChecksumError: It is not what the user or the catalogue says.
    """
    path = recipe.folder.resolve() / sources_toml.FILE_NAME
    before = path.read_bytes()
    text = before.decode()
    known = recipe.releases.get(wish.version)
    release = known or _draft(recipe, text, wish)
    _check_wish(release, wish, known)
    settings.cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="pin-", dir=settings.cache) as folder:
        fetcher = Fetcher(settings, reporter=reporter)
        fetched, signed_on = _verified(fetcher, release, wish, Path(folder), reporter.info)
        _check_other_versions(recipe, release, fetched)
        _check_names(release, fetched, Path(folder), reporter.info)
        _check_date(recipe, release, signed_on, wish)
        if known:
            _compare(fetched, known.archives[0].sha256, f"{path} says")
            reporter.info(f"{path} has {recipe.name} {wish.version} already, with this very sum")
            return ""
        after = insert(text, wish.version, _entry(text, wish, fetched, signed_on))
        added = sources_toml.loads(after, recipe.folder).releases[wish.version]
        if not wish.dry_run:
            _replace(path, before, after.encode())
            fetcher.keep(added, fetched.path)
    return _diff(path, text, after)


def _check_wish(release: Release, wish: Wish, known: Release | None) -> None:
    if wish.sha256 and not re.fullmatch(r"[0-9a-fA-F]{64}", wish.sha256):
        raise UsageError(f"--sha256 {wish.sha256[:80]!r} is no SHA-256: 64 hex digits")
    if wish.url and known:
        raise UsageError(
            f"{known.name} {known.version} is in the catalogue already, with its own addresses",
            advice=["leave out --url to verify it once more"],
        )
    if wish.unsigned and release.signed:
        raise UsageError(
            f"{release.name} {release.version} is signed by its upstream: --unsigned is not needed",
            advice=["where this version has no signature, name its sum: --sha256 SUM"],
        )
    if not (release.signed or wish.sha256 or wish.unsigned or known):
        raise UsageError(
            f"nothing vouches for {release.name} {release.version}: its catalogue pins no key "
            "of upstream's",
            advice=[
                "read its sum on upstream's page, and name it: --sha256 SUM",
                "or take what comes, and compare later: --unsigned",
                "where upstream signs, pin its key: docs/how-to/security.md",
            ],
        )


def _draft(recipe: Recipe, text: str, wish: Wish) -> Release:
    """The release as the catalogue will have it, but for its sum."""
    if not sources_toml.VERSION.fullmatch(wish.version):
        raise UsageError(
            f"{wish.version[:80]!r} is not a version such as 1.2.3",
            advice=[f"versions of {recipe.name}: {', '.join(recipe.releases)}"],
        )
    entry = _table(wish.version, {**_chosen(text, wish), "sha256": _UNKNOWN})
    return sources_toml.loads(insert(text, wish.version, entry), recipe.folder).release(
        wish.version
    )


def _verified(
    fetcher: Fetcher, release: Release, wish: Wish, folder: Path, say: Callable[[str], None]
) -> tuple[Fetched, str]:
    """The archive, and the day of its signature or ""."""
    try:
        fetched = fetcher.unpinned(release, "", folder)
    except FetchError as error:
        raise FetchError(
            error.message,
            tried=error.tried,
            advice=[
                "see on upstream's page whether there is such a version",
                "where its address is another one than the catalogue's: --url URL",
                "or put it into a mirror folder and set REZBUILD_MIRRORS to it",
            ],
        ) from None
    archive = fetched.archive
    say(f"{archive.file}: {archive.size} bytes from {fetched.location}")
    say(f"  sha256 {archive.sha256}")
    if wish.sha256:
        _compare(fetched, wish.sha256.lower(), "--sha256 says")
        say("  it has the sum that you named")
    if not release.signed:
        say("  not verified by a signature: the catalogue pins no key of upstream's")
        return fetched, ""
    signer = _signer(fetcher, release, release.signed, fetched, named=bool(wish.sha256))
    say(f"  {signer}")
    return fetched, "" if isinstance(signer, str) else signer.on


def _check_other_versions(recipe: Recipe, release: Release, fetched: Fetched) -> None:
    """Refuse the archive of another version: its signature is as good as before.

    Raises:
        ChecksumError: Another version has this very sum.
    """
    for other in recipe.releases.values():
        sums = {archive.sha256 for archive in other.archives}
        if other.version != release.version and fetched.archive.sha256 in sums:
            raise _is_other(release, fetched, f"it has the sha256 of {other.name} {other.version}")


def _check_names(
    release: Release, fetched: Fetched, folder: Path, say: Callable[[str], None]
) -> None:
    """Compare the version with what the source says: its top folder, or ``version_in``.

    Raises:
        ChecksumError: The source is that of another version.
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
            raise _is_other(release, fetched, f"its {file} does not hold {text!r}")
        return
    names = [name.replace("_", ".") for name in _VERSION.findall(top.name)]
    if names and release.version not in names:
        raise _is_other(release, fetched, f"its top folder is {top.name!r}")
    if not names:
        say(
            f"  notice: its top folder, {top.name!r}, names no version: "
            "version_in in sources.toml would say where the source does"
        )


def _check_date(recipe: Recipe, release: Release, signed_on: str, wish: Wish) -> None:
    """Compare the day of a signature with that of the version before, in the same series.

    Raises:
        SignatureError: It was signed earlier.
    """
    own = Version(release.version)
    before = [
        other
        for other in recipe.releases.values()
        if Version(other.version).trim(2) == own.trim(2) and Version(other.version) < own
    ]
    dated = [other for other in before if other.signed_on]
    last = max(dated, key=lambda other: Version(other.version), default=None)
    if last and signed_on and signed_on < last.signed_on and not wish.older_signature:
        raise SignatureError(
            f"{release.name} {release.version} was signed on {signed_on}, before {last.version}, "
            f"which was signed on {last.signed_on}",
            advice=[
                "see on upstream's page when it was released: an old release may have a new name",
                "where upstream has signed it so early: --older-signature",
            ],
        )


def _is_other(release: Release, fetched: Fetched, why: str) -> ChecksumError:
    return ChecksumError(
        f"{fetched.archive.file} from {fetched.location} is not {release.name} {release.version}: "
        f"{why}",
        advice=[
            "do not use these bytes: an old release with a new name has a good signature",
            "compare with upstream's page",
        ],
    )


def _signer(
    fetcher: Fetcher, release: Release, signed: Signed, fetched: Fetched, *, named: bool
) -> Verified | str:
    """Who signed it; where the user has named the sum, it may have no signature, but no bad one."""
    try:
        signature = fetcher.unpinned(release, signed.suffix, fetched.path.parent)
    except FetchError as error:
        if named:
            return f"not verified by a signature: {error.message}"
        raise FetchError(
            f"{error.message}, which should say who signed {fetched.archive.file}",
            tried=error.tried,
            advice=[
                "try again later, or put it into a mirror beside the archive",
                "where upstream gives none for it, name the sum from its page: --sha256 SUM",
            ],
        ) from None
    return signatures.check(fetched.path, signature.path, signed)


def _compare(fetched: Fetched, sha256: str, says: str) -> None:
    if fetched.archive.sha256 != sha256:
        raise ChecksumError(
            f"{fetched.archive.file} from {fetched.location} is another file: it has sha256 "
            f"{fetched.archive.sha256}, and {says} {sha256}",
            advice=["do not use these bytes before you know why", "compare with upstream's page"],
        )


def _entry(text: str, wish: Wish, fetched: Fetched, signed_on: str) -> str:
    found = {"sha256": fetched.archive.sha256, "size": fetched.archive.size}
    found |= {"signed_on": signed_on} if signed_on else {}
    return _table(wish.version, {**_chosen(text, wish), **found})


def _chosen(text: str, wish: Wish) -> dict[str, Any]:
    """What the new entry says besides its sum."""
    data = toml.loads(text)
    own = data.get("versions", {})
    series = Version(wish.version).trim(2)
    near = sorted(Version(v) for v in own if Version(v).trim(2) == series)
    older = [version for version in near if version < Version(wish.version)]
    chosen: dict[str, Any] = {}
    if near:
        neighbour = own[str(older[-1] if older else near[0])]
        chosen = {key: neighbour[key] for key in _TAKEN_OVER if key in neighbour}
    if wish.url:
        chosen["file"] = unquote(urlsplit(wish.url).path.rpartition("/")[2])
        chosen["urls"] = [wish.url]
    return chosen


def _table(version: str, values: dict[str, Any]) -> str:
    # A text, a number or a list of texts is written in JSON as in TOML.
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
    return "\n".join([f'[versions."{version}"]', *lines, ""])


def insert(text: str, version: str, entry: str) -> str:
    """The text of a catalogue with one more entry, before that of the next higher version.

    Everything else stays as it is, comments too.

    Raises:
        CatalogueError: The file is not laid out as `docs/reference/catalogue.md` has it.
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
            f"the entry of {version} cannot be put in by a program; write it yourself:\n{entry}",
            advice=["docs/reference/catalogue.md shows how a catalogue is laid out"],
        )
    return whole


def _place(lines: list[str], version: Version) -> int:
    """The line that a new entry goes before."""
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
    # What is said of the next one stays with it.
    while place and lines[place - 1].startswith("#"):
        place -= 1
    return place


def _replace(path: Path, before: bytes, after: bytes) -> None:
    """Puts the new text in the place of the old one, in one step."""
    if path.read_bytes() != before:
        raise CatalogueError(f"{path} was changed meanwhile", advice=["run it again"])
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
