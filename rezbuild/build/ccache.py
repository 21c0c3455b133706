"""Compilers through ccache, for who builds the same sources again and again, on request.

No recipe knows of it, and CC stays what it is: links of the compilers' names to ccache stand first
on the build's PATH. What is built, and its fingerprint, are the same.

ccache knows a compiler's profile: an object that counts (-fprofile-generate) is found in its own
folder only, as it names the file for its counts, and one compiled by counts (-fprofile-use) where
those are the same (ccache 4.7, `hash_profile_data_file`). The object's name is not in the key of
the former: a recipe that compiles one source twice while it counts must set CCACHE_DISABLE.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from rezbuild.build import toolchain
from rezbuild.build.toolchain import Toolchain
from rezbuild.errors import MachineError
from rezbuild.settings import Settings

_COMPILERS = ("cc", "c++", "gcc", "g++", "clang", "clang++")


def find(settings: Settings) -> str | None:
    """The absolute path of ccache, or None where it is not asked for or not there.

    Raises:
        MachineError: It was asked for by a path, and is not there.
    """
    asked = settings.ccache
    if asked is None or "/" not in asked:
        return toolchain.which(asked) if asked else None
    found = shutil.which(asked)
    if found is None:
        raise MachineError(
            f"REZBUILD_CCACHE names {asked}, which cannot be run",
            advice=["set it to 1 for the system's ccache, or unset it"],
        )
    return found


def environment(
    program: str, tools: Toolchain, home: Path, work: Path, cache: Path
) -> dict[str, str]:
    """What goes over the environment of a build's steps; makes the links in ``home``.

    Args:
        program: ccache.
        tools: The compilers. One that CC names by a path is run directly, without ccache.
        home: A folder of this build.
        work: The folder that holds all that differs from one place of a build to another.
        cache: Where ccache keeps its files, in a folder of its own, unless its own variables (of
            the caller's environment) say another.
    """
    links = home / "ccache"
    links.mkdir()
    for name in {*_COMPILERS, tools.cc, tools.cxx}:
        if "/" not in name and tools.which(name):
            (links / name).symlink_to(program)
    return {
        "PATH": f"{links}:{tools.path}",
        "CCACHE_DIR": str(cache / "ccache"),
        **{name: value for name, value in os.environ.items() if name.startswith("CCACHE_")},
        # A build in another folder finds what this one leaves: paths below the folder are taken as
        # relative ones, and nothing is kept of the folder itself, which only debug data would name.
        "CCACHE_BASEDIR": str(work),
        "CCACHE_NOHASHDIR": "1",
    }
