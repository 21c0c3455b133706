"""Expat: the library, compiled without a configure script.

Upstream's release archives have a configure script. The git tags that distributions pack have none,
so this recipe writes expat_config.h itself: its values are the same on every Linux.
"""

import os
import re
import sys

from rezbuild.build.recipe_api import Build

# Entropy comes from getrandom(2), with /dev/urandom as the fallback. arc4random_buf is left out
# because it needs glibc 2.36: a payload would start on fewer hosts than Python does.
CONFIG = """\
#ifndef EXPAT_CONFIG_H
#define EXPAT_CONFIG_H 1
#define BYTEORDER {order}
#define HAVE_GETRANDOM 1
#define PACKAGE "expat"
#define PACKAGE_NAME "expat"
#define PACKAGE_STRING "expat {version}"
#define PACKAGE_TARNAME "expat"
#define PACKAGE_VERSION "{version}"
#define VERSION "{version}"
{big}
#define XML_CONTEXT_BYTES 1024
#define XML_DEV_URANDOM 1
#define XML_DTD 1
#define XML_GE 1
#define XML_NS 1
#endif
"""
# The files of random numbers are separate from Expat 2.8 on.
FILES = ("xmlparse", "xmlrole", "xmltok", "random_getrandom", "random_dev_urandom")
HEADERS = ("expat.h", "expat_config.h", "expat_external.h")
DEFINED = "-DHAVE_EXPAT_CONFIG_H -DXML_ENABLE_VISIBILITY=1 -fvisibility=hidden"


def build(b: Build) -> None:
    """Compile and install the libraries."""
    top = b.source / "expat" if (b.source / "expat").is_dir() else b.source
    folder = str((top / "lib").relative_to(b.source))
    big = sys.byteorder == "big"
    text = CONFIG.format(
        version=b.version,
        order=4321 if big else 1234,
        big="#define WORDS_BIGENDIAN 1" if big else "",
    )
    (top / "lib/expat_config.h").write_text(text)
    objects = [f"{name}.o" for name in FILES if (top / f"lib/{name}.c").is_file()]
    flags = f"CFLAGS={b.env['CFLAGS']} -O2 -fPIC {DEFINED}"
    # make's built-in rules compile C.
    b.make("-C", folder, "-f", os.devnull, flags, *objects)
    soname, library = _names((top / "configure.ac").read_text(encoding="utf-8"))
    link = (b.env["CC"], "-shared", f"-Wl,-soname,{soname},-z,defs", *b.env["LDFLAGS"].split())
    b.run(*link, *(f"{folder}/{name}" for name in objects), "-lm", "-o", library)
    b.run("ar", "rcs", "libexpat.a", *(f"{folder}/{name}" for name in objects))
    _install(b, folder, soname, library)


def _names(configure: str) -> tuple[str, str]:
    """Return the soname and the file's name, as libtool makes them of the interface's numbers."""
    current, revision, age = (
        int(re.findall(rf"(?m)^LIB{part}=(\d+)", configure)[0])
        for part in ("CURRENT", "REVISION", "AGE")
    )
    soname = f"libexpat.so.{current - age}"
    return soname, f"{soname}.{age}.{revision}"


def _install(b: Build, folder: str, soname: str, library: str) -> None:
    lib, include = b.payload / "lib", b.payload / "include"
    b.run("install", "-D", "-m", "755", library, str(lib / library))
    b.run("install", "-m", "644", "libexpat.a", str(lib))
    for name in ("libexpat.so", soname):
        (lib / name).symlink_to(library)
    for name in HEADERS:
        b.run("install", "-D", "-m", "644", f"{folder}/{name}", str(include / name))
    b.describe("expat", "-lexpat", "Stream-oriented XML parser", private="-lm")
