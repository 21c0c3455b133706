"""How a payload was compiled, for its record: flags and options, without this machine's folders."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rezbuild.build.recipe_api import NEUTRAL, Build

# What compilers and configure scripts read of the environment.
_FLAGS = ("CC", "CXX", "CFLAGS", "CPPFLAGS", "CXXFLAGS", "LDFLAGS", "OPT")
_CONFIGURE = re.compile(r"(^|/)(configure|config|Configure)$")
_VARIABLE = re.compile(r"[A-Z_]+=", re.DOTALL)
# A folder of the build, as `_plain` has called it so far.
_FOLDER = re.compile(rf"{NEUTRAL}([\w.+-]+)")
# Long ones are lists of files; the recipe has them.
_LONGEST = 2000


def record(build: Build, places: Mapping[Path, str]) -> dict[str, object]:
    """The flags of the environment, and the options given to configure and make.

    Folders of the build are ``<work>``, ``<source>``, and ``<NAME-VERSION>`` of a package, be it
    this one or what it is built against. The number of jobs is not among them: it shapes nothing.

    Args:
        build: One whose steps have run.
        places: Folders of this machine, and what stands for them below the neutral prefix.
    """
    names = [*_FLAGS, *(f"{name}_NODIST" for name in _FLAGS)]
    flags = {name: _plain(build.env[name], places) for name in names if build.env.get(name)}
    steps = [" ".join(words) for words in _options(build.commands)]
    return {"flags": flags, "options": [_plain(step, places)[:_LONGEST] for step in steps]}


def _options(commands: Sequence[Sequence[str]]) -> Iterator[list[str]]:
    for argv in commands:
        if _CONFIGURE.search(argv[0]):
            yield ["configure", *map(shlex.quote, argv[1:])]
        elif argv[0] == "sh" and any("configure" in word for word in argv):
            yield [argv[-1]]
        elif argv[0] == "make":
            told = [w for w in argv[1:] if _VARIABLE.match(w) and not w.startswith("DESTDIR=")]
            if told:
                yield ["make", *map(shlex.quote, told)]


def _plain(text: str, places: Mapping[Path, str]) -> str:
    # The longest first: folders stand in one another.
    for path in sorted(places, key=lambda path: -len(str(path))):
        text = text.replace(str(path), places[path])
    # As the audit wants it: a payload has no text that names the prefix, which is nowhere.
    return _FOLDER.sub(r"<\1>", text)
