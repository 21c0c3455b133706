"""SQLite, compiled as upstream advises: from the amalgamation (one file) with its options."""

import os

from rezbuild.build.recipe_api import Build

# https://www.sqlite.org/compile.html; docs/reference/packages.md has the reasons.
OPTIONS = """
ENABLE_COLUMN_METADATA ENABLE_DBPAGE_VTAB ENABLE_DBSTAT_VTAB ENABLE_DESERIALIZE ENABLE_FTS3
ENABLE_FTS3_PARENTHESIS ENABLE_FTS4 ENABLE_FTS5 ENABLE_GEOPOLY ENABLE_JSON1 ENABLE_MATH_FUNCTIONS
ENABLE_PREUPDATE_HOOK ENABLE_RTREE ENABLE_SESSION ENABLE_STMTVTAB ENABLE_UNLOCK_NOTIFY
MAX_VARIABLE_NUMBER=250000 SOUNDEX TEMP_STORE=1 THREADSAFE=1
"""
# Features that upstream's configure finds on every Linux.
HOST = "FDATASYNC GMTIME_R ISNAN LOCALTIME_R MALLOC_USABLE_SIZE STRCHRNUL USLEEP"
SYSTEM = "-lm -ldl -lpthread"


def build(b: Build) -> None:
    """Compile and install the library and its shell."""
    if not (b.source / "sqlite3.c").exists():
        _amalgamate(b)
    options = [f"-DSQLITE_{o}" for o in OPTIONS.split()] + [f"-DHAVE_{h}=1" for h in HOST.split()]
    # make's built-in rules compile C.
    flags = " ".join((f"CFLAGS={b.env['CFLAGS']}", "-O2", "-fPIC", *options))
    b.make("-f", os.devnull, flags, "sqlite3.o", "shell.o")
    library, lib = f"libsqlite3.so.{b.version}", b.payload / "lib"
    soname = "-Wl,-soname,libsqlite3.so.0"
    system = SYSTEM.split()
    link = [b.env["CC"], *b.env["LDFLAGS"].split()]
    b.run(*link, "-shared", "sqlite3.o", soname, *system, "-o", library)
    b.run("ar", "rcs", "libsqlite3.a", "sqlite3.o")
    b.run(*link, "shell.o", library, *system, "-o", "sqlite3")
    b.run("install", "-D", "-m", "755", library, str(lib / library))
    b.run("install", "-m", "644", "libsqlite3.a", str(lib))
    for name in ("libsqlite3.so", "libsqlite3.so.0"):
        (lib / name).symlink_to(library)
    b.run("install", "-D", "-m", "755", "sqlite3", str(b.payload / "bin/sqlite3"))
    for name in ("sqlite3.h", "sqlite3ext.h"):
        b.run("install", "-D", "-m", "644", name, str(b.payload / "include" / name))
    b.describe("sqlite3", "-lsqlite3", "SQL database engine", private=SYSTEM)


def _amalgamate(b: Build) -> None:
    """Make the amalgamation from the full tree, with the small Tcl that is part of the tree."""
    b.configure("--disable-tcl", "--disable-readline")
    b.make("sqlite3.c", "shell.c")
