"""Change what a program or library needs, where it looks, and its own name."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rezbuild.build import toolchain
from rezbuild.errors import MachineError, RelocationError
from rezbuild.macho import reader as macho
from rezbuild.payload import formats
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
        RelocationError: The program that edits it failed.
        MachineError: The program that edits it is missing.
    """
    with writable(path):
        if formats.is_macho(path):
            _edit_macho(path, edit)
        else:
            _edit_elf(path, edit, patchelf)


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


def install_name_tool() -> str:
    """Return the path of Apple's program that edits Mach-O files, or of LLVM's.

    Raises:
        MachineError: There is none.
    """
    names = ["install_name_tool", "llvm-install-name-tool"]
    names += [f"llvm-install-name-tool-{number}" for number in range(39, 13, -1)]
    found = next(filter(None, map(toolchain.which, names)), None)
    if found:
        return found
    raise MachineError(
        "install_name_tool, which edits Mach-O files, is missing",
        tried=[f"install_name_tool and llvm-install-name-tool on {toolchain.SYSTEM_PATH}"],
        advice=["install the system package llvm, version 14 or newer"],
    )


def _edit_elf(path: Path, edit: Edit, patchelf: str) -> None:
    if not edit.rpath:
        # --remove-rpath alone leaves the old text in the file, which may contain a folder of this
        # machine.
        run([patchelf, "--set-rpath", "", str(path)], path)
    arguments = ["--set-soname", edit.soname] if edit.soname else []
    if not edit.rpath:
        arguments += ["--remove-rpath"]
    else:
        arguments += ["--force-rpath", "--set-rpath", ":".join(edit.rpath)]
    for name, new in edit.renamed:
        arguments += ["--replace-needed", name, new]
    run([patchelf, *arguments, str(path)], path)


def _edit_macho(path: Path, edit: Edit) -> None:
    """Edit a file; llvm-install-name-tool also signs it again if it was signed."""
    arguments = ["-id", edit.soname] if edit.soname else []
    for element in dict.fromkeys(macho.read(path).rpath):
        arguments += ["-delete_rpath", element]
    # The edit has no rpath: all needs are paths.
    for name, new in edit.renamed:
        arguments += ["-change", name, new]
    run([install_name_tool(), *arguments, str(path)], path)
    try:
        macho.read(path)
    except macho.MachOError as error:
        # llvm-install-name-tool writes the names over code, or code over the names, and succeeds.
        raise RelocationError(
            f"{path} has too little room in its header for the names of its libraries",
            tried=[str(error.message)],
            advice=["link it with -Wl,-headerpad_max_install_names"],
        ) from error
