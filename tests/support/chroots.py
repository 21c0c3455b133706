"""Fresh minimal Debian systems, each in a folder, entered by chroot(8)."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from host_tools import require_tool
from studio import ROOT, run_command

from rezbuild.build import toolchain
from rezbuild.settings import Settings
from rezbuild.sources.debian_archive import SourceArchive

# Configuration of the machine's package index.
_NETWORK_FILES = (
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pip.conf",
    "/etc/xdg/pip",
)
_NETWORK_VARIABLES = re.compile(r"PIP_.*|SSL_CERT_.*|REQUESTS_CA_BUNDLE|.*_proxy", re.IGNORECASE)
# All mounts are in a namespace that ends with the command.
_ENTER = (
    'mount --bind "$0" "$0" && mount --rbind /dev "$0/dev" && mount -t proc proc "$0/proc" && '
    'mount --bind "$1" "$0/sources" && shift && exec chroot "$0" "$@"'
)
# Not /rezbuild, which payloads name: tests look for the path of the clone in payloads.
CLONE = "/studio/clone"


class Chroot:
    """A fresh system.

    Args:
        suite: The release's name, e.g. "trixie".
        folder: An empty folder for it.
    """

    def __init__(self, suite: str, folder: Path) -> None:
        self.folder = folder
        self._cache = Settings.read().cache / "sources"
        command = ("debootstrap", "--variant=minbase", suite, folder, _archive())
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            # This is no error of the project: an archive may have removed the release.
            pytest.skip(f"debootstrap {suite} failed: {done.stdout[-500:]}{done.stderr[-500:]}")
        sources = f"deb {_archive()} {suite} main\n"
        (folder / "etc/apt/sources.list").write_text(sources)
        (folder / "etc/apt/apt.conf.d/99machine").write_text(_apt_network())
        (folder / "sources").mkdir()
        self._copy_network()

    def add_release(self, suite: str, packages: Iterable[str]) -> None:
        """Let apt take these packages from a release, also if they are older."""
        apt = self.folder / "etc/apt"
        (apt / f"sources.list.d/{suite}.list").write_text(f"deb {_archive()} {suite} main\n")
        pins = {" ".join(packages): 1001, "*": 100}
        (apt / f"preferences.d/{suite}").write_text(
            "".join(
                f"Package: {names}\nPin: release n={suite}\nPin-Priority: {priority}\n\n"
                for names, priority in pins.items()
            )
        )

    def install(self, *packages: str) -> None:
        """Install system packages as root, without what they only recommend."""
        self.run("apt-get", "update", "-q")
        options = ("-q", "-y", "--no-install-recommends", "--allow-downgrades")
        self.run("apt-get", "install", *options, *packages, DEBIAN_FRONTEND="noninteractive")
        # ca-certificates writes a new file.
        self._copy_network()

    def copy_clone(self) -> None:
        """Copy the files of this clone that git knows to `CLONE`."""
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        for name in filter(None, listed.stdout.split("\0")):
            target = self.folder / CLONE[1:] / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target, follow_symlinks=False)

    def run(
        self, *argv: str, cwd: str = "/", ok: bool = True, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside; with ``ok`` it must succeed.

        The machine's verified sources are in /sources.
        """
        network = {k: v for k, v in os.environ.items() if _NETWORK_VARIABLES.fullmatch(k)}
        self._cache.mkdir(parents=True, exist_ok=True)
        start = ("unshare", "--mount", "--", "sh", "-c", _ENTER, self.folder, self._cache)
        environment = {"PATH": toolchain.SYSTEM_PATH, "HOME": "/root", **network, **env}
        return run_command([*start, "env", f"--chdir={cwd}", *argv], ok=ok, env=environment)

    def _copy_network(self) -> None:
        for name in _NETWORK_FILES:
            source, target = Path(name), self.folder / name[1:]
            if source.is_dir():
                shutil.copytree(source, target, dirs_exist_ok=True)
            elif source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target)


def scratch_folder() -> Path:
    """Return a new folder for a system; skip the test where none can be made."""
    if os.geteuid() != 0:
        pytest.skip("a fresh system of another release needs root")
    require_tool("debootstrap")
    folder = Path(tempfile.mkdtemp(prefix="rezbuild-chroot-"))
    # It becomes the root folder of all users of the system.
    folder.chmod(0o755)
    return folder


@functools.cache
def _archive() -> str:
    """Return the address of the Debian archive that this machine uses."""
    with tempfile.TemporaryDirectory() as cache:
        settings = Settings.read({"REZBUILD_CACHE": cache})
        addresses = list(SourceArchive(settings, print)._repositories())
    if not addresses:
        pytest.skip("the apt of this machine has no Debian archive")
    return addresses[0]


def _apt_network() -> str:
    """Return the machine's settings of apt's network, and accept expired lists."""
    dumped = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True)
    lines = [line for line in dumped.stdout.splitlines() if line.startswith("Acquire::")]
    return "\n".join([*lines, 'Acquire::Check-Valid-Until "false";', ""])
