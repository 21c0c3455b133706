"""Tcl: the library, its scripts and tclsh, without the packages that upstream puts beside it."""

import re
import shutil

# An extension's configure reads tclConfig.sh after it has set TCL_BIN_DIR to the file's folder.
ROOT = '_tcl_root=$(cd "${TCL_BIN_DIR:?is not set: the folder of tclConfig.sh}/.." && pwd)\n'


def build(b):
    """Builds and installs."""
    b.search_dependencies()
    # Its Makefile knows no CPPFLAGS.
    b.flags(CFLAGS=b.env["CPPFLAGS"])
    shutil.rmtree(b.source / "pkgs")
    # Where zlib cannot be linked, configure takes Tcl's own copy without a word.
    shutil.rmtree(b.source / "compat/zlib", ignore_errors=True)
    options = ("--enable-shared", "--enable-threads", "--disable-rpath", "--without-tzdata")
    b.configure("./configure", f"--prefix={b.prefix}", *options, folder="unix")
    b.make("-C", "unix", "binaries", "libraries")
    # Two of these at once write the same folders.
    b.run(
        *("make", "-C", "unix", f"DESTDIR={b.destdir}", "install-binaries", "install-libraries"),
        *("install-msgs", "install-headers"),
    )
    _private_headers(b)
    _configuration(b)
    (b.payload / "bin/tclsh").symlink_to("tclsh8.6")
    b.remove("man", "share", "lib/tclooConfig.sh")
    b.remove("lib/tcl8.6/tclAppInit.c")


def _private_headers(b):
    """Extensions such as Tk need them, below what tclConfig.sh calls the source folder."""
    for part in ("generic", "unix"):
        folder = b.payload / "include/tcl-private" / part
        folder.mkdir(parents=True)
        for header in (b.source / part).glob("*.h"):
            shutil.copy(header, folder)


def _configuration(b):
    """tclConfig.sh names folders of the build and the prefix: now it computes them."""
    path = b.payload / "lib/tclConfig.sh"
    lines = []
    for line in path.read_text().splitlines(keepends=True):
        new = line.replace(f"{b.source}/unix", f"{b.prefix}/lib")
        new = new.replace(str(b.source), f"{b.prefix}/include/tcl-private")
        new = new.replace(b.env["CFLAGS"], "").replace(b.env["CPPFLAGS"], "")
        new = new.replace(_search(b), "")
        if b.prefix in new:
            new = re.sub("='(.*)'", r'="\1"', new.replace(b.prefix, "${_tcl_root}"))
        lines.append(new)
    path.write_text(ROOT + "".join(lines))
    pc = b.payload / "lib/pkgconfig/tcl.pc"
    # zlib is inside the package; its own .pc file need not be there.
    pc.write_text(re.sub(r"(?m)^(Requires\.private: zlib|Libs\.private:).*\n", "", pc.read_text()))


def _search(b):
    return " ".join(f"-L{dependency.lib}" for dependency in b.dependencies.values())
