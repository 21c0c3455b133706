"""What debuggers read of the files that are built: kept in the cache, until a package takes it.

Payloads are stripped. The debug data of a recipe that says ``debug = true`` is put aside before
that, by build-id: the linker's hash of a file's content, which strip and patchelf leave in it. gdb
finds the data by the same hash, wherever the file stands (gdb's manual, Separate Debug Files).
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rezbuild.build import toolchain
from rezbuild.build.recipe_api import Dependency
from rezbuild.elf import reader
from rezbuild.errors import AuditError, BuildError, RelocationError
from rezbuild.payload.relocate import DEPS

# Which of the build's folders some bytes name.
Named = Callable[[bytes], Sequence[str]]


def place(build_id: str) -> Path:
    """Where the data of a file is, below a folder of such data; as gdb looks for it."""
    return Path(build_id[:2], f"{build_id[2:]}.debug")


def keep(payload: Path, store: Path, objcopy: str, named: Named) -> dict[str, str]:
    """Copies the debug data of a payload that is not stripped yet.

    Args:
        payload: Its ELF files have a build-id each.
        store: The folder that the data is added to.
        objcopy: The program.
        named: No file may name the place that it was built in, and later the data is compressed.

    Returns:
        The build-ids, by the files' paths.

    Raises:
        BuildError: A file has no build-id.
        AuditError: The data names the place it was built in.
        RelocationError: ``objcopy`` failed.
    """
    found = {}
    for path in reader.walk(payload):
        if reader.read(path).type not in ("ET_EXEC", "ET_DYN"):
            continue
        build_id = reader.build_id(path)
        if build_id is None:
            raise BuildError(
                f"{path} has no build-id, by which its debug data could be found",
                advice=["link it with -Wl,--build-id"],
            )
        _keep(path, store / place(build_id), objcopy, named)
        found[path.relative_to(payload).as_posix()] = build_id
    return found


def find(dependency: Dependency, store: Path) -> Mapping[str, Path]:
    """The kept data of a payload's own files, by build-id; not of libraries that it bundles.

    Raises:
        BuildError: It is not there, or not all of it.
    """
    files = [
        path for path in reader.walk(dependency.root) if dependency.root / DEPS not in path.parents
    ]
    ids = {path: reader.build_id(path) for path in files}
    found = {i: store / place(i) for i in ids.values() if i and (store / place(i)).is_file()}
    missing = [str(path.relative_to(dependency.root)) for path, i in ids.items() if i not in found]
    if missing or not files:
        what = f"{dependency.name}-{dependency.version}"
        raise BuildError(
            f"the debug data of {what} is not in the cache: it lacks that of {len(missing)} of "
            f"{len(files)} files ({', '.join(missing[:3])} ...)",
            tried=[f"{store}, by the build-ids of the files in {dependency.root}"],
            advice=[
                f"build it here, which keeps the data: rezbuild build {what} --force",
                "or set REZBUILD_CACHE to the cache of the machine that built it",
                "then build this one again",
            ],
        )
    return found


def _keep(path: Path, target: Path, objcopy: str, named: Named) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".part-", dir=target.parent) as folder:
        whole, small = Path(folder, "whole"), Path(folder, "small")
        _run(objcopy, "--only-keep-debug", str(path), str(whole))
        places = named(whole.read_bytes())
        if places:
            raise AuditError(
                f"the debug data of {path} names {', '.join(places)}",
                advice=["compile with -ffile-prefix-map for these folders, or without -g"],
            )
        _run(objcopy, "--compress-debug-sections=zlib", str(whole), str(small))
        # Data is for reading only; and others may build, and share the cache.
        small.chmod(0o644)
        small.replace(target)


def _run(*argv: str) -> None:
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, check=False, env=toolchain.ENVIRONMENT
        )
    except OSError as error:
        raise RelocationError(
            f"{argv[0]} does not run: {error.strerror}",
            advice=["rezbuild doctor says which system package brings it"],
        ) from None
    if done.returncode != 0:
        raise RelocationError(
            f"{Path(argv[0]).name} failed: {done.stderr.strip() or done.returncode}",
            tried=[" ".join(argv)],
            advice=["is there space left? binutils from 2.26 on are needed"],
        )
