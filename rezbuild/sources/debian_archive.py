"""Source packages of the Debian archive that this machine already uses, without root.

apt handles signatures, proxies, mirrors and credentials. It works in private folders below the
cache and does not change the machine. See apt.conf(5), sources.list(5) and apt-get(8).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from rezbuild.build import toolchain
from rezbuild.catalogue.model import DistributionFile
from rezbuild.errors import FetchError
from rezbuild.files import cache_lock, locks, safe_files
from rezbuild.settings import Settings
from rezbuild.util.processes import capture

_T = TypeVar("_T")

SUITES = ("oldstable", "stable", "oldoldstable", "testing", "unstable")

_HELPER = Path("/usr/lib/apt/apt-helper")
_MAX_AGE = 3600.0  # seconds until the archive's lists are downloaded again
_KEYRINGS = (
    "etc/apt/trusted.gpg.d/*",
    "etc/apt/keyrings/*",
    "usr/share/keyrings/*-archive-keyring.*",
)
_KEY_SUFFIXES = {".asc": ".asc", ".gpg": ".gpg", ".pgp": ".gpg"}  # as apt reads them
_TARGET = "$(ORIGIN)|$(COMPONENT)|$(REPO_URI)|$(CODENAME)|$(SUITE)"
_INDEX_URI = re.compile(r"^'([^']+/)dists/([^']+)/main/binary-", re.MULTILINE)
# 'ADDRESS' FILE SIZE SHA256:SUM
_SOURCE_URI = re.compile(r"^'([^']+)' (\S+) ", re.MULTILINE)
_PLAIN_SUITE = re.compile(r"[a-z0-9.]+")


class SourceArchive:
    """The source packages that the machine's Debian archive offers, in all its suites.

    Args:
        settings: The cache folder, the timeouts and the number of retries.
        say: Prints one line for the user.
    """

    def __init__(self, settings: Settings, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._say = say
        self._base = settings.cache / "debian"
        self._conf = self._base / "apt.conf"
        self._sources = self._base / "sources.list"
        self._stamp = self._base / "updated"
        self._refused = self._base / "refused"
        self._failure = ""

    def fetch(self, wanted: DistributionFile, sha256: str, folder: Path) -> Path:
        """Download the file ``wanted.file`` into ``folder``, and return its path.

        Any revision in any suite will do that has the name and checksum. apt compares the file with
        the signed index; the caller compares it with the pinned checksum.

        Raises:
            FetchError: apt is missing or cannot reach the archive, or no suite has these bytes.
            OSError: The private folders cannot be written.
        """
        return self._search(wanted, sha256, lambda source: self._download(source, wanted, folder))

    def address(self, wanted: DistributionFile, sha256: str) -> str:
        """Return the address of the file ``wanted.file``; download only the archive's lists.

        The archive may list a file that it has deleted meanwhile.

        Raises:
            FetchError: apt is missing or cannot reach the archive, or no suite has these bytes.
            OSError: The private folders cannot be written.
        """
        return self._search(wanted, sha256, lambda source: self._address(source, wanted))

    def lists(self, wanted: DistributionFile, sha256: str) -> bool:
        """Whether the archive lists a file; downloads only its lists.

        Raises:
            OSError: The private folders cannot be written.
        """
        try:
            return self._search(wanted, sha256, bool)
        except FetchError:
            return False

    def _search(self, wanted: DistributionFile, sha256: str, use: Callable[[str], _T]) -> _T:
        """Call ``use`` with the source package of a file; again with new lists if it fails."""
        if not toolchain.which("apt-get") or not _HELPER.exists():
            raise FetchError("apt-get is not installed")
        cache_lock.create(self._settings.cache)  # a plan may be the first user of the cache
        self._base.mkdir(parents=True, exist_ok=True)
        with locks.open_lock(self._base / ".lock", self._say):
            self._configure()
            try:
                return use(self._find(wanted, sha256))
            except FetchError:
                if self._age() < _MAX_AGE:
                    raise
            self._update()
            return use(self._find(wanted, sha256))

    def _configure(self) -> None:
        """Write an apt.conf with private folders and the machine's network settings.

        The machine's other settings are left out: its Post-Invoke hooks would act on the machine.
        """
        lists, cache = self._base / "lists", self._base / "cache"
        for folder in (lists / "partial", cache / "archives/partial", self._base / "none/partial"):
            folder.mkdir(parents=True, exist_ok=True)
        own = {
            "Dir::Etc::main": "/dev/null",
            "Dir::Etc::parts": "/dev/null",
            "Dir::Etc::sourcelist": self._sources,
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::trustedparts": self._keyrings(),
            "Dir::State::lists": lists,
            "Dir::Cache": cache,
            "Dir::Cache::pkgcache": "",
            "Dir::Cache::srcpkgcache": "",
            # apt's unprivileged user cannot read a cache in a home folder.
            "APT::Sandbox::User": "root",
            "Acquire::Retries": self._settings.retries,
            **{
                f"Acquire::{way}::Timeout": max(1, round(self._settings.read_timeout))
                for way in ("http", "https", "ftp")
            },
        }
        machine = _run("apt-config", "dump").stdout.splitlines()
        lines = [line for line in machine if line.startswith("Acquire::")]
        lines += [f'{key} "{value}";' for key, value in own.items()]
        safe_files.replace(self._conf, ("\n".join(lines) + "\n").encode())

    def _keyrings(self) -> Path:
        """Make a folder of all keys that the machine has for archives.

        apt does not tell which keyring a sources entry names (Signed-By), so all are accepted.
        """
        folder = self._base / "keyrings"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        found = sorted(path for pattern in _KEYRINGS for path in Path("/").glob(pattern))
        for number, path in enumerate(found):
            if path.suffix in _KEY_SUFFIXES:
                (folder / f"{number}{_KEY_SUFFIXES[path.suffix]}").symlink_to(path)
        return folder

    def _age(self) -> float:
        """Return the seconds since the lists were updated."""
        try:
            # A time in the future means that the clock was set back.
            return abs(time.time() - self._stamp.stat().st_mtime)
        except FileNotFoundError:
            return float("inf")

    def _update(self) -> None:
        if self._failure:
            raise FetchError(self._failure)
        try:
            self._download_lists()
        except FetchError as error:
            self._failure = error.message
            raise

    def _download_lists(self) -> None:
        entries = [
            f"deb-src {uri} {suite} main\n"
            for uri, own in self._repositories().items()
            for suite in dict.fromkeys([*own, *SUITES])
        ]
        if not entries:
            raise FetchError("apt has no archive in its configuration")
        self._say(
            f"  downloading the source lists of {len(entries)} suites (50 MB, at most once an hour)"
        )
        safe_files.replace(self._sources, "".join(entries).encode())
        # apt-get fails if a single suite is missing, so the lists are counted instead.
        done = self._apt("update", "-q")
        refused = _refusals(done)
        if not self._lists():
            raise FetchError(
                f"apt-get update downloaded no source list: {refused or _first_error(done)}"
            )
        # Searches of the next hour name the refused lists, which may have the wanted file.
        self._refused.write_text(refused, encoding="utf-8")
        self._stamp.touch()

    def _repositories(self) -> dict[str, list[str]]:
        """Return the machine's archives by address, each with the suites that `SUITES` lacks.

        ``apt-get indextargets`` prints nothing on a machine that never ran ``apt-get update``. The
        addresses that an update would download are known even then.
        """
        shown = _run("apt-get", "indextargets", "--format", _TARGET).stdout.splitlines()
        rows = [line.split("|") for line in shown if line.count("|") == 4]
        rows = [row for row in rows if row[1] == "main"]
        if not rows:
            none = f"Dir::State::lists={self._base / 'none'}"
            asked = _run("apt-get", "update", "--print-uris", "-o", none).stdout
            rows = [["", "main", uri, suite, suite] for uri, suite in _INDEX_URI.findall(asked)]
        rows = [row for row in rows if row[0] == "Debian"] or rows
        # The plain suites have upstream's archives; security and updates suites add revisions.
        rows = [row for row in rows if _PLAIN_SUITE.fullmatch(row[3])] or rows
        found: dict[str, list[str]] = {}
        for _, _, uri, codename, suite in rows:
            found.setdefault(uri, []).extend([] if suite in SUITES else [codename])
        return found

    def _lists(self) -> list[str]:
        targets = ("indextargets", "--format", "$(FILENAME)", "Created-By: Sources")
        return [path for path in self._apt(*targets).stdout.splitlines() if Path(path).is_file()]

    def _find(self, wanted: DistributionFile, sha256: str) -> str:
        """Return the source package with the file, e.g. ``zlib=1:1.3.dfsg-3``."""
        for path in self._lists():
            found = _source_of(self._cat(path), wanted.file, sha256)
            if found:
                return found
        refused = self._refused.read_text(encoding="utf-8") if self._refused.is_file() else ""
        why = f"; apt refused: {refused}" if refused else ""
        raise FetchError(f"no suite has {wanted.file} with sha256 {sha256}{why}")

    def _cat(self, path: str) -> bytes:
        command = [str(_HELPER), "cat-file", path]
        done = subprocess.run(command, env=self._environ(), capture_output=True, check=False)
        return done.stdout

    def _address(self, source: str, wanted: DistributionFile) -> str:
        done = self._apt("source", "-q", "--print-uris", "--tar-only", source)
        for address, file in _SOURCE_URI.findall(done.stdout):
            if file == wanted.file:
                return str(address)
        raise FetchError(f"apt-get source {source} failed: {_first_error(done)}")

    def _download(self, source: str, wanted: DistributionFile, folder: Path) -> Path:
        done = self._apt("source", "-q", "--download-only", "--tar-only", source, folder=folder)
        path = folder / wanted.file
        if done.returncode or not path.is_file():
            raise FetchError(f"apt-get source {source} failed: {_first_error(done)}")
        return path

    def _apt(self, *arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        return _run("apt-get", *arguments, env=self._environ(), folder=folder)

    def _environ(self) -> dict[str, str]:
        return {**_environ(), "APT_CONFIG": str(self._conf)}


def _source_of(index: bytes, file: str, sha256: str) -> str:
    """Return ``name=version`` of the entry in a Sources index that lists the file, or ""."""
    if sha256.encode() not in index:  # ten times as fast as the pattern
        return ""
    entry = rb"\n %s [0-9]+ %s\n" % (sha256.encode(), re.escape(file).encode())
    for hit in re.finditer(entry, index):
        begin = index.rfind(b"\n\n", 0, hit.start()) + 1
        end = index.find(b"\n\n", hit.start())
        stanza = index[begin : end if end >= 0 else len(index)]
        name = re.search(rb"^Package: (\S+)$", stanza, re.MULTILINE)
        version = re.search(rb"^Version: (\S+)$", stanza, re.MULTILINE)
        if name and version:
            return f"{name[1].decode()}={version[1].decode()}"
    return ""


def _environ() -> dict[str, str]:
    """Return the environment for apt: English messages, only the system's programs."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("LD_")}
    return {**kept, "LC_ALL": "C", "PATH": toolchain.SYSTEM_PATH}


def _run(
    *command: str, env: dict[str, str] | None = None, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return capture(command, cwd=folder, env=_environ() if env is None else env)


def _first_error(done: subprocess.CompletedProcess[str]) -> str:
    """Return the first error or warning of apt."""
    lines = [line for line in done.stderr.splitlines() if line.startswith(("E:", "W:"))]
    return _without_credentials(lines[0] if lines else f"exit code {done.returncode}")


def _refusals(done: subprocess.CompletedProcess[str]) -> str:
    """Return apt's errors about suites that it refuses, e.g. because they expired; or "".

    Each line names its suite. A suite without a Release file does not exist in the archive.
    """
    lines = [line for line in done.stderr.splitlines() if line.startswith(("E:", "W:"))]
    lines = [line for line in lines if not line.endswith("does not have a Release file.")]
    errors = [line for line in lines if line.startswith("E:")]
    return _without_credentials("; ".join(errors or lines))


def _without_credentials(text: str) -> str:
    """Remove user names and passwords from the addresses in a text."""
    return re.sub(r"//[^/@\s]*@", "//", text)
