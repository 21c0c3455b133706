"""What belongs to the tests of CPython's standard library, and how their C modules are compiled.

``rezbuild check --regrtest`` takes this too: it makes a copy of a payload whole again.
"""

import shutil

# Folders of tests, as ``_trim`` in python's recipe.py leaves them out.
FOLDERS = ("test", "tests", "idle_test")
DATA = (".def", ".txt")
# C modules that only tests use, by what their source files are called.
HELPERS = ("_test*.c", "xxlimited*.c", "_ctypes/_ctypes_test.c", "_xxtestfuzz/_xxtestfuzz.c")


def copy(source, target):
    """Copies the tests of a source tree to a folder, each to where it stands in ``Lib``.

    Those inside of a package look for its data by ``..``, so that goes along.
    """
    lib = source / "Lib"
    for folder in sorted(lib.rglob("*")):
        if folder.is_dir() and folder.name in FOLDERS:
            place = target / folder.relative_to(lib)
            # What is below another one is there already.
            if place.exists():
                continue
            shutil.copytree(folder, place)
            for path in folder.parent.iterdir():
                if path.suffix in DATA and not (place.parent / path.name).exists():
                    shutil.copyfile(path, place.parent / path.name)


def helpers(source, python, target):
    """The commands, less the compiler's name, that make each C module the payload lacks.

    Args:
        source: Of that version.
        python: The payload whose headers are used.
        target: The folder they are put into.

    Yields:
        The module's name, and the words.
    """
    modules = source / "Modules"
    (include,) = python.glob("include/python3*")
    (dynamic,) = python.glob("lib/python3*/lib-dynload")
    # As in cpython-311-x86_64-linux-gnu.so.
    suffix = next(dynamic.glob("*.so")).name.partition(".")[2]
    for path in sorted(found for pattern in HELPERS for found in modules.glob(pattern)):
        name = path.stem.removesuffix("module")
        if next(dynamic.glob(f"{name}.*"), None):
            continue
        more = sorted((path.parent / name).glob("*.c"))
        if path.parent.name == name:
            more = sorted(p for p in path.parent.glob("*.c") if p != path)
        # As setup.py of 3.9 has it; later sources say it themselves.
        core = ["-DPy_BUILD_CORE_MODULE"] if name == "_testinternalcapi" else []
        words = ["-shared", "-fPIC", "-O1", "-w", *core]
        words += [f"-I{include}", f"-I{include / 'internal'}", f"-I{modules}"]
        words += [*map(str, (path, *more)), "-lm", "-o", str(target / f"{name}.{suffix}")]
        yield name, words
