"""The test that a payload carries: with sh and glibc alone it proves the host that it stands on.

``rez-test`` runs it, on hosts that have no rezbuild. A recipe adds to it by a folder ``host``,
whose ``test.sh`` is read by the script after it has loaded each library.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from rezbuild.elf import reader
from rezbuild.elf.host_libraries import host_libraries

FOLDER = "rezbuild-test"
RUN = "run.sh"
# How the program loader of a machine is called, by what an ELF file's header says.
_LOADERS = {"EM_X86_64": "x86-64", "EM_AARCH64": "aarch64"}


def sources(recipe: Path) -> list[Path]:
    """The files that a recipe adds."""
    return sorted(path for path in (recipe / "host").glob("*") if path.is_file())


def write(payload: Path, recipe: Path, version: str) -> None:
    """Writes the test into the payload."""
    files = [path.relative_to(payload).as_posix() for path in reader.walk(payload) if _loads(path)]
    folder = payload / FOLDER
    folder.mkdir()
    for path in sources(recipe):
        shutil.copyfile(path, folder / path.name)
    (folder / "files").write_text("".join(f"{name}\n" for name in files), encoding="utf-8")
    machine = _LOADERS[reader.read(payload / files[0] if files else Path(sys.executable)).machine]
    loader = next(path for path in host_libraries().loaders if machine in path)
    text = (Path(__file__).parents[1] / "data" / RUN).read_text(encoding="utf-8")
    text = text.replace("@LOADER@", loader).replace("@VERSION@", version)
    text = text.replace("@HOST@", " ".join(sorted(host_libraries().known)))
    (folder / RUN).write_text(text, encoding="utf-8")


def _loads(path: Path) -> bool:
    """Whether it is for ld.so: neither debug data nor an object that is still to be linked."""
    found = reader.read(path)
    return found.type != "ET_REL" and not found.debug
