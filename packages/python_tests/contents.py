"""The files of the standard library's tests, and the commands that compile their C modules.

``rezbuild check --regrtest`` also uses this: it adds the tests to a copy of a payload.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

# Names of test folders, which ``_trim`` in python's recipe.py removes from payloads.
FOLDERS = ("test", "tests", "idle_test")
DATA = (".def", ".txt")
# Source files of C modules that only tests use.
HELPERS = ("_test*.c", "xxlimited*.c", "_ctypes/_ctypes_test.c", "_xxtestfuzz/_xxtestfuzz.c")


def copy(source: Path, target: Path) -> None:
    """Copy the tests of a source tree to a folder; each keeps its path below ``Lib``.

    Tests inside of a package open its data files by ``..``, so these are copied, too.
    """
    lib = source / "Lib"
    for folder in sorted(lib.rglob("*")):
        if folder.is_dir() and folder.name in FOLDERS:
            place = target / folder.relative_to(lib)
            # A folder inside a folder of tests was copied with it.
            if place.exists():
                continue
            shutil.copytree(folder, place)
            for path in folder.parent.iterdir():
                if path.suffix in DATA and not (place.parent / path.name).exists():
                    shutil.copyfile(path, place.parent / path.name)


def helpers(source: Path, python: Path, target: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield the compile commands of the C modules that the payload lacks.

    Args:
        source: The source tree of the same version.
        python: The payload whose headers are used.
        target: The folder for the modules.

    Yields:
        The module's name, and the command without the compiler.
    """
    modules = source / "Modules"
    (include,) = python.glob("include/python3*")
    (dynamic,) = python.glob("lib/python3*/lib-dynload")
    # e.g. cpython-311-x86_64-linux-gnu.so
    suffix = next(dynamic.glob("*.so")).name.partition(".")[2]
    for path in sorted(found for pattern in HELPERS for found in modules.glob(pattern)):
        name = path.stem.removesuffix("module")
        if next(dynamic.glob(f"{name}.*"), None):
            continue
        more = sorted((path.parent / name).glob("*.c"))
        if path.parent.name == name:
            more = sorted(p for p in path.parent.glob("*.c") if p != path)
        # setup.py of 3.9 defines it; the sources of later versions do so themselves.
        core = ["-DPy_BUILD_CORE_MODULE"] if name == "_testinternalcapi" else []
        words = ["-shared", "-fPIC", "-O1", "-w", *core]
        words += [f"-I{include}", f"-I{include / 'internal'}", f"-I{modules}"]
        words += [*map(str, (path, *more)), "-lm", "-o", str(target / f"{name}.{suffix}")]
        yield name, words
