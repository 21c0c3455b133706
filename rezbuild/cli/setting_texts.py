"""The table of settings and exit codes. Help texts and reference pages are generated from it."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass


@dataclass(frozen=True)
class SettingText:
    """The description of one setting, or of several that belong together.

    Attributes:
        names: Environment variables.
        meaning: What the setting does.
        default: The value that an unset variable has.
        example: A value that can be typed, or "" where ``meaning`` names the values.
    """

    names: tuple[str, ...]
    meaning: str
    default: str
    example: str = ""


GROUPS: dict[str, tuple[SettingText, ...]] = {
    "Sources": (
        SettingText(
            ("REZBUILD_CACHE",),
            "Folder for verified sources, debug data, durations, timelines and PGO profiles.",
            "`rezbuild` in the user's cache folder",
            "/var/cache/rezbuild",
        ),
        SettingText(
            ("REZBUILD_MIRRORS",),
            "Folders or URLs that are tried before upstream, separated by spaces. Quote a name "
            "that holds a space.",
            "none",
            "/mnt/studio/sources",
        ),
        SettingText(
            ("REZBUILD_OFFLINE",),
            "`1`: use the cache and mirror folders only, never the network.",
            "off",
        ),
        SettingText(
            ("REZBUILD_TRUST_CACHE",),
            "`1`: accept a cache that holds files of other users.",
            "off",
        ),
        SettingText(
            ("REZBUILD_RECIPES",),
            "Folder of recipes.",
            "`packages/` in the current folder or above it",
            "/mnt/studio/rezbuild/packages",
        ),
        SettingText(
            ("REZBUILD_CONNECT_TIMEOUT", "REZBUILD_READ_TIMEOUT"),
            "Seconds until a server must have answered a connection, and seconds that a transfer "
            "may be silent.",
            "10 and 60",
        ),
        SettingText(
            ("REZBUILD_RETRIES",),
            "How often rezbuild repeats a request after a connection error, a 429 or a 5xx.",
            "3",
        ),
        SettingText(
            ("REZBUILD_MIN_SPEED",),
            "Bytes per second that a transfer must reach, measured over each read timeout. "
            "`0`: any speed.",
            "1000",
        ),
        SettingText(
            ("REZBUILD_MAX_SIZE",),
            "Megabytes that a source may have if the catalogue does not state its size.",
            "1000",
        ),
    ),
    "Builds": (
        SettingText(
            ("REZBUILD_PROFILE",),
            "Build profile: `fast`, or `optimized` (PGO and LTO).",
            "`fast`; `optimized` for a release",
        ),
        SettingText(
            ("REZBUILD_JOBS",),
            "Parallel jobs of all packages that are built at the same time.",
            "Rez's `build_thread_count`",
            "16",
        ),
        SettingText(
            ("REZBUILD_CC", "REZBUILD_CXX"),
            "Compilers. The build also uses `as`, `ld`, `ar` and `strip` of their folder.",
            "`gcc` and `g++`, else `cc` and `c++`. For `REZBUILD_CXX`: the C++ compiler beside "
            "`REZBUILD_CC`",
            "gcc-12",
        ),
        SettingText(
            ("REZBUILD_GLIBC",),
            "The glibc to build for. It may be older than the host's glibc.",
            "the host's",
            "2.28",
        ),
        SettingText(
            ("REZBUILD_GLIBC_MAX",),
            "The newest glibc that a payload may need. The audit fails above it.",
            "no limit",
            "2.28",
        ),
        SettingText(
            ("REZBUILD_CCACHE",),
            "`1`, or the path of ccache: run compilers through ccache.",
            "off",
        ),
        SettingText(
            ("REZBUILD_STEP_TIMEOUT",),
            "Seconds that one step of a build may take. rezbuild ends a longer step, and the build "
            "fails.",
            "no limit",
            "7200",
        ),
        SettingText(
            ("REZBUILD_<NAME>_VERSION",),
            "Exact version for a bare `rez-build` or `rez-release`, e.g. "
            "`REZBUILD_OPENSSL_VERSION=3.5.7`.",
            "`rez-build`: the newest of the default's series whose source is on this machine; "
            "`rez-release`: the default",
        ),
        SettingText(
            ("REZBUILD_REPLACE",),
            "`1`: a bare `rez-release` may replace a released version.",
            "off",
        ),
        SettingText(
            ("REZBUILD_HOST_LABEL",),
            "Label of this kind of host, in a farm and in a matrix.",
            "distribution and major version, such as `debian12`",
            "rocky8",
        ),
        SettingText(
            ("REZBUILD_TRACE",),
            "`1`: show a Python traceback for an unexpected error, to report a defect of rezbuild.",
            "off",
        ),
    ),
    "Store of payloads": (
        SettingText(
            ("REZBUILD_STORE",),
            "Folder or address (`s3://`, `gs://`, `https://`) of built payloads. rezbuild installs "
            "a payload from there instead of building it from the same inputs.",
            "none",
            "/mnt/studio/store",
        ),
        SettingText(
            ("REZBUILD_STORE_SIGN",),
            "Private key (PEM, Ed25519) that signs payloads that this machine uploads.",
            "none",
            "/etc/rezbuild/store.key",
        ),
        SettingText(
            ("REZBUILD_STORE_TRUST",),
            "Public keys, separated by spaces. One of them must have signed each payload.",
            "none; a machine that signs trusts its own key only",
            "/etc/rezbuild/store.pub",
        ),
        SettingText(
            ("REZBUILD_STORE_REVOKED",),
            "File with the hashes of payloads to refuse.",
            "none",
            "/mnt/studio/revoked",
        ),
    ),
    "Farm": (
        SettingText(
            ("REZBUILD_SCHEDULER",),
            "Scheduler of a farm that builds. The option `--scheduler` overrides it.",
            "build on this machine",
            "tls://build01:8786",
        ),
        SettingText(
            ("REZBUILD_FARM_TIMEOUT",),
            "Seconds to wait for a lost scheduler, for a missing kind of worker, or for a result "
            "to arrive.",
            "300",
        ),
        SettingText(
            ("REZBUILD_FARM_OPEN",),
            "`1`: every user of this machine may use a farm on loopback.",
            "off; only the user who started the farm",
        ),
        SettingText(
            ("REZBUILD_FARM_CA", "REZBUILD_FARM_CERT", "REZBUILD_FARM_KEY"),
            "Files for TLS between the parts of a farm. Set all three or none.",
            "no TLS",
        ),
    ),
}
EXIT_CODES = {
    0: "done",
    1: "unexpected error, or several failures",
    2: "wrong usage",
    3: "catalogue",
    4: "source not available",
    5: "wrong checksum or signature",
    6: "cannot be unpacked or patched",
    7: "a build step failed",
    8: "relocation failed",
    9: "audit found an error",
    10: "this machine has a problem, e.g. a missing program or a folder that is not writable",
    11: "Rez failed",
    12: "a check of a payload failed",
    13: "an installed package is outdated",
    14: "the store failed",
    15: "a release is not possible, or lacks its tag",
    16: "a lock file does not fit the recipes here",
    130: "interrupted",
}
_REZ = (
    "Repositories are Rez's own settings (REZ_LOCAL_PACKAGES_PATH, REZ_RELEASE_PACKAGES_PATH ...)."
)


def epilog() -> str:
    """Return the settings and exit codes for ``rezbuild --help``."""
    lines = ["settings (environment variables; an option overrides its setting):"]
    for text in (text for group in GROUPS.values() for text in group):
        names = ", ".join(text.names)
        words = text.meaning.rstrip(".").replace("`", "")
        default = text.default.replace("`", "")
        lines += _hanging(f"  {names:27} ", f"{words[0].lower()}{words[1:]}; default: {default}")
    lines += [_REZ, "", "exit codes:"]
    lines += [f"  {code:3}  {meaning}" for code, meaning in EXIT_CODES.items()]
    return "\n".join(lines) + "\n"


def _hanging(head: str, text: str) -> list[str]:
    """Return lines of at most 100 characters. A head that is too long gets a line without text."""
    first, indent = [head.rstrip()] if len(head) > 30 else [], " " * 30
    lines = textwrap.wrap(
        text,
        100,
        initial_indent=indent if first else head,
        subsequent_indent=indent,
        break_long_words=False,
    )
    return first + lines
