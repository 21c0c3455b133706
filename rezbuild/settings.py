"""The REZBUILD_* variables, read once and checked."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from rezbuild.errors import UsageError
from rezbuild.util import words
from rezbuild.util.glibc_version import number

PROFILES = ("fast", "optimized")
# Between processes of rezbuild: the store entry to restore, and whether to restore none.
STORE_ENTRY = "REZBUILD_STORE_ENTRY"
# Set by a farm's client after it compared the entry with the requested host kind.
STORE_ENTRY_CHECKED = "REZBUILD_STORE_ENTRY_CHECKED"
STORE_FRESH = "REZBUILD_STORE_FRESH"
_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"", "0", "false", "no", "off"}
# The tokens of more jobs would not fit into a pipe.
MOST_JOBS = 4096
_MOST = 10**9
_DAY = 86400.0  # seconds


# Old names of settings and their new names; the old ones work for one more release.
RENAMED = {
    "REZBUILD_FARM_PATIENCE": "REZBUILD_FARM_TIMEOUT",
    "REZBUILD_SILENCE_TIMEOUT": "REZBUILD_READ_TIMEOUT",
}


@dataclass(frozen=True)
class Settings:
    """The settings of rezbuild on one machine.

    Attributes:
        cache: Folder of verified source archives and of the distribution's package lists.
        mirrors: Folders or URLs that are tried before upstream.
        offline: Use the cache and local mirror folders only.
        jobs: Parallel jobs of one build; None: Rez decides.
        profile: ``fast``, ``optimized``, or None: the build type decides.
        connect_timeout: Seconds to wait for a connection to a server.
        read_timeout: Seconds to wait for the next bytes of a transfer.
        min_speed: Bytes per second that a transfer must reach over that time; 0: any speed.
        max_size: Most megabytes of a source without a size in the catalogue.
        retries: Retries after a connection error, a 429 or a 5xx.
        glibc: The glibc to build for, e.g. ``2.28``; None: the host's.
        glibc_max: The newest glibc that a payload may need, e.g. ``2.28``; None: any.
        cc, cxx: The compilers; None: ``cc`` and ``c++``.
        ccache: The name or path of ccache; None: do not use ccache.
        trust_cache: Accept files of other users in the cache; see `rezbuild.files.ownership`.
        step_timeout: Most seconds of a step of a build; None: no limit.
        scheduler: The address of a farm's scheduler, e.g. ``tcp://host:8786``; None: build here.
        farm_timeout: Seconds to wait for a lost scheduler, worker or result.
        farm_open: Let every user of this machine connect to a farm on loopback.
        farm_ca, farm_cert, farm_key: Files for TLS between the processes of a farm.
        store: A folder or an address of built payloads, or None; see `rezbuild.store`.
        store_sign: The private key that signs new entries, or None.
        store_trust: Public keys; an entry is used only if one of them signed it.
        store_revoked: A file with the checksums of payloads that must not be used.
        store_entry_checked: That entry is known to fit its host kind; for the farm.
        store_entry: A file with the only entry that may be restored; for the farm.
        store_fresh: Restore no entry, and replace entries by new builds.
        host: The label of this host kind, e.g. ``debian12``.
    """

    cache: Path
    mirrors: tuple[str, ...] = ()
    offline: bool = False
    jobs: int | None = None
    profile: str | None = None
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    min_speed: int = 1000
    max_size: int = 1000
    retries: int = 3
    glibc: str | None = None
    glibc_max: str | None = None
    cc: str | None = None
    cxx: str | None = None
    ccache: str | None = None
    trust_cache: bool = False
    step_timeout: float | None = None
    scheduler: str | None = None
    farm_timeout: float = 300.0
    farm_open: bool = False
    farm_ca: Path | None = None
    farm_cert: Path | None = None
    farm_key: Path | None = None
    store: str | None = None
    store_sign: Path | None = None
    store_trust: tuple[Path, ...] = ()
    store_revoked: Path | None = None
    store_entry: Path | None = None
    store_entry_checked: bool = False
    store_fresh: bool = False
    host: str = ""

    @classmethod
    def read(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the settings from ``environ``; default: the environment of the process.

        Raises:
            UsageError: A variable has an invalid value.
        """
        env = dict(os.environ if environ is None else environ)
        for old, new in RENAMED.items():
            if old in env:
                env.setdefault(new, env[old])
        cache = env.get("REZBUILD_CACHE") or platformdirs.user_cache_dir("rezbuild")
        most = {"REZBUILD_JOBS": MOST_JOBS, "REZBUILD_RETRIES": 1000}

        def count(name: str, least: int, default: int) -> int:
            return _count(env, name, range(least, most.get(name, _MOST) + 1), default)

        return cls(
            cache=_path(cache, "REZBUILD_CACHE"),
            mirrors=_mirrors(env),
            offline=_switch(env, "REZBUILD_OFFLINE"),
            jobs=count("REZBUILD_JOBS", 1, 0) or None,
            profile=_profile(env),
            connect_timeout=_seconds(env, "REZBUILD_CONNECT_TIMEOUT", cls.connect_timeout),
            read_timeout=_seconds(env, "REZBUILD_READ_TIMEOUT", cls.read_timeout),
            min_speed=count("REZBUILD_MIN_SPEED", 0, cls.min_speed),
            max_size=count("REZBUILD_MAX_SIZE", 1, cls.max_size),
            retries=count("REZBUILD_RETRIES", 0, cls.retries),
            glibc=glibc_version(env.get("REZBUILD_GLIBC", ""), "REZBUILD_GLIBC"),
            glibc_max=glibc_version(env.get("REZBUILD_GLIBC_MAX", ""), "REZBUILD_GLIBC_MAX"),
            cc=env.get("REZBUILD_CC") or None,
            cxx=env.get("REZBUILD_CXX") or None,
            ccache=_ccache(env),
            trust_cache=_switch(env, "REZBUILD_TRUST_CACHE"),
            step_timeout=_limit(env, "REZBUILD_STEP_TIMEOUT"),
            scheduler=env.get("REZBUILD_SCHEDULER") or None,
            farm_timeout=_seconds(env, "REZBUILD_FARM_TIMEOUT", cls.farm_timeout),
            farm_open=_switch(env, "REZBUILD_FARM_OPEN"),
            farm_ca=_file(env, "REZBUILD_FARM_CA"),
            farm_cert=_file(env, "REZBUILD_FARM_CERT"),
            farm_key=_file(env, "REZBUILD_FARM_KEY"),
            store=_store(env) or None,
            store_sign=_file(env, "REZBUILD_STORE_SIGN"),
            store_trust=_files(env, "REZBUILD_STORE_TRUST"),
            store_revoked=_file(env, "REZBUILD_STORE_REVOKED"),
            store_entry=_file(env, STORE_ENTRY),
            store_entry_checked=_switch(env, STORE_ENTRY_CHECKED),
            store_fresh=_switch(env, STORE_FRESH),
            host=host_label(env),
        )

    @property
    def glibc_limit(self) -> str | None:
        """The newest glibc that a payload may need: the lower one of both settings."""
        limits = [version for version in (self.glibc, self.glibc_max) if version]
        return min(limits, key=number, default=None)


