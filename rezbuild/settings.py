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
_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"", "0", "false", "no", "off"}


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
        silence_timeout: Seconds a transfer may be silent.
        min_speed: Bytes a second that a transfer must reach over that time; 0 for any speed.
        max_size: Megabytes of a source whose size the catalogue does not say.
        retries: How often a connection error, a 429 or a 5xx is tried again.
        glibc_max: The newest glibc that a payload may need, as ``2.28``, or None for any.
        cc, cxx: Compilers for the build boxes that need other than ``cc`` and ``c++``.
        ccache: The name or path of ccache, or None: compilers run without it.
    """

    cache: Path
    mirrors: tuple[str, ...] = ()
    offline: bool = False
    jobs: int | None = None
    profile: str | None = None
    connect_timeout: float = 10.0
    silence_timeout: float = 60.0
    min_speed: int = 1000
    max_size: int = 1000
    retries: int = 3
    glibc_max: str | None = None
    cc: str | None = None
    cxx: str | None = None
    ccache: str | None = None

    @classmethod
    def read(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Reads the settings from ``environ`` (default: the process's own).

        Raises:
            UsageError: A variable's value makes no sense.
        """
        env = os.environ if environ is None else environ
        cache = env.get("REZBUILD_CACHE") or platformdirs.user_cache_dir("rezbuild")
        return cls(
            cache=Path(cache).expanduser().absolute(),
            mirrors=_mirrors(env),
            offline=_switch(env, "REZBUILD_OFFLINE"),
            jobs=_count(env, "REZBUILD_JOBS"),
            profile=_profile(env),
            connect_timeout=_seconds(env, "REZBUILD_CONNECT_TIMEOUT", cls.connect_timeout),
            silence_timeout=_seconds(env, "REZBUILD_SILENCE_TIMEOUT", cls.silence_timeout),
            min_speed=_count(env, "REZBUILD_MIN_SPEED", least=0, default=cls.min_speed) or 0,
            max_size=_count(env, "REZBUILD_MAX_SIZE", default=cls.max_size) or cls.max_size,
            retries=_count(env, "REZBUILD_RETRIES", least=0, default=cls.retries) or 0,
            glibc_max=glibc_version(env.get("REZBUILD_GLIBC_MAX", ""), "REZBUILD_GLIBC_MAX"),
            cc=env.get("REZBUILD_CC") or None,
            cxx=env.get("REZBUILD_CXX") or None,
            ccache=_ccache(env),
        )


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
            f"{source}={value!r} is no version of glibc",
            advice=[f"set {source} to a version such as 2.28, or leave it out"],
        )
    return value or None


def _mirrors(env: Mapping[str, str]) -> tuple[str, ...]:
    """Separated by spaces; quotes keep a folder whose name holds one together."""
    try:
        found = shlex.split(env.get("REZBUILD_MIRRORS", ""))
    except ValueError as error:
        raise UsageError(
            f"REZBUILD_MIRRORS cannot be read: {error}",
            advice=["separate folders and URLs by spaces; quote a name that holds a space"],
        ) from None
    return tuple(m if ":" in m else str(Path(m).expanduser().absolute()) for m in found)


def _switch(env: Mapping[str, str], name: str) -> bool:
    value = env.get(name, "").strip().lower()
    if value not in _TRUE | _FALSE:
        raise UsageError(
            f"{name}={value!r} is neither on nor off", advice=[f"set {name}=1 or unset it"]
        )
    return value in _TRUE


def _ccache(env: Mapping[str, str]) -> str | None:
    value = env.get("REZBUILD_CCACHE", "").strip()
    if "/" in value:
        return str(Path(value).expanduser().absolute())
    return "ccache" if _switch(env, "REZBUILD_CCACHE") else None


def _count(
    env: Mapping[str, str], name: str, *, least: int = 1, default: int | None = None
) -> int | None:
    text = env.get(name, "").strip()
    if not text:
        return default
    if not text.isdecimal() or int(text) < least:
        raise UsageError(
            f"{name}={text!r} is not a whole number from {least} up",
            advice=[f"set {name} to a number such as 8, or unset it"],
        )
    return int(text)


def _seconds(env: Mapping[str, str], name: str, default: float) -> float:
    text = env.get(name, "").strip()
    try:
        value = float(text) if text else default
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise UsageError(
            f"{name}={text!r} is not a number of seconds above 0",
            advice=[f"set {name} to a number such as 30, or unset it"],
        )
    return value


def _profile(env: Mapping[str, str]) -> str | None:
    value = env.get("REZBUILD_PROFILE", "").strip()
    if value and value not in PROFILES:
        raise UsageError(
            f"REZBUILD_PROFILE={value!r} is no profile",
            advice=[f"set it to {' or '.join(PROFILES)}, or unset it"],
        )
    return value or None
