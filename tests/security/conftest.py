"""Two users: the tests are the builder, and another user attacks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# the user "nobody" on every distribution
ATTACKER = 65534
# The other user may be unable to read the clone's virtual environment.
_SYSTEM_PYTHON = shutil.which("python3", path="/usr/bin:/bin") or sys.executable


class Attacker:
    """Runs of code as a user who has none of the builder's rights."""

    def _argv(self, code: str, *arguments: object) -> list[str]:
        user = ["setpriv", f"--reuid={ATTACKER}", f"--regid={ATTACKER}", "--clear-groups"]
        return [*user, _SYSTEM_PYTHON, "-I", "-c", code, *map(str, arguments)]

    def run(self, code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run code to its end; the test fails if the code does."""
        done = subprocess.run(
            self._argv(code, *arguments), capture_output=True, text=True, check=False, cwd="/"
        )
        assert done.returncode == 0, done.stderr
        return done

    def start(self, code: str, *arguments: object) -> subprocess.Popen[str]:
        """Start code, which prints a line when it is ready."""
        running = subprocess.Popen(
            self._argv(code, *arguments), stdout=subprocess.PIPE, text=True, cwd="/"
        )
        assert running.stdout is not None
        running.stdout.readline()
        return running


@pytest.fixture
def attacker() -> Attacker:
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("two users need root and setpriv")
    return Attacker()


@pytest.fixture
def place() -> Iterator[Path]:
    """Return a folder that every user can enter."""
    with tempfile.TemporaryDirectory(prefix="rezbuild-security-") as folder:
        path = Path(folder)
        path.chmod(0o755)
        yield path


@pytest.fixture
def repository(place: Path) -> Path:
    """Return a repository that every user can write, like a group's repository."""
    folder = place / "repository"
    folder.mkdir()
    folder.chmod(0o777)
    return folder


@pytest.fixture
def home(place: Path) -> Path:
    """Return a folder of the builder that no other user can write."""
    folder = place / "home"
    folder.mkdir()
    (folder / "file").write_text("precious")
    folder.chmod(0o755)
    return folder
