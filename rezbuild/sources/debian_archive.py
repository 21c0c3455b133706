"""Source packages of the Debian archive that this machine already uses, without root.

apt does the work (signatures, proxies, mirrors, credentials) in private folders below the cache, so
that nothing of the machine changes. See apt.conf(5), sources.list(5) and apt-get(8).
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rezbuild.build import toolchain
from rezbuild.catalogue.sources_toml import DistributionFile
from rezbuild.errors import FetchError
from rezbuild.files import locks, safe_files
from rezbuild.settings import Settings

SUITES = ("oldstable", "stable", "oldoldstable", "testing", "unstable")

_HELPER = Path("/usr/lib/apt/apt-helper")
_FRESH = 3600.0  # seconds in which the archive's lists are not asked for again
_KEYRINGS = (
    "etc/apt/trusted.gpg.d/*",
    "etc/apt/keyrings/*",
    "usr/share/keyrings/*-archive-keyring.*",
)
_KEY_SUFFIXES = {".asc": ".asc", ".gpg": ".gpg", ".pgp": ".gpg"}  # as apt reads them
_TARGET = "$(ORIGIN)|$(COMPONENT)|$(REPO_URI)|$(CODENAME)|$(SUITE)"
_INDEX_URI = re.compile(r"^'([^']+/)dists/([^']+)/main/binary-", re.MULTILINE)
_PLAIN_SUITE = re.compile(r"[a-z0-9.]+")


class SourceArchive:
    """The source packages that the machine's Debian archive offers, in all its suites.

    Args:
        settings: Gives the folder, the timeouts and the number of retries.
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
        """Downloads the file ``wanted.file`` into ``folder`` and returns its path.

        It is found by name and sum in whatever revision of whatever suite carries it. apt checks it
        against the signed index; the caller checks it against the pinned sum.

        Raises:
            FetchError: There is no apt, it does not get through, or no suite has these bytes.
            OSError: The private folders cannot be written.
        """
        if not toolchain.which("apt-get") or not _HELPER.exists():
            raise FetchError("no apt-get here")
        self._base.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(self._base / ".lock", self._say):
            self._configure()
            try:
                return self._download(self._find(wanted, sha256), wanted.file, folder)
            except FetchError:
                if self._age() < _FRESH:
                    raise
            self._update()
            return self._download(self._find(wanted, sha256), wanted.file, folder)

    def lists(self, wanted: DistributionFile, sha256: str) -> bool:
        """Whether the archive lists a file; nothing but its lists is fetched.

        Raises:
            OSError: The private folders cannot be written.
        """
        if not shutil.which("apt-get") or not _HELPER.exists():
            return False
        self._base.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(self._base / ".lock", self._say):
            self._configure()
            try:
                if self._age() >= _FRESH:
                    self._update()
                return bool(self._find(wanted, sha256))
            except FetchError:
                return False

    def _configure(self) -> None:
        """Writes an apt.conf with the machine's ways into the net and no folder of its own.

        The machine's other settings stay out: its Post-Invoke hooks would act on the machine.
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
            # The unprivileged user that apt changes to cannot reach a cache in a home folder.
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
        """A folder of all keys the machine has for archives.

        Which keyring a sources entry names (Signed-By) cannot be asked of apt, so all may sign.
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
        """Seconds since the lists were brought up to date."""
        try:
            # One from the future says nothing: the clock has been set back.
            return abs(time.time() - self._stamp.stat().st_mtime)
        except FileNotFoundError:
            return float("inf")

    def _update(self) -> None:
        if self._failure:
            raise FetchError(self._failure)
        try:
            self._renew_lists()
        except FetchError as error:
            self._failure = error.message
            raise

    def _renew_lists(self) -> None:
        entries = [
            f"deb-src {uri} {suite} main\n"
            for uri, own in self._repositories().items()
            for suite in dict.fromkeys([*own, *SUITES])
        ]
        if not entries:
            raise FetchError("the apt of this machine knows no archive")
        self._say(f"  reading the source lists of {len(entries)} suites (some 50 MB, now and then)")
        safe_files.replace(self._sources, "".join(entries).encode())
        # It fails when a single suite is not offered: what counts is which lists have arrived.
        done = self._apt("update", "-q")
        refused = _refusals(done)
        if not self._lists():
            raise FetchError(f"apt-get update got no source list: {refused or _complaint(done)}")
        # For the searches of the next hour: a list that apt refuses may be the one that is wanted.
        self._refused.write_text(refused, encoding="utf-8")
        self._stamp.touch()

    def _repositories(self) -> dict[str, list[str]]:
        """The machine's archives by address, each with its suites that ``SUITES`` does not cover.

        ``apt-get indextargets`` shows nothing on a machine that never ran ``apt-get update``; the
        addresses that an update would ask for are known even then.
        """
        shown = _run("apt-get", "indextargets", "--format", _TARGET).stdout.splitlines()
        rows = [line.split("|") for line in shown if line.count("|") == 4]
        rows = [row for row in rows if row[1] == "main"]
        if not rows:
            none = f"Dir::State::lists={self._base / 'none'}"
            asked = _run("apt-get", "update", "--print-uris", "-o", none).stdout
            rows = [["", "main", uri, suite, suite] for uri, suite in _INDEX_URI.findall(asked)]
        rows = [row for row in rows if row[0] == "Debian"] or rows
        # Security and updates suites hold new revisions; upstream's archives are in the plain ones.
        rows = [row for row in rows if _PLAIN_SUITE.fullmatch(row[3])] or rows
        found: dict[str, list[str]] = {}
        for _, _, uri, codename, suite in rows:
            found.setdefault(uri, []).extend([] if suite in SUITES else [codename])
        return found

    def _lists(self) -> list[str]:
        targets = ("indextargets", "--format", "$(FILENAME)", "Created-By: Sources")
        return [path for path in self._apt(*targets).stdout.splitlines() if Path(path).is_file()]

    def _find(self, wanted: DistributionFile, sha256: str) -> str:
        """The source package that has the file, as ``name=version``."""
        for path in self._lists():
            found = _search(self._cat(path), wanted.file, sha256)
            if found:
                return found
        refused = self._refused.read_text(encoding="utf-8") if self._refused.is_file() else ""
        why = f"; apt refused: {refused}" if refused else ""
        raise FetchError(f"no suite has {wanted.file} with sha256 {sha256}{why}")

    def _cat(self, path: str) -> bytes:
        command = [str(_HELPER), "cat-file", path]
        done = subprocess.run(command, env=self._environ(), capture_output=True, check=False)
        return done.stdout

    def _download(self, source: str, file: str, folder: Path) -> Path:
        done = self._apt("source", "-q", "--download-only", "--tar-only", source, folder=folder)
        path = folder / file
        if done.returncode or not path.is_file():
            raise FetchError(f"apt-get source {source} failed: {_complaint(done)}")
        return path

    def _apt(self, *arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        return _run("apt-get", *arguments, env=self._environ(), folder=folder)

    def _environ(self) -> dict[str, str]:
        return {**_environ(), "APT_CONFIG": str(self._conf)}


@contextlib.contextmanager
def one_at_a_time(lock: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Holds the lock file ``lock``, which may be on a shared disk; says so when it has to wait.

    Raises:
        OSError: The lock file cannot be written.
    """
    with locks.at(lock, say):
        yield


def _search(index: bytes, file: str, sha256: str) -> str:
    """``name=version`` of the stanza in a Sources index that lists the file, or an empty text."""
    if sha256.encode() not in index:  # ten times as fast as the expression
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
    """The environment for apt: readable messages, the system's own programs and libraries."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("LD_")}
    return {**kept, "LC_ALL": "C", "PATH": toolchain.SYSTEM_PATH}


def _run(
    *command: str, env: dict[str, str] | None = None, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        env=_environ() if env is None else env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )


def _complaint(done: subprocess.CompletedProcess[str]) -> str:
    """The first reason that apt gives."""
    lines = [line for line in done.stderr.splitlines() if line.startswith(("E:", "W:"))]
    return _without_credentials(lines[0] if lines else f"exit code {done.returncode}")


def _refusals(done: subprocess.CompletedProcess[str]) -> str:
    """All that apt says of suites that are there and that it refuses, e.g. as expired; or "".

    Each line names its suite. A suite without a Release file is one that the archive does not have.
    """
    lines = [line for line in done.stderr.splitlines() if line.startswith(("E:", "W:"))]
    lines = [line for line in lines if not line.endswith("does not have a Release file.")]
    errors = [line for line in lines if line.startswith("E:")]
    return _without_credentials("; ".join(errors or lines))


def _without_credentials(text: str) -> str:
    """The text without the name and password that an address in it may hold."""
    return re.sub(r"//[^/@\s]*@", "//", text)
