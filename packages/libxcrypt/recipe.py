"""libxcrypt as libcrypt.so.1, with glibc's symbols and versions, for _crypt and old programs.

Upstream's release archives have a configure script. The git tags that distributions pack have none,
so this recipe writes config.h itself: its values are the same on every Linux. The generators of
other files are Perl scripts.
"""

import os
import platform
import re

from rezbuild.build.recipe_api import Build

GENERATORS = "build-aux/scripts"
# The file that configure writes.
CONFIG = """\
#ifndef _CRYPT_CONFIG_H
#define _CRYPT_CONFIG_H 1
#define _GNU_SOURCE 1
#define PACKAGE_VERSION "{version}"
#define HAVE_ENDIAN_H 1
#define HAVE_FCNTL_H 1
#define HAVE_MAX_ALIGN_T 1
#define HAVE_STATIC_ASSERT_IN_ASSERT_H 1
#define HAVE_SYSCALL 1
#define HAVE_SYS_CDEFS_BEGIN_END_DECLS 1
#define HAVE_SYS_CDEFS_H 1
#define HAVE_SYS_CDEFS_THROW 1
#define HAVE_SYS_PARAM_H 1
#define HAVE_SYS_STAT_H 1
#define HAVE_SYS_SYSCALL_H 1
#define HAVE_SYS_TYPES_H 1
#define HAVE_UNISTD_H 1
#include <features.h>
#if __GLIBC_PREREQ(2, 25)
#define HAVE_EXPLICIT_BZERO 1
#define HAVE_GETENTROPY 1
#define HAVE_GETRANDOM 1
#define HAVE_SYS_RANDOM_H 1
#endif
#define ENDIANNESS_IS_BIG (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__)
#define ENDIANNESS_IS_LITTLE (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)
#define ENDIANNESS_IS_PDP 0
#define alignas(n) _Alignas(n)
#define alignof(thing) _Alignof(thing)
#define HAVE_SYMVER 1
#define SYMVER_FLOOR {floor}
#define ENABLE_OBSOLETE_API 1
#define ENABLE_OBSOLETE_API_ENOSYS 0
#define ENABLE_FAILURE_TOKENS 1
#endif
"""


def build(b: Build) -> None:
    """Compile and install the shared library."""
    floor = _generated(b, "floor", "compute-symver-floor", "lib/libcrypt.minver", *_machine())
    (b.source / "config.h").write_text(CONFIG.format(version=b.version, floor=floor))
    hashes = _generated(b, "hashes", "expand-selected-hashes", "lib/hashes.conf", "all")
    _generated(b, "crypt-hashes.h", "gen-crypt-hashes-h", "lib/hashes.conf", hashes)
    header = ("lib/crypt.h.in", "config.h", "lib/hashes.conf", hashes)
    _generated(b, "crypt.h", "gen-crypt-h", *header)
    versions = ("SYMVER_MIN=GLIBC_2.0", f"SYMVER_FLOOR={floor}", "COMPAT_ABI=glibc")
    symbols = (*versions, "lib/libcrypt.map.in")
    _generated(b, "libcrypt.map", "gen-libcrypt-map", *symbols)
    _generated(b, "crypt-symbol-vers.h", "gen-crypt-symbol-vers-h", "yes", *symbols)
    objects = [f"{source[:-2]}.o" for source in _sources(b)]
    # The obsolete functions are compiled only if PIC is defined, as libtool does.
    flags = f"{b.env['CFLAGS']} -O2 -fPIC -DPIC -fno-plt -I. -Ilib -DHAVE_CONFIG_H -DIN_LIBCRYPT"
    # make's built-in rules compile C.
    b.make("-f", os.devnull, f"CFLAGS={flags}", *objects)
    link = (
        "-shared",
        "-Wl,-soname,libcrypt.so.1,-z,defs,-z,text",
        "-Wl,--version-script,libcrypt.map",
    )
    b.run(b.env["CC"], *objects, *link, *b.env["LDFLAGS"].split(), "-o", "libcrypt.so.1.1.0")
    _install(b)


def _machine() -> tuple[str, str]:
    return "linux-gnu", platform.machine()


def _generated(b: Build, target: str, script: str, *arguments: str) -> str:
    """Run a generator with its output in the file ``target``; return that text."""
    words = (target, f"{GENERATORS}/{script}", *arguments)
    b.run("sh", "-c", 'target=$1; shift; exec perl "$@" > "$target"', "sh", *words)
    return (b.source / target).read_text().strip()


def _sources(b: Build) -> list[str]:
    """Return the source files that Makefile.am lists for the library."""
    text = (b.source / "Makefile.am").read_text().replace("\\\n", " ")
    # Makefile.am adds the files of the obsolete functions with +=.
    return " ".join(re.findall(r"(?m)^libcrypt_la_SOURCES *\+?=(.*)$", text)).split()


def _install(b: Build) -> None:
    lib, include = b.payload / "lib", b.payload / "include"
    b.run("install", "-D", "-m", "755", "libcrypt.so.1.1.0", str(lib / "libcrypt.so.1.1.0"))
    for name in ("libcrypt.so", "libcrypt.so.1"):
        (lib / name).symlink_to("libcrypt.so.1.1.0")
    b.run("install", "-D", "-m", "644", "crypt.h", str(include / "crypt.h"))
    for name in ("libxcrypt", "libcrypt"):
        b.describe(name, "-lcrypt", "One-way hashing of passwords")
