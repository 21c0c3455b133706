"""Names that differ between a CPython with the GIL and one without."""

from rezbuild.build.recipe_api import Build

FREE_THREADED = "python_freethreading"


def free_threaded(b: Build) -> bool:
    """Return whether this is the package without the GIL."""
    return b.name == FREE_THREADED


def program(b: Build) -> str:
    """Return the name of the program and of the library's folder, e.g. ``python3.13t``."""
    return f"python{b.series[0]}.{b.series[1]}{'t' if free_threaded(b) else ''}"
