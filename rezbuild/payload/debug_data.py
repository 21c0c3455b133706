"""Debug data of payloads: the cache keeps it for packages such as ``python_debug``.

Payloads are stripped. If a recipe has ``debug = true``, rezbuild first copies the debug data to the
cache. Its name there is the build-id: a hash that the linker writes into the file, and that strip
and patchelf do not change. gdb finds debug data by the same hash, wherever the file is (gdb's
manual, Separate Debug Files).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rezbuild.build import toolchain
from rezbuild.elf import reader
from rezbuild.errors import AuditError, BuildError, RelocationError
from rezbuild.payload.dependency import Dependency
from rezbuild.payload.relocate import DEPS
from rezbuild.util.processes import capture

# Returns the folders of the build that some bytes contain.
Named = Callable[[bytes], Sequence[str]]


def path_of(build_id: str) -> Path:
    """Return the path of a file's debug data below the folder of debug data, as gdb searches it."""
    return Path(build_id[:2], f"{build_id[2:]}.debug")


def keep(payload: Path, store: Path, objcopy: str, named: Named) -> dict[str, str]:
    """Copy the debug data of a payload that is not stripped yet.

    Args:
        payload: The payload; each ELF file must have a build-id.
        store: The folder of debug data.
        objcopy: The path of objcopy.
        named: Finds folders of the build in data. Called here, since the audit cannot search
            compressed data.

    Returns:
        The build-ids, by the files' paths.

    Raises:
        BuildError: A file has no build-id.
        AuditError: The data contains a folder of the build.
        RelocationError: ``objcopy`` failed.
    """
    found = {}
    for path in reader.walk(payload):
        if reader.read(path).type not in ("ET_EXEC", "ET_DYN"):
            continue
        build_id = reader.build_id(path)
        if build_id is None:
            raise BuildError(
                f"{path} has no build-id, so gdb cannot find its debug data",
                advice=["link it with -Wl,--build-id"],
            )
        _keep(path, store / path_of(build_id), objcopy, named)
        found[path.relative_to(payload).as_posix()] = build_id
    return found


def find(dependency: Dependency, store: Path) -> Mapping[str, Path]:
    """Return the debug data of a payload's files by build-id, without bundled libraries.

    Raises:
        BuildError: The debug data of a file is missing.
    """
    files = [
        path for path in reader.walk(dependency.root) if dependency.root / DEPS not in path.parents
    ]
    ids = {path: reader.build_id(path) for path in files}
    found = {i: store / path_of(i) for i in ids.values() if i and (store / path_of(i)).is_file()}
    missing = [str(path.relative_to(dependency.root)) for path, i in ids.items() if i not in found]
    if missing or not files:
        what = f"{dependency.name}-{dependency.version}"
        raise BuildError(
            f"the debug data of {what} is not in the cache: {len(missing)} of {len(files)} files "
            f"have none ({', '.join(missing[:3])} ...)",
            tried=[f"{store}, by the build-ids of the files in {dependency.root}"],
            advice=[
                f"build {what} here to keep the data: rezbuild build {what} --force",
                "or set REZBUILD_CACHE to the cache of the machine that built it",
                "then build this package again",
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
                f"the debug data of {path} contains {', '.join(places)}",
                advice=["compile with -ffile-prefix-map for these folders, or without -g"],
            )
        _run(objcopy, "--compress-debug-sections=zlib", str(whole), str(small))
        # Other users may share the cache; they only read.
        small.chmod(0o644)
        small.replace(target)


def _run(*argv: str) -> None:
    try:
        done = capture(argv, env=toolchain.ENVIRONMENT)
    except OSError as error:
        raise RelocationError(
            f"{argv[0]} cannot be started: {error.strerror}",
            advice=["install the system package that rezbuild doctor names"],
        ) from None
    if done.returncode != 0:
        raise RelocationError(
            f"{Path(argv[0]).name} failed: {done.stderr.strip() or done.returncode}",
            tried=[" ".join(argv)],
            advice=["check the free space; binutils 2.26 or newer is required"],
        )
