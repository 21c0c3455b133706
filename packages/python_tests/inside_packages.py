def _find_inside_packages():
    """Makes the tests importable that belong inside of packages, as distutils.tests.

    The packages are elsewhere, with the python. What they have themselves goes first.
    """
    import sys
    from importlib.machinery import PathFinder

    top = __file__.rpartition("/")[0].rpartition("/")[0]

    class Finder:
        """Looks below this package's folder for what stands in a folder of tests."""

        @staticmethod
        def find_spec(name, *_):
            package, _, last = name.rpartition(".")
            if package and last in ("test", "tests", "idle_test"):
                return PathFinder.find_spec(name, [f"{top}/{package.replace('.', '/')}"])
            return None

    # A test may import this package anew.
    if not any(getattr(f, "__qualname__", "") == Finder.__qualname__ for f in sys.meta_path):
        sys.meta_path.append(Finder)


_find_inside_packages()
