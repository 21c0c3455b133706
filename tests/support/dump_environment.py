"""Run ``env`` as a step of a build, in a process with a hostile environment."""

from __future__ import annotations

import sys
from pathlib import Path

from rezbuild.build import toolchain
from rezbuild.build.recipe_api import Build
from rezbuild.settings import Settings


def dump(folder: Path) -> None:
    """Write the environment of a build step to ``env.txt`` in a new folder."""
    folder.mkdir()
    tools = toolchain.find(Settings.read())
    env = toolchain.environment(tools, folder, 7)
    Build("x", "1.0", folder, folder, folder, folder, "fast", 1, env, {}, tools).run(
        "sh", "-c", "env >env.txt"
    )


if __name__ == "__main__":
    dump(Path(sys.argv[1]))
