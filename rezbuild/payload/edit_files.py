"""Change what a program or library needs, where it looks, and its own name."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rezbuild.build import toolchain
from rezbuild.errors import RelocationError
from rezbuild.util.processes import capture


@dataclass(frozen=True)
class Edit:
    """The changes of one file.

    Attributes:
        path: The file, relative to the payload.
        soname: The new own name, e.g. DT_SONAME; None to keep the old one.
        rpath: The elements of the rpath, e.g. ``$ORIGIN/../lib``; empty for no rpath.
        renamed: Needed libraries, e.g. DT_NEEDED entries, and their replacements.
        changed: Whether the file has to be edited.
    """

    path: Path
    soname: str | None
    rpath: tuple[str, ...]
    renamed: tuple[tuple[str, str], ...]
    changed: bool


def edit_file(path: Path, edit: Edit, patchelf: str) -> None:
    """Apply the changes of a file.

    Raises:
        RelocationError: ``patchelf`` failed.
    """
    with writable(path):
        if not edit.rpath:
            # --remove-rpath alone leaves the old text in the file, which may contain a folder of
            # this machine.
            run([patchelf, "--set-rpath", "", str(path)], path)
        run([patchelf, *_patchelf_arguments(edit), str(path)], path)


@contextlib.contextmanager
def writable(path: Path) -> Iterator[None]:
    """Make a file writable for a while, and replace a hard link by a copy.

    Some installers make files read-only. Another hard link may need another rpath.
    """
    mode = path.stat().st_mode
    if path.stat().st_nlink > 1:
        copy = path.with_name(f".{path.name}.copy")
        shutil.copy2(path, copy)
        copy.replace(path)
    path.chmod(mode | 0o200)
    try:
        yield
    finally:
        path.chmod(mode)


def run(argv: Sequence[str], path: Path) -> None:
    """Run a program that edits a file.

    Raises:
        RelocationError: The program failed.
    """
    done = capture(argv, env=toolchain.ENVIRONMENT)
    if done.returncode != 0:
        raise RelocationError(
            f"{Path(argv[0]).name} failed on {path}: {done.stderr.strip() or done.returncode}",
            tried=[" ".join(argv)],
            advice=["check the versions of strip and patchelf: rezbuild doctor"],
        )


def _patchelf_arguments(edit: Edit) -> list[str]:
    arguments = ["--set-soname", edit.soname] if edit.soname else []
    if not edit.rpath:
        arguments += ["--remove-rpath"]
    else:
        arguments += ["--force-rpath", "--set-rpath", ":".join(edit.rpath)]
    for name, path in edit.renamed:
        arguments += ["--replace-needed", name, path]
    return arguments
