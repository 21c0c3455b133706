"""Checks of a Python payload, for ``rezbuild check``."""

import json

# By package: the expression that gives the library's version in Python. For other packages, the
# name of the folder below deps/ is the version.
VERSIONS = {
    "expat": "__import__('pyexpat').EXPAT_VERSION.partition('_')[2]",
    "mpdecimal": "__import__('decimal').__libmpdec_version__",
    "openssl": "__import__('ssl').OPENSSL_VERSION.split()[1]",
    "readline": "__import__('readline')._READLINE_LIBRARY_VERSION",
    "sqlite": "__import__('sqlite3').sqlite_version",
    "ncurses": "'%d.%d' % __import__('curses').ncurses_version[:2]",
    "tcl": "__import__('tkinter').Tcl().eval('info patchlevel')",
    "zlib": "__import__('zlib').ZLIB_RUNTIME_VERSION",
    # Python 3.14 and newer.
    "zstd": "__import__('compression.zstd').zstd.zstd_version",
}
# Up to 3.10, where these libraries are files. From 3.11 on, only their module can call them.
IN_FILES = {
    "bzip2": "text(bundled('libbz2').BZ2_bzlibVersion).split(',')[0]",
    "xz": "text(bundled('liblzma').lzma_version_string)",
}
ASK = """\
import ctypes, json, pathlib, sys
def text(function):
    function.restype = ctypes.c_char_p
    return function().decode()
def bundled(stem):
    (path,) = pathlib.Path(sys.prefix, "deps").glob(f"*/*/lib/{stem}[-.]*so*")
    return ctypes.CDLL(str(path))
found = {}
for name, code in json.loads(sys.argv[1]).items():
    try:
        found[name] = eval(code)
    except Exception as error:
        found[name] = f"{type(error).__name__}: {error}"
print(json.dumps(found))
"""


def quick(c):
    """Run the checks that need rezbuild.json; the payload's own test does the rest."""
    yield _versions(c, c.root / "bin/python3")


def suite(c, tests):
    """Run CPython's test suite: all of it, or the given files."""
    from . import check_regrtest

    return check_regrtest.suite(c, tests)


def _versions(c, python):
    """Compare the versions of the libraries with ``built_against`` in ``rezbuild.json``."""
    built = c.record.get("built_against", {})
    files = {name: code for name, code in IN_FILES.items() if (c.root / "deps" / name).is_dir()}
    ask = {name: code for name, code in (VERSIONS | files).items() if name in built}
    done = c.run(python, "-I", "-B", "-c", ASK, json.dumps(ask))
    if done.returncode != 0:
        return c.result("versions", "", done.stderr.splitlines()[-1:] or ["it crashed"])
    found = json.loads(done.stdout)
    for folder in (c.root / "deps").glob("*/*"):
        if folder.parent.name in built:
            found.setdefault(folder.parent.name, folder.name)
    wrong = [
        f"{name} is {version}, and rezbuild.json says {built[name]}"
        for name, version in sorted(found.items())
        if not f"{built[name]}.".startswith(f"{version}.")
    ]
    return c.result("versions", ", ".join(f"{n} {v}" for n, v in sorted(found.items())), wrong)
