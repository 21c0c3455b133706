"""A version control plugin for Rez: git work trees and submodules, where ``.git`` is a file.

Rez's own plugin "git" knows a clone by the folder ``.git``. So it finds none in a work tree (``git
worktree add``), or finds the clone around it.
"""

from __future__ import annotations

from pathlib import Path

from rezplugins.release_vcs.git import GitReleaseVCS


class GitWorktreeVCS(GitReleaseVCS):
    """Release from a git work tree, with Rez's settings for git: its name is "git", too."""

    # Without this, Rez requires settings of the plugin's own name.
    schema_dict: dict[str, type[bool]] = {}  # noqa: RUF012 (Rez declares it so)

    @classmethod
    def is_valid_root(cls, path: str) -> bool:
        """Return whether a folder is the top of a work tree."""
        return Path(path, ".git").is_file()


def register_plugin() -> type[GitWorktreeVCS]:
    """Return the class of the plugin, for Rez."""
    return GitWorktreeVCS
