"""A git clone, its remote, and git without the settings of the user."""

from __future__ import annotations

import subprocess
from pathlib import Path

# The environment of a user who may commit and tag.
IDENTITY = {
    f"GIT_{who}_{what}": "t@example.invalid"
    for who in ("AUTHOR", "COMMITTER")
    for what in ("NAME", "EMAIL")
}


def git(folder: Path, *argv: str | Path) -> str:
    """Run git as a user with an identity; return its output."""
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.invalid")
    words = ["git", *identity, *map(str, argv)]
    return subprocess.run(words, cwd=folder, check=True, capture_output=True, text=True).stdout


def make_clone(folder: Path, remote: Path) -> None:
    """Make a clone with the branch ``main`` and a bare repository as its remote ``origin``."""
    git(folder, "init", "-q", "-b", "main")
    git(folder, "init", "-q", "--bare", remote)
    git(folder, "remote", "add", "origin", remote)


def commit(folder: Path, message: str) -> None:
    """Commit and push everything."""
    git(folder, "add", ".")
    git(folder, "commit", "-qm", message, "--allow-empty")
    git(folder, "push", "-qu", "origin", "main")


def tags(folder: Path) -> list[str]:
    """Return the tags of a repository."""
    return git(folder, "tag").split()
