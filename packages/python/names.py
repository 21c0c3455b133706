"""Names that tell the two builds of one CPython apart: with the GIL, and without it."""

FREE_THREADED = "python_freethreading"


def free_threaded(b):
    """Whether this build has no GIL; it is a package with a name of its own."""
    return b.name == FREE_THREADED


def program(b):
    """The name of the program and of the standard library's folder, e.g. ``python3.13t``."""
    return f"python{b.series[0]}.{b.series[1]}{'t' if free_threaded(b) else ''}"