def build_profile(asked: str | None, *, release: bool) -> str:
    """Return the build profile: ``asked``, else optimized for releases and fast otherwise.

    The first local Python is ready in minutes, and artists get the fastest one.
    """
    return asked or ("optimized" if release else "fast")


def version_variable(name: str) -> str:
    """Return the variable with the exact version of a package, e.g. ``REZBUILD_ZLIB_VERSION``."""
    return f"REZBUILD_{name.upper().replace('-', '_')}_VERSION"


GLIBC = re.compile(r"2\.[0-9]{1,3}")


def glibc_version(text: str, source: str) -> str | None:
    """Return a glibc version such as 2.28, or None for an empty text.

    Raises:
        UsageError: The version is invalid; the message names ``source``.
    """
    value = text.strip()
    if value and not GLIBC.fullmatch(value):
        raise UsageError(
            f"invalid glibc version {source}={_short(value)}",
            advice=[f"set {source} to a version such as 2.28, or leave it out"],
        )
    return value or None


LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def host_label(env: Mapping[str, str], release: Path = Path("/etc/os-release")) -> str:
    """Return REZBUILD_HOST_LABEL, or the distribution and its major version (os-release(5)).

    Minor versions of a distribution are compatible. Ubuntu's are not, so its label has both
    numbers: ``rocky8``, ``ubuntu22.04``.
    """
    value = env.get("REZBUILD_HOST_LABEL", "").strip()
    if value and not LABEL.fullmatch(value):
        raise UsageError(
            f"invalid host label REZBUILD_HOST_LABEL={_short(value)}",
            advice=["use letters, digits and . _ -, e.g. rocky8, or unset it"],
        )
    return value or _distribution(release)


def _distribution(release: Path) -> str:
    try:
        lines = release.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "linux"
    found = dict(line.split("=", 1) for line in lines if "=" in line)
    name, version = (found.get(key, "").strip("\"'") for key in ("ID", "VERSION_ID"))
    whole = name == "ubuntu"
    label = name + (version if whole else version.partition(".")[0])
    return label if LABEL.fullmatch(label) else "linux"


