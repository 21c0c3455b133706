"""Test whether the standard library is complete, and whether each module can be imported.

``python3 -I -B stdlib.py`` prints a line for each missing or broken module, and exits with 1.
(CPython's build only prints the names of modules that it could not build.) ``--json`` prints all
results.

This file may import modules of the standard library of CPython 3.9 and newer only.
"""

import contextlib
import importlib
import importlib.machinery
import importlib.util
import json
import os
import pathlib
import sys
import sysconfig
import tempfile
import warnings

_WINDOWS = "Windows has it"
# Modules of sys.stdlib_module_names that a payload does not have, with the reason.
ABSENT = {
    "_msi": _WINDOWS,
    "_overlapped": _WINDOWS,
    "_scproxy": "macOS has it",
    "_winapi": _WINDOWS,
    "_wmi": _WINDOWS,
    "msilib": _WINDOWS,
    "msvcrt": _WINDOWS,
    "nis": "not built: see NOT_BUILT in recipe.py",
    "nt": _WINDOWS,
    "winreg": _WINDOWS,
    "winsound": _WINDOWS,
}
# Modules that cannot be imported, or do something at import.
NOT_IMPORTED = {
    "antigravity": "opens a browser",
    "idlelib.idle": "starts IDLE",
    "lib2to3.pgen2.conv": "nothing imports it: it names a module as Python 2 did",
    "_ios_support": "iOS uses it",
    "_pyrepl._minimal_curses": "a substitute for curses: it loads a library of the host at once",
    "_pyrepl.windows_console": _WINDOWS,
    "_pyrepl.windows_eventqueue": _WINDOWS,
    "asyncio.windows_events": _WINDOWS,
    "asyncio.windows_utils": _WINDOWS,
    "ctypes.macholib.dyld": "macOS uses it",
    "distutils._msvccompiler": _WINDOWS,
    "distutils.command.bdist_msi": _WINDOWS,
    "distutils.msvc9compiler": _WINDOWS,
    "distutils.msvccompiler": _WINDOWS,
    "encodings.mbcs": _WINDOWS,
    "encodings.oem": _WINDOWS,
    "multiprocessing.popen_spawn_win32": _WINDOWS,
}
# Tk needs these libraries of the host, the only ones besides glibc. Without them, e.g. on a render
# node, tkinter cannot be imported: the loader's message begins with the name.
ON_THE_HOST = ("libX11.so.", "libXft.so.", "libfontconfig.so.")
# Folders below lib/pythonX.Y that are not part of the library.
_NO_MODULES = {"__pycache__", "_bundled", "idle_test", "lib-dynload", "site-packages", "test"}
_NO_MODULES |= {"tests", "turtledemo"}

# The extension modules of CPython 3.9 (from its setup.py): it has no sys.stdlib_module_names.
EXTENSIONS_3_9 = """
_asyncio _bisect _blake2 _bz2 _codecs_cn _codecs_hk _codecs_iso2022 _codecs_jp _codecs_kr
_codecs_tw _contextvars _crypt _csv _ctypes _curses _curses_panel _datetime _dbm _decimal
_elementtree _gdbm _hashlib _heapq _json _lsprof _lzma _md5 _multibytecodec _multiprocessing
_opcode _pickle _posixshmem _posixsubprocess _queue _random _sha1 _sha256 _sha3 _sha512 _socket
_sqlite3 _ssl _statistics _struct _tkinter _uuid _zoneinfo array audioop binascii cmath fcntl grp
math mmap ossaudiodev parser pyexpat readline resource select spwd syslog termios unicodedata zlib
"""


def expected():
    """Return the top-level modules that this version has on Linux."""
    listed = getattr(sys, "stdlib_module_names", None) or EXTENSIONS_3_9.split()
    return sorted(set(listed) - set(ABSENT))


def missing():
    """Return the expected modules that do not exist."""
    return [name for name in expected() if importlib.util.find_spec(name) is None]


def extensions():
    """Return the names of the extension modules in lib-dynload."""
    folder = pathlib.Path(sysconfig.get_path("platstdlib"), "lib-dynload")
    return sorted(path.name.partition(".")[0] for path in folder.glob("*.so"))


def modules():
    """Return the dotted names of all modules, except NOT_IMPORTED."""
    top = pathlib.Path(sysconfig.get_path("stdlib"))
    found = {*sys.builtin_module_names, *extensions()}
    for folder, folders, files in os.walk(top):
        folders[:] = [name for name in folders if name.isidentifier() and name not in _NO_MODULES]
        package = pathlib.Path(folder).relative_to(top).parts
        for name in files:
            stem, _, suffix = name.partition(".")
            if suffix == "py" and stem.isidentifier() and stem != "__main__":
                found.add(".".join([*package, stem]).replace(".__init__", ""))
    return sorted(found - set(NOT_IMPORTED) - {"__init__"})


def broken():
    """Return the modules that cannot be imported, with the error; see `ON_THE_HOST`."""
    problems = {}
    warnings.simplefilter("ignore")
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), _home():
        for name in modules():
            try:
                importlib.import_module(name)
            # BaseException: a module may call sys.exit() at import.
            except BaseException as error:  # noqa: BLE001, PERF203
                # idlelib.pyshell exits if it cannot import tkinter.
                cause = error.__context__ if isinstance(error, SystemExit) else error
                if not (isinstance(cause, ImportError) and str(cause).startswith(ON_THE_HOST)):
                    problems[name] = f"{type(error).__name__}: {error}"
    return problems


@contextlib.contextmanager
def _home():
    """Set HOME to a temporary folder: IDLE creates files there at import."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HOME"] = folder
        yield


def main():
    lost, bad = missing(), broken()
    if sys.argv[1:] == ["--json"]:
        everything = {"missing": lost, "broken": bad}
        everything |= {"modules": modules(), "extensions": extensions()}
        print(json.dumps(everything))
    else:
        for name in lost:
            print(f"missing: {name}")
        for name, reason in bad.items():
            print(f"broken: {name}: {reason}")
        print(f"{len(modules())} modules, {len(extensions())} of them extension modules in files")
    return 1 if lost or bad else 0


if __name__ == "__main__":
    sys.exit(main())
