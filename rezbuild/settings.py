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

PROFILES = ("fast", "optimized")
# From one process of ours to another: the entry that is to be taken, and that none is.
STORE_ENTRY = "REZBUILD_STORE_ENTRY"
# Set by a farm's client, which has compared the entry with the kind of host that was asked.
STORE_ENTRY_CHECKED = "REZBUILD_STORE_ENTRY_CHECKED"
STORE_FRESH = "REZBUILD_STORE_FRESH"
_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"", "0", "false", "no", "off"}
# More is a slip of the keyboard: the tokens of as many jobs would not fit into a pipe.
MOST_JOBS = 4096
_MOST = 10**9
_DAY = 86400.0  # seconds


# Old names of settings, and their names now; the old ones work for one more release.
RENAMED = {
    "REZBUILD_FARM_PATIENCE": "REZBUILD_FARM_TIMEOUT",
    "REZBUILD_SILENCE_TIMEOUT": "REZBUILD_READ_TIMEOUT",
}


@dataclass(frozen=True)
class Settings:
    """What a build box sets once.

    Attributes:
        cache: Folder of verified source archives (and of the package lists of the distribution).
        mirrors: Folders or URLs that are tried before upstream.
        offline: Use the cache and local mirror folders only.
        jobs: Parallel jobs of one build, or None to leave it to Rez.
        profile: ``fast``, ``optimized`` or None: the build type decides.
        connect_timeout: Seconds until a server must have answered a connection.
        read_timeout: Seconds a transfer may be silent.
        min_speed: Bytes a second that a transfer must reach over that time; 0 for any speed.
        max_size: Megabytes of a source whose size the catalogue does not say.
        retries: How often a connection error, a 429 or a 5xx is tried again.
        glibc_max: The newest glibc that a payload may need, as ``2.28``, or None for any.
        cc, cxx: Compilers for the build boxes that need other than ``cc`` and ``c++``.
        ccache: The name or path of ccache, or None: compilers run without it.
        trust_cache: The cache may hold files of other users; see `rezbuild.files.ownership`.
        step_timeout: Seconds that a step of a build may take, or None: as long as it likes.
        scheduler: The address of a farm's scheduler, as ``tcp://host:8786``, or None: build here.
        farm_timeout: Seconds to wait for a scheduler, workers or a result that are gone.
        farm_open: Let every user of this machine talk to a farm on loopback.
        farm_ca, farm_cert, farm_key: Files for TLS between the parts of a farm.
        store: A folder or an address of built payloads, or None; see `rezbuild.store`.
        store_sign: The private key that signs what is put there, or None.
        store_trust: Public keys, of which one must have signed what is taken from there.
        store_revoked: A file of sums of payloads that are not taken.
        store_entry_checked: That entry is known to fit its kind of host; for the farm.
        store_entry: A file with the entry that is to be taken, and nothing else; for the farm.
        store_fresh: Take nothing from there, and replace what is there by what is built.
        host: The label of this kind of host, as ``debian12``.
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
        """Reads the settings from ``environ`` (default: the process's own).

        Raises:
            UsageError: A variable's value makes no sense.
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


def build_profile(asked: str | None, *, release: bool) -> str:
    """Return the build profile: ``asked``, else optimized for releases and fast otherwise.

    The first local Python is ready in minutes, and artists get the fastest one.
    """
    return asked or ("optimized" if release else "fast")


def version_variable(name: str) -> str:
    """The variable that picks the exact version of package ``name`` for a bare ``rez-build``."""
    return f"REZBUILD_{name.upper().replace('-', '_')}_VERSION"


GLIBC = re.compile(r"2\.\d{1,3}")


def glibc_version(text: str, source: str) -> str | None:
    """A version of glibc, such as 2.28; None for an empty text.

    Raises:
        UsageError: It is none; the message names ``source``.
    """
    value = text.strip()
    if value and not GLIBC.fullmatch(value):
        raise UsageError(
            f"{source}={_short(value)} is no version of glibc",
            advice=[f"set {source} to a version such as 2.28, or leave it out"],
        )
    return value or None


LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def host_label(env: Mapping[str, str], release: Path = Path("/etc/os-release")) -> str:
    """What is set, or the distribution and its version (os-release(5)): of 8.10, the 8.

    Minor versions of a distribution are made for each other; where they are not, as of Ubuntu, it
    numbers by years, and the whole is taken.
    """
    value = env.get("REZBUILD_HOST_LABEL", "").strip()
    if value and not LABEL.fullmatch(value):
        raise UsageError(
            f"REZBUILD_HOST_LABEL={_short(value)} is no label of a kind of host",
            advice=["use letters, digits and . _ -, as in rocky8, or unset it"],
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


def _words(env: Mapping[str, str], name: str, what: str) -> list[str]:
    """Separated by spaces; quotes keep a folder whose name holds one together."""
    try:
        return shlex.split(env.get(name, ""))
    except ValueError as error:
        raise UsageError(
            f"{name} cannot be read: {error}",
            advice=[f"separate {what} by spaces; quote a name that holds a space"],
        ) from None


def scheme(address: str) -> str:
    """What an address begins with, as ``s3``; "" where it is a folder."""
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):", address)
    return found[1].lower() if found else ""


def is_folder(store: str) -> bool:
    """Whether a store is a folder; else it is behind a network."""
    return scheme(store) in ("", "file")


def _store(env: Mapping[str, str]) -> str:
    """An address, or an absolute folder; which addresses there are, fsspec knows."""
    text = env.get("REZBUILD_STORE", "").strip()
    return text if not text or scheme(text) else str(_path(text, "REZBUILD_STORE"))


def _file(env: Mapping[str, str], name: str) -> Path | None:
    text = env.get(name, "").strip()
    return _path(text, name) if text else None


def _files(env: Mapping[str, str], name: str) -> tuple[Path, ...]:
    return tuple(_path(text, name) for text in _words(env, name, "files"))


def _mirror(number: int, text: str) -> str:
    """An address, or an absolute folder; what is neither is not shown: it may hold a password."""
    scheme, colon, _ = text.partition(":")
    if colon and "/" not in scheme:
        if scheme.lower() != "file" and not re.match(r"https?://", text, re.IGNORECASE):
            raise UsageError(
                f"REZBUILD_MIRRORS: mirror {number} is neither a folder nor an address that is "
                "known here",
                advice=[
                    "write an address with https://, http:// or file:",
                    "write a folder with a : in its name in full, from / on",
                ],
            )
        return text
    return str(_path(text, "REZBUILD_MIRRORS"))


def _path(text: str, name: str) -> Path:
    """An absolute path; ``~`` is a user's home."""
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:
        raise UsageError(
            f"{name}: no home folder is known for {text.partition('/')[0]}",
            advice=[f"write the path in {name} in full"],
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
    """A number of up to ten digits; -1 for anything else."""
    return int(text) if re.fullmatch(r"[0-9]{1,10}", text) else -1


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")


def _seconds(env: Mapping[str, str], name: str, default: float) -> float:
    text = env.get(name, "").strip()
    try:
        value = float(text) if text else default
    except ValueError:
        value = 0.0
    if not 0 < value <= _DAY:  # the system takes no timeouts of centuries
        raise UsageError(
            f"{name}={_short(text)} is not a number of seconds above 0, and a day at most",
            advice=[f"set {name} to a number such as 30, or unset it"],
        )
    return value


def _profile(env: Mapping[str, str]) -> str | None:
    value = env.get("REZBUILD_PROFILE", "").strip()
    if value and value not in PROFILES:
        raise UsageError(
            f"REZBUILD_PROFILE={_short(value)} is no profile",
            advice=[f"set it to {' or '.join(PROFILES)}, or unset it"],
        )
    return value or None
