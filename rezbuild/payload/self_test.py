"""The test inside a payload: a shell script that tests the payload on a host without rezbuild.

``rez-test`` runs it. It needs only sh and glibc. A recipe may add a folder ``host``: the script
reads its ``test.sh`` after it has loaded each library.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from rezbuild.elf import reader
from rezbuild.elf.host_libraries import host_libraries
from rezbuild.payload import manifest

FOLDER = "rezbuild-test"
RUN = "run.sh"
# Part of the loader's name, by the machine in the ELF header.
_LOADERS = {"EM_X86_64": "x86-64", "EM_AARCH64": "aarch64"}


def write(payload: Path, recipe: Path, version: str) -> None:
    """Write the test into the payload."""
    files = [path.relative_to(payload).as_posix() for path in reader.walk(payload) if _loads(path)]
    folder = payload / FOLDER
    folder.mkdir()
    for path in manifest.test_files(recipe):
        shutil.copyfile(path, folder / path.name)
    (folder / "files").write_text("".join(f"{name}\n" for name in files), encoding="utf-8")
    machine = _LOADERS[reader.read(payload / files[0] if files else Path(sys.executable)).machine]
    loader = next(path for path in host_libraries().loaders if machine in path)
    text = (Path(__file__).parents[1] / "data" / RUN).read_text(encoding="utf-8")
    text = text.replace("@LOADER@", loader).replace("@VERSION@", version)
    text = text.replace("@HOST@", " ".join(sorted(host_libraries().known)))
    (folder / RUN).write_text(text, encoding="utf-8")


def _loads(path: Path) -> bool:
    """Return whether ld.so can load a file: no debug data, no object file."""
    found = reader.read(path)
    return found.type != "ET_REL" and not found.debug
