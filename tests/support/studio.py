"""A studio in a folder: repositories, caches and a shell environment."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Variables of the caller for all builds of a test; tests of the older glibc set the last one.
CALLERS = ("REZBUILD_CACHE", "REZBUILD_GLIBC")
# Beginnings of variables of the caller that a test must not inherit.
OWN = ("REZ", "PYTHON", "LD_", "SSL_CERT", "CFLAGS", "CPATH", "GITHUB_ACTIONS", "GITLAB_CI")


def run_command(
    argv: Sequence[str | Path], *, ok: bool, env: Mapping[str, str], cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command in exactly this environment; with ``ok`` it must succeed."""
    done = subprocess.run(
        [str(word) for word in argv],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if ok and done.returncode != 0:
        pytest.fail(f"{argv} exited with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


class Studio:
    """A user's environment with Rez, rezbuild and repositories.

    Attributes:
        folder: The folder of all files, except the sources, which are in the user's cache.
        local: The repository that ``rez-build -i`` installs into.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.local = folder / "local"
        self.released = folder / "released"
        self.released.mkdir(parents=True, exist_ok=True)
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(OWN)}
        self.env |= {k: v for k, v in os.environ.items() if k in CALLERS}
        self.env |= {
            "REZ_CONFIG_FILE": str(ROOT / "rezconfig.py"),
            "REZ_DISABLE_HOME_CONFIG": "1",
            "REZ_LOCAL_PACKAGES_PATH": str(self.local),
            "REZ_RELEASE_PACKAGES_PATH": str(self.released),
            "REZ_PACKAGES_PATH": f"{self.local}:{self.released}",
        }

    def run(
        self, *argv: str | Path, ok: bool = True, cwd: Path = ROOT, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command; with ``ok`` it must succeed."""
        return run_command(argv, ok=ok, cwd=cwd, env={**self.env, **env})

    def rezbuild(
        self, *argv: str | Path, ok: bool = True, **env: str
    ) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "rezbuild", *argv, ok=ok, **env)

    def rez(
        self, command: str, *argv: str | Path, ok: bool = True, cwd: Path = ROOT, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run ``rez-<command>`` with -E, like the launchers of Rez's own installer."""
        start = f"from rez.cli._main import run; run({command!r})"
        return self.run(sys.executable, "-E", "-c", start, *argv, ok=ok, cwd=cwd, **env)

    def in_env(
        self, repository: Path, request: str, *argv: str | Path, ok: bool = True, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in ``rez-env``, with packages from one repository only."""
        return self.rez(
            *("env", "--paths", repository, request, "--", *argv),
            ok=ok,
            cwd=self.folder,
            **env,
        )


def processes_in(folder: Path) -> list[str]:
    """Return the processes whose current folder is below ``folder``."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if Path(os.readlink(path)).is_relative_to(folder):
                found.append(path.with_name("cmdline").read_text().replace("\0", " "))
    return found
