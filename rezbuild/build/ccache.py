"""Run compilers through ccache, if REZBUILD_CCACHE is set.

Links with the compilers' names lead to ccache, and are first on the build's PATH. So recipes and CC
stay the same, and so do payloads and fingerprints.

ccache handles PGO. An object that is compiled with -fprofile-generate contains the path of its
profile, so ccache reuses it in the same folder only. An object that is compiled with -fprofile-use
is reused if the profile is equal (ccache 4.7, `hash_profile_data_file`). With -fprofile-generate,
the object's name is not part of ccache's key: a recipe that compiles one source twice must set
CCACHE_DISABLE.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from rezbuild.build import glibc_floor, toolchain
from rezbuild.build.toolchain import Toolchain
from rezbuild.errors import MachineError
from rezbuild.settings import Settings


def find(settings: Settings) -> str | None:
    """Return the absolute path of ccache; None if it is not wanted or not installed.

    Raises:
        MachineError: The setting is a path, and there is no program.
    """
    asked = settings.ccache
    if asked is None or "/" not in asked:
        return toolchain.which(asked) if asked else None
    found = shutil.which(asked)
    if found is None:
        raise MachineError(
            f"the program {asked} cannot be run; REZBUILD_CCACHE names it",
            advice=["set it to 1 for the system's ccache, or unset it"],
        )
    return found


def environment(
    program: str, tools: Toolchain, home: Path, work: Path, cache: Path
) -> dict[str, str]:
    """Make the links in ``home``; return variables for the environment of the steps.

    Args:
        program: The path of ccache.
        tools: The compilers. If CC is a path, that compiler runs without ccache.
        home: A folder of this build.
        work: The folder of the build: paths below it become relative for ccache.
        cache: The folder for ccache's folder, unless CCACHE_DIR is set in the caller's environment.
    """
    links = home / "ccache"
    links.mkdir()
    for name in {*glibc_floor.COMPILERS, tools.cc, tools.cxx}:
        if "/" not in name and tools.which(name):
            (links / name).symlink_to(program)
    return {
        "PATH": f"{links}:{tools.path}",
        "CCACHE_DIR": str(cache / "ccache"),
        **{name: value for name, value in os.environ.items() if name.startswith("CCACHE_")},
        # Builds in other folders reuse these objects: ccache makes paths below the folder relative.
        # It ignores the working directory, which only debug data would contain.
        "CCACHE_BASEDIR": str(work),
        "CCACHE_NOHASHDIR": "1",
    }
