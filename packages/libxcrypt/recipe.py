"""libxcrypt with glibc's names and versions, libcrypt.so.1: what _crypt and old programs need.

Its release archives have a configure, and git's tags, which distributions pack, have none. This
does without: a Linux has everything that it would look for, and the generators are in Perl.
"""

import os
import platform
import re

GENERATORS = "build-aux/scripts"
# What configure writes.
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


def build(b):
    """Compiles and installs the shared library."""
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
    # The obsolete functions are in code for a shared library (PIC, as libtool has it) only.
    flags = f"{b.env['CFLAGS']} -O2 -fPIC -DPIC -fno-plt -I. -Ilib -DHAVE_CONFIG_H -DIN_LIBCRYPT"
    # make knows by itself how to compile.
    b.make("-f", os.devnull, f"CFLAGS={flags}", *objects)
    link = (
        "-shared",
        "-Wl,-soname,libcrypt.so.1,-z,defs,-z,text",
        "-Wl,--version-script,libcrypt.map",
    )
    b.run(b.env["CC"], *objects, *link, *b.env["LDFLAGS"].split(), "-o", "libcrypt.so.1.1.0")
    _install(b)


def _machine():
    return "linux-gnu", platform.machine()


def _generated(b, target, script, *arguments):
    """Writes what one of the generators prints to ``target``, and returns it."""
    words = (target, f"{GENERATORS}/{script}", *arguments)
    b.run("sh", "-c", 'target=$1; shift; exec perl "$@" > "$target"', "sh", *words)
    return (b.source / target).read_text().strip()


def _sources(b):
    """Those that the Makefile names for the library."""
    text = (b.source / "Makefile.am").read_text().replace("\\\n", " ")
    # Those of the obsolete functions are added further below.
    return " ".join(re.findall(r"(?m)^libcrypt_la_SOURCES *\+?=(.*)$", text)).split()


def _install(b):
    lib, include = b.payload / "lib", b.payload / "include"
    b.run("install", "-D", "-m", "755", "libcrypt.so.1.1.0", str(lib / "libcrypt.so.1.1.0"))
    for name in ("libcrypt.so", "libcrypt.so.1"):
        (lib / name).symlink_to("libcrypt.so.1.1.0")
    b.run("install", "-D", "-m", "644", "crypt.h", str(include / "crypt.h"))
    for name in ("libxcrypt", "libcrypt"):
        b.describe(name, "-lcrypt", "One-way hashing of passwords")