def _mirrors(env: Mapping[str, str]) -> tuple[str, ...]:
    found = _words(env, "REZBUILD_MIRRORS", "folders and URLs")
    return tuple(_mirror(number, text) for number, text in enumerate(found, 1))


def _words(env: Mapping[str, str], name: str, items: str) -> list[str]:
    """Split a value at spaces; quotes protect a name with a space."""
    try:
        return shlex.split(env.get(name, ""))
    except ValueError as error:
        raise UsageError(
            f"{name} cannot be read: {words.reason(error)}",
            advice=[f"separate {items} by spaces; quote a name with a space"],
        ) from None


def scheme(address: str) -> str:
    """Return the scheme of an address, e.g. ``s3``, or "" for a folder."""
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):", address)
    return found[1].lower() if found else ""


def is_folder(store: str) -> bool:
    """Whether a store is a folder, not a network address."""
    return scheme(store) in ("", "file")


def _store(env: Mapping[str, str]) -> str:
    """Return an address or an absolute folder, or ""; fsspec checks the address later."""
    text = env.get("REZBUILD_STORE", "").strip()
    return text if not text or scheme(text) else str(_path(text, "REZBUILD_STORE"))


def _file(env: Mapping[str, str], name: str) -> Path | None:
    text = env.get(name, "").strip()
    return _path(text, name) if text else None


def _files(env: Mapping[str, str], name: str) -> tuple[Path, ...]:
    return tuple(_path(text, name) for text in _words(env, name, "files"))


def _mirror(number: int, text: str) -> str:
    """Return an address or an absolute folder; errors hide the value, which may have a password."""
    scheme, colon, _ = text.partition(":")
    if colon and "/" not in scheme:
        if scheme.lower() != "file" and not re.match(r"https?://", text, re.IGNORECASE):
            raise UsageError(
                f"mirror {number} of REZBUILD_MIRRORS is neither a folder nor a supported address",
                advice=[
                    "write an address with https://, http:// or file:",
                    "write a folder with a : in its name as an absolute path",
                ],
            )
        return text
    return str(_path(text, "REZBUILD_MIRRORS"))


def _path(text: str, name: str) -> Path:
    """Return an absolute path; ``~`` is a user's home folder."""
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:
        raise UsageError(
            f"{name} has an unknown home folder: {text.partition('/')[0]}",
            advice=[f"set {name} to an absolute path"],
        ) from None


def _limit(env: Mapping[str, str], name: str) -> float | None:
    return _seconds(env, name, 0.0) if env.get(name, "").strip() else None


def _switch(env: Mapping[str, str], name: str) -> bool:
    value = env.get(name, "").strip().lower()
    if value not in _TRUE | _FALSE:
        raise UsageError(
            f"{name}={_short(value)} is neither on nor off", advice=[f"set {name}=1 or unset it"]
        )
    return value in _TRUE


def _ccache(env: Mapping[str, str]) -> str | None:
    value = env.get("REZBUILD_CCACHE", "").strip()
    if "/" in value:
        return str(_path(value, "REZBUILD_CCACHE"))
    return "ccache" if _switch(env, "REZBUILD_CCACHE") else None


def _count(env: Mapping[str, str], name: str, allowed: range, default: int) -> int:
    text = env.get(name, "").strip()
    if not text:
        return default
    if whole_number(text) not in allowed:
        raise UsageError(
            f"{name}={_short(text)} is not a whole number from {allowed[0]} to {allowed[-1]}",
            advice=[f"set {name} to a number such as 8, or unset it"],
        )
    return int(text)


def whole_number(text: str) -> int:
    """Return the number in a text of up to ten digits, or -1."""
    return int(text) if re.fullmatch(r"[0-9]{1,10}", text) else -1


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")


def _seconds(env: Mapping[str, str], name: str, default: float) -> float:
    text = env.get(name, "").strip()
    try:
        value = float(text) if text else default
    except ValueError:
        value = 0.0
    if not 0 < value <= _DAY:  # the system refuses timeouts of centuries
        raise UsageError(
            f"{name}={_short(text)} is not a number of seconds above 0 and up to 86400 (a day)",
            advice=[f"set {name} to a number such as 30, or unset it"],
        )
    return value


def _profile(env: Mapping[str, str]) -> str | None:
    value = env.get("REZBUILD_PROFILE", "").strip()
    if value and value not in PROFILES:
        raise UsageError(
            f"invalid build profile REZBUILD_PROFILE={_short(value)}",
            advice=[f"set it to {' or '.join(PROFILES)}, or unset it"],
        )
    return value or None
